"""Super-frames built by hand, and a check of the frames they are cut into that shares no code with the forwarder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from struct import Struct, pack, unpack_from

VNET = Struct("<BBHHHH")
TCPV4, TCPV6, UDP, ECN = 1, 4, 5, 0x80
MACS = b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02"
FIN, PSH, ACK, CWR = 0x01, 0x08, 0x10, 0x80


def rfc1071(data: bytes) -> int:
    """The Internet checksum as RFC 1071 §4.1 writes it: sum of 16-bit words, carries folded, complemented."""
    total = 0
    for at in range(0, len(data) - 1, 2):
        total += data[at] << 8 | data[at + 1]
    if len(data) % 2:
        total += data[-1] << 8
    while total > 0xFFFF:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


@dataclass(frozen=True)
class Shape:
    """What kind of super-frame to build."""

    v6: bool = False
    udp: bool = False
    payload: int = 10_000
    mss: int = 1448
    tcp_options: int = 12
    ip_options: int = 0
    tags: int = 0
    flags: int = ACK | PSH | FIN | CWR
    sequence: int = 0xFFFFF000
    identification: int = 0xFFFE

    @property
    def network(self) -> int:
        """Offset of the IP header in the frame."""
        return 14 + 4 * self.tags

    @property
    def transport(self) -> int:
        return self.network + (40 if self.v6 else 20 + self.ip_options)

    @property
    def headers(self) -> int:
        return self.transport + (8 if self.udp else 20 + self.tcp_options)


def pseudo_header(ip: bytes, v6: bool, protocol: int, length: int) -> bytes:
    if v6:
        return ip[8:40] + pack(">IHBB", length, 0, 0, protocol)
    return ip[12:20] + pack(">BBH", 0, protocol, length)


def build(shape: Shape) -> tuple[bytes, bytes]:
    """(virtio header and frame as a kernel hands it over, payload)."""
    payload = os.urandom(shape.payload)
    protocol = 17 if shape.udp else 6
    length = shape.headers - shape.transport + len(payload)
    if shape.v6:
        ip = pack(">IHBB", 6 << 28, length, protocol, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    else:
        size = 20 + shape.ip_options
        ip = pack(">BBHHHBBH", 0x40 | size // 4, 0, size + length, shape.identification, 0x4000, 64, protocol, 0)
        ip += bytes((10, 1, 2, 3)) + bytes((10, 1, 2, 4)) + b"\x01" * shape.ip_options
        ip = ip[:10] + rfc1071(ip).to_bytes(2) + ip[12:]
    partial = (~rfc1071(pseudo_header(ip, shape.v6, protocol, length)) & 0xFFFF).to_bytes(2)
    if shape.udp:
        transport = pack(">HHH", 4000, 4001, length) + partial
    else:
        offset = (20 + shape.tcp_options) // 4 << 4
        transport = pack(">HHIIBBH", 4000, 4001, shape.sequence, 7, offset, shape.flags, 500) + partial + b"\0\0"
        transport += b"\x01" * shape.tcp_options
    kind = b"\x81\0\0\5" * shape.tags + (b"\x86\xdd" if shape.v6 else b"\x08\0")
    gso = UDP if shape.udp else TCPV6 if shape.v6 else TCPV4
    offset = 6 if shape.udp else 16
    vnet = VNET.pack(1, gso, shape.headers, shape.mss, shape.transport, offset)
    return vnet + MACS + kind + ip + transport + payload, payload


def faults(shape: Shape, pieces: list[bytes], payload: bytes) -> list[str]:
    """What is wrong with the frames a super-frame was cut into; empty when a receiver would be content."""
    found = []
    if b"".join(piece[10 + shape.headers :] for piece in pieces) != payload:
        found.append("the payload is not whole")
    for number, piece in enumerate(pieces):
        last = number == len(pieces) - 1
        frame = piece[10:]
        if piece[:10] != bytes(10):
            found.append(f"{number}: its virtio header asks for something")
        if len(frame) - shape.headers != (len(payload) - number * shape.mss if last else shape.mss):
            found.append(f"{number}: its size is {len(frame)}")
        if frame[: shape.network] != MACS + b"\x81\0\0\5" * shape.tags + (b"\x86\xdd" if shape.v6 else b"\x08\0"):
            found.append(f"{number}: its Ethernet header changed")
        found += [f"{number}: {fault}" for fault in _ip_faults(shape, frame[shape.network :], number)]
        found += [f"{number}: {fault}" for fault in _transport_faults(shape, frame, number, last)]
    return found


def _ip_faults(shape: Shape, packet: bytes, number: int) -> list[str]:
    if shape.v6:
        return [] if unpack_from(">H", packet, 4)[0] == len(packet) - 40 else ["wrong IPv6 payload length"]
    found = []
    if unpack_from(">H", packet, 2)[0] != len(packet):
        found.append("wrong IPv4 total length")
    if rfc1071(packet[: (packet[0] & 15) * 4]) != 0:
        found.append("wrong IPv4 checksum")
    if unpack_from(">H", packet, 4)[0] != (shape.identification + number) & 0xFFFF:
        found.append("wrong IPv4 identification")
    return found


def _transport_faults(shape: Shape, frame: bytes, number: int, last: bool) -> list[str]:
    ip, segment = frame[shape.network :], frame[shape.transport :]
    protocol = 17 if shape.udp else 6
    found = []
    if rfc1071(pseudo_header(ip, shape.v6, protocol, len(segment)) + segment) != 0:
        found.append("wrong transport checksum")
    if shape.udp:
        if unpack_from(">H", segment, 4)[0] != len(segment):
            found.append("wrong UDP length")
        if segment[6:8] == b"\0\0":
            found.append("a UDP checksum of zero means none")
        return found
    if unpack_from(">I", segment, 4)[0] != (shape.sequence + number * shape.mss) & 0xFFFFFFFF:
        found.append("wrong sequence number")
    expected = shape.flags & ~(0 if last else FIN | PSH) & ~(0 if number == 0 else CWR)
    if segment[13] != expected:
        found.append(f"flags are {segment[13]:#x}, not {expected:#x}")
    if segment[20 : 20 + shape.tcp_options] != b"\x01" * shape.tcp_options:
        found.append("options changed")
    return found
