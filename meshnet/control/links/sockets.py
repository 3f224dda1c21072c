"""The addresses this peer listens on: one TCP listener and one data socket per address family, the same port.

Rule: everything is bound before any state is written, so a taken port costs nothing but a line.  A data socket that a
running forwarder already holds is used again; TCP listeners are always new.
"""

import errno
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from meshnet.boundary import AddSocket, SocketRow
from meshnet.config import Bind, HostPort, Options
from meshnet.control.networks.networks import Sends
from meshnet.errors import MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.udp import DataSocket, open_udp

__all__ = ["Sockets", "advertised", "open_sockets"]

BACKLOG: Final = 128
MISSING_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


@dataclass(slots=True)
class Sockets:
    """What is open; `send` hands the data sockets to a forwarder."""

    listeners: list[socket.socket] = field(default_factory=list)
    data: list[DataSocket] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def families(self) -> list[int]:
        """The address families peers can be reached by."""
        return [data.family for data in self.data]

    def send(self, send: Sends) -> None:
        """Hand every data socket to a fresh forwarder."""
        for data in self.data:
            port = data.sock.getsockname()[1]
            verb = AddSocket(family=int(data.family), port=port, gso=data.gso, gro=data.gro)
            send(verb, (data.sock.fileno(),))

    def close(self) -> None:
        """Close this process's descriptors; a forwarder keeps its own."""
        for listener in self.listeners:
            listener.close()
        for data in self.data:
            data.close()


def open_sockets(options: Options, held: Sequence[tuple[SocketRow, int]] = ()) -> Sockets:
    """Bind everything `options` names; `held` are data sockets of a running forwarder.  Raises MeshnetError."""
    sockets = Sockets()
    kept = {row.family: (row, descriptor) for row, descriptor in held}
    try:
        for bind in options.binds():
            _open_one(sockets, bind, kept)
    except BaseException:
        sockets.close()
        raise
    for _, descriptor in kept.values():
        os.close(descriptor)
    if not sockets.data:
        sockets.close()
        raise MeshnetError(
            "nothing to listen on", "this host has neither IPv4 nor IPv6", "bring an interface up, or give --listen"
        )
    return sockets


def _open_one(sockets: Sockets, bind: Bind, kept: dict[int, tuple[SocketRow, int]]) -> None:
    family = socket.AF_INET6 if ":" in bind.host else socket.AF_INET
    if family in sockets.families:
        raise MeshnetError(
            f"--listen {HostPort(bind.host, bind.port)} is one too many",
            "a peer has one address of each family, or all of them",
            "name one IPv4 and one IPv6 address, or leave --listen out",
        )
    try:
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    except OSError as error:
        _missing(sockets, bind, error)
        return
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((bind.host, bind.port))
        listener.listen(BACKLOG)
        row_and_descriptor = kept.get(family)
        if row_and_descriptor is not None and row_and_descriptor[0].port == bind.port:
            row, descriptor = kept.pop(family)
            data = DataSocket(socket.socket(fileno=descriptor), family, gso=row.gso, gro=row.gro)
        else:
            data = open_udp(bind.host, bind.port)
    except HostError as error:
        listener.close()
        if bind.required or error.errno not in MISSING_FAMILY:
            raise MeshnetError(error.what, error.why, error.fix) from error
        sockets.notes.append(f"{error.what}: {error.why}")
        return
    except OSError as error:
        listener.close()
        _missing(sockets, bind, error)
        return
    sockets.listeners.append(listener)
    sockets.data.append(data)
    sockets.notes.extend(data.notes)


def _missing(sockets: Sockets, bind: Bind, error: OSError) -> None:
    where = HostPort(bind.host, bind.port)
    if bind.required or error.errno not in MISSING_FAMILY:
        taken = error.errno == errno.EADDRINUSE
        raise MeshnetError(
            f"cannot listen on {where}",
            "another process has the port" if taken else str(error.strerror or error),
            "choose another port with --listen, or stop what uses it" if taken else "name an address of this host",
        ) from error
    sockets.notes.append(f"no listener on {where}: {error.strerror}")


def advertised(options: Options, own: Sequence[str], families: Sequence[int]) -> list[str]:
    """Where other peers find this one: what was given, else every own address that is listened on."""
    if options.advertise:
        return [str(entry) for entry in options.advertise]
    named = [entry for entry in options.listen if entry.host != "*"]
    hosts = [entry for entry in named if not _is_any(entry.host)] or [HostPort(host, options.port) for host in own]
    reachable = [
        str(entry) for entry in hosts if (socket.AF_INET6 if ":" in entry.host else socket.AF_INET) in families
    ]
    return reachable[:16]


def _is_any(host: str) -> bool:
    return host in ("0.0.0.0", "::")
