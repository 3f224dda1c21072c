"""Open the data socket: large buffers, UDP GRO and GSO, and never an IP fragment.

Purpose: the one UDP socket of a family through which all records and handshakes travel.
Rule: the socket is unconnected, non-blocking and without IP_RECVERR (one ICMP error on such a socket deafens
uvloop's reader). Options that need privilege are set here, before the descriptor is handed to the forwarder.
What the kernel lacks falls back and leaves a note.
Flow: create -> no fragments -> buffers -> GRO -> GSO probe -> bind.
Reference: udp(7), ip(7), ipv6(7), RFC 8899 §4.1; design §2, §4.1, §4.5.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Any

from meshnet.host.errors import HostError, os_reason, os_refused

BUFFER_BYTES = 8 << 20
PROBE_SEGMENT_BYTES = 1200

SOL_UDP = 17
UDP_SEGMENT = 103
UDP_GRO = 104
SO_SNDBUFFORCE = 32
SO_RCVBUFFORCE = 33
IP_MTU_DISCOVER = 10
IPV6_MTU_DISCOVER = 23
PMTUDISC_DO = 2  # the same number for both families
PMTUDISC_PROBE = 3

_BUFFERS = (
    ("receive", SO_RCVBUFFORCE, socket.SO_RCVBUF, "net.core.rmem_max"),
    ("send", SO_SNDBUFFORCE, socket.SO_SNDBUF, "net.core.wmem_max"),
)


@dataclass
class DataSocket:
    """A bound UDP socket, its family, whether it sends trains (GSO) and receives them (GRO), and notes."""

    sock: socket.socket
    family: int
    gso: bool = False
    gro: bool = False
    notes: list[str] = field(default_factory=list)

    def close(self) -> None:
        """Close the socket; closing twice is harmless."""
        self.sock.close()


def open_udp(host: str, port: int) -> DataSocket:
    """Open the data socket bound to `host` (a literal IPv4 or IPv6 address) and `port` (0: any free one).

    Raises HostError when the address is no literal, cannot be bound, or the kernel would fragment.
    """
    family, address = _literal(host, port)
    kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise os_refused(f"cannot open a UDP socket for {host}", error) from error
    data = DataSocket(sock, family)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        _forbid_fragments(data)
        _enlarge_buffers(data)
        _probe_gro(data)
        _probe_gso(data)
        sock.bind(address)
    except HostError:
        sock.close()
        raise
    except OSError as error:
        sock.close()
        raise _not_bound(host, port, error) from error
    return data


def _literal(host: str, port: int) -> tuple[socket.AddressFamily, tuple[Any, ...]]:
    """Family and socket address of a literal IP address, without asking any resolver; raises HostError."""
    try:
        if not 0 <= port <= 0xFFFF:
            raise ValueError(f"a port is 0 to 65535, not {port}")
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        # Resolves a scope as in fe80::1%eth0 and nothing else.
        found = socket.getaddrinfo(host, port, family, socket.SOCK_DGRAM, 0, socket.AI_NUMERICHOST)
    except (ValueError, socket.gaierror) as error:
        what = f"cannot listen on UDP {host!r} port {port}"
        raise HostError(what, str(error), "give a literal IP address of this host and a port") from error
    return family, found[0][4]


def _forbid_fragments(data: DataSocket) -> None:
    if data.family == socket.AF_INET6:
        level, option = int(socket.IPPROTO_IPV6), IPV6_MTU_DISCOVER
    else:
        level, option = int(socket.IPPROTO_IP), IP_MTU_DISCOVER
    try:
        data.sock.setsockopt(level, option, PMTUDISC_PROBE)
        return
    except OSError as error:
        refusal = error
    try:
        data.sock.setsockopt(level, option, PMTUDISC_DO)
    except OSError as error:
        raise os_refused("the kernel would fragment our datagrams", error) from error
    data.notes.append(f"UDP: path MTU cannot be probed beyond the kernel's own value: {os_reason(refusal)}")


def _enlarge_buffers(data: DataSocket) -> None:
    for word, force, plain, sysctl in _BUFFERS:
        try:
            data.sock.setsockopt(socket.SOL_SOCKET, force, BUFFER_BYTES)
            continue
        except OSError as error:
            refusal = error
        try:
            data.sock.setsockopt(socket.SOL_SOCKET, plain, BUFFER_BYTES)
        except OSError as error:
            refusal = error
        # The kernel reports twice what was asked for: the rest is its own bookkeeping.
        size = data.sock.getsockopt(socket.SOL_SOCKET, plain) // 2
        if size < BUFFER_BYTES:
            have = f"{size >> 10} KiB of {BUFFER_BYTES >> 10}"
            data.notes.append(f"UDP: {word} buffer {have}: {os_reason(refusal)}; raise {sysctl}")


def _probe_gro(data: DataSocket) -> None:
    try:
        data.sock.setsockopt(SOL_UDP, UDP_GRO, 1)
    except OSError as error:
        data.notes.append(f"UDP: no GRO (Linux 5.0): {os_reason(error)}")
    else:
        data.gro = True


def _probe_gso(data: DataSocket) -> None:
    try:
        data.sock.setsockopt(SOL_UDP, UDP_SEGMENT, PROBE_SEGMENT_BYTES)
        # The size is given with each send; left on the socket it would cut the handshakes too.
        data.sock.setsockopt(SOL_UDP, UDP_SEGMENT, 0)
    except OSError as error:
        data.notes.append(f"UDP: no GSO (Linux 4.18): {os_reason(error)}")
    else:
        data.gso = True


def _not_bound(host: str, port: int, error: OSError) -> HostError:
    fixes = {
        errno.EADDRINUSE: f"see who holds it: `ss -ulpn sport = :{port}`, or choose another port",
        errno.EADDRNOTAVAIL: "give an address of this host: see `ip addr`",
        errno.EACCES: "choose a port above 1023, or run as root",
        errno.EAFNOSUPPORT: "this host has no such address family: listen on the other one",
    }
    return os_refused(f"cannot listen on UDP {host} port {port}", error, fix=fixes.get(error.errno or 0, ""))
