"""Reading captures: classic pcap files of Ethernet links, in plain Python.

Rule: a file that tcpdump is still writing is a valid input; a packet cut off at its end is left out. Damage
anywhere else is a `LabError`, never a wrong answer.

Flow: `packets(data)` yields whole packets; `datagrams(packets)` parses Ethernet (802.1Q too), IPv4 or IPv6
and UDP; `find(packets, needle)` says which packets carry a secret, or a part of it.

Reference: draft-ietf-opsawg-pcap (file format), RFC 791, RFC 8200, RFC 768.
"""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.lab.errors import LabError

FILE_HEADER = 24
PACKET_HEADER = 16
LINKTYPE_ETHERNET = 1
MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
NEEDLE_PIECE = 16  # a leak may be cut by a packet's end: any piece of this many bytes counts

ETHERTYPE_VLAN, ETHERTYPE_IPV4, ETHERTYPE_IPV6 = 0x8100, 0x0800, 0x86DD
PROTOCOL_UDP = 17
IPV6_FRAGMENT = 44
IPV6_EXTENSIONS = (0, 43, 60)  # hop-by-hop, routing, destination options: skipped


@dataclass(frozen=True)
class Packet:
    """One captured packet: wall time in seconds, bytes as captured, and its length on the wire."""

    time: float
    data: bytes
    length: int


@dataclass(frozen=True)
class Datagram:
    """A UDP datagram. Of a fragment only the first has ports and payload; the others show port 0 and what
    they hold."""

    time: float
    source: str
    source_port: int
    destination: str
    destination_port: int
    payload: bytes
    fragment: bool


def packets(data: bytes) -> Iterator[Packet]:
    """The packets of a pcap file's bytes, in file order."""
    if len(data) < FILE_HEADER:
        return
    for order in "<>":
        magic, _, _, _, _, _, linktype = struct.unpack_from(f"{order}IHHiIII", data)
        if magic in (MICROSECONDS, NANOSECONDS):
            break
    else:
        raise LabError("not a pcap file")
    if linktype & 0x0FFFFFFF != LINKTYPE_ETHERNET:
        raise LabError(f"capture of link type {linktype}, not Ethernet")
    tick = 1e-6 if magic == MICROSECONDS else 1e-9
    head = struct.Struct(f"{order}IIII")
    at = FILE_HEADER
    while at + PACKET_HEADER <= len(data):
        seconds, fraction, captured, length = head.unpack_from(data, at)
        if captured > length:
            raise LabError(f"damaged capture at byte {at}: {captured} bytes of a packet of {length}")
        at += PACKET_HEADER
        if at + captured > len(data):
            return
        yield Packet(seconds + fraction * tick, data[at : at + captured], length)
        at += captured


def datagrams(source: Iterable[Packet]) -> Iterator[Datagram]:
    """The UDP datagrams among `source`; other packets and those too short to parse are passed over."""
    for packet in source:
        data, at = packet.data, 14
        kind = int.from_bytes(data[12:14], "big")
        if kind == ETHERTYPE_VLAN:
            kind, at = int.from_bytes(data[16:18], "big"), 18
        parsed = {ETHERTYPE_IPV4: _ipv4, ETHERTYPE_IPV6: _ipv6}.get(kind, _neither)(data[at:])
        if parsed is None:
            continue
        sender, receiver, offset, body = parsed
        fragment = offset is not None
        if offset:
            yield Datagram(packet.time, sender, 0, receiver, 0, body, True)
        elif len(body) >= 8:
            here, there = struct.unpack_from(">HH", body)
            # UDP's own length is not asked: of a super-packet the kernel has yet to cut it may be a
            # segment's.
            yield Datagram(packet.time, sender, here, receiver, there, body[8:], fragment)


def find(source: Iterable[Packet], needle: bytes) -> list[Packet]:
    """The packets that contain any aligned piece of `needle` (which must be at least one piece long)."""
    if len(needle) < NEEDLE_PIECE:
        raise LabError(f"a needle of {len(needle)} bytes proves nothing; give at least {NEEDLE_PIECE}")
    pieces = [needle[at : at + NEEDLE_PIECE] for at in range(0, len(needle) - NEEDLE_PIECE + 1, NEEDLE_PIECE)]
    return [packet for packet in source if any(piece in packet.data for piece in pieces)]


Parsed = tuple[str, str, int | None, bytes]
"""Source, destination, fragment offset (None: not a fragment), UDP header and payload."""


def _neither(_: bytes) -> Parsed | None:
    return None


def _ipv4(data: bytes) -> Parsed | None:
    if len(data) < 20 or data[9] != PROTOCOL_UDP:
        return None
    header = (data[0] & 15) * 4
    total = int.from_bytes(data[2:4], "big") or len(data)  # 0: a super-packet beyond 64 KB
    flags = int.from_bytes(data[6:8], "big")
    fragment = (flags & 0x1FFF) * 8 if flags & 0x3FFF else None
    sender, receiver = (str(ipaddress.IPv4Address(data[at : at + 4])) for at in (12, 16))
    return sender, receiver, fragment, data[header:total]


def _ipv6(data: bytes) -> Parsed | None:
    if len(data) < 40:
        return None
    end = 40 + (int.from_bytes(data[4:6], "big") or len(data))
    kind, at, fragment = data[6], 40, None
    while kind in IPV6_EXTENSIONS or kind == IPV6_FRAGMENT:
        if len(data) < at + 8:
            return None
        if kind == IPV6_FRAGMENT:
            fragment = int.from_bytes(data[at + 2 : at + 4], "big") & 0xFFF8
            kind, at = data[at], at + 8
        else:
            kind, at = data[at], at + 8 + data[at + 1] * 8
    if kind != PROTOCOL_UDP:
        return None
    sender, receiver = (str(ipaddress.IPv6Address(data[at_ : at_ + 16])) for at_ in (8, 24))
    return sender, receiver, fragment, data[at:end]
