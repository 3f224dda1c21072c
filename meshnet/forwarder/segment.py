"""Cut a super-frame into ordinary frames with finished checksums, for a TAP that cannot take it.

The slow path of the data plane: used only towards a peer whose kernel lacks an offload (USO before Linux 6.2, say)
and for a frame larger than a record.  What it does is what the kernel's own segmentation does (RFC 9293 §3.1 for the
TCP fields; RFC 1071 for the checksum): lengths, IPv4 identification and checksum, sequence numbers, FIN and PSH on
the last segment only, CWR on the first only.
"""

from collections.abc import Iterator
from struct import Struct
from typing import Final

from meshnet.forwarder.record import ETHERNET_BYTES, VNET_BYTES
from meshnet.forwarder.vnet import GSO_NONE, GSO_UDP, NEEDS_CSUM, PLAIN, VNET, ethertype

__all__ = ["checksum", "finish_checksum", "segments"]

FIN_PSH: Final = 0x09
CWR: Final = 0x80
_u16 = Struct(">H")
_u32 = Struct(">I")


def checksum(data: bytes | bytearray | memoryview) -> int:
    """The Internet checksum (RFC 1071) of `data`, not yet complemented."""
    if len(data) % 2:
        data = bytes(data) + b"\0"
    total = _fold(sum(memoryview(bytes(data)).cast("H")))
    return int.from_bytes(total.to_bytes(2, "little"), "big") if _LITTLE else total


def _fold(total: int) -> int:
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


_LITTLE: Final = memoryview(b"\x01\x00").cast("H")[0] == 1


def finish_checksum(frame: bytearray, start: int, offset: int) -> None:
    """Complete the transport checksum whose field holds the pseudo-header's sum (virtio NEEDS_CSUM)."""
    value = ~checksum(memoryview(frame)[start:]) & 0xFFFF
    _u16.pack_into(frame, start + offset, value or 0xFFFF)


def segments(vnet_and_frame: bytes | memoryview) -> Iterator[bytes]:
    """Yield virtio header and frame of each piece; raises ValueError when the headers cannot be followed."""
    data = bytes(vnet_and_frame)
    flags, gso, _, gso_size, csum_start, csum_offset = VNET.unpack_from(data)
    frame = data[VNET_BYTES:]
    kind = gso & 0x7F
    if flags & NEEDS_CSUM and csum_start + csum_offset + 2 > len(frame):
        raise ValueError("a checksum behind the frame's end")
    if kind == GSO_NONE:
        whole = bytearray(frame)
        if flags & NEEDS_CSUM:
            finish_checksum(whole, csum_start, csum_offset)
        yield PLAIN + bytes(whole)
        return
    is_udp = kind == GSO_UDP
    transport = csum_start + (8 if is_udp else 20)
    if len(frame) < max(transport, ETHERNET_BYTES) or not flags & NEEDS_CSUM or gso_size == 0:
        raise ValueError("a super-frame without its headers")
    network, ip = ethertype(frame, 0, len(frame))
    headers = csum_start + (8 if is_udp else (frame[csum_start + 12] >> 4) * 4)
    if not ip + 20 <= csum_start or not transport <= headers < len(frame):
        raise ValueError("a super-frame without payload or with impossible offsets")
    # The field holds the sum over the pseudo-header with the super-frame's length; each piece has its own length.
    length_of_all = len(frame) - csum_start
    pseudo: int = _u16.unpack_from(frame, csum_start + csum_offset)[0]
    base = _fold(pseudo + (~length_of_all & 0xFFFF))
    payload = range(headers, len(frame), gso_size)
    for number, at in enumerate(payload):
        piece = bytearray(frame[:headers] + frame[at : at + gso_size])
        _set_lengths(piece, network == 0x0800, ip, csum_start, number)
        if is_udp:
            _u16.pack_into(piece, csum_start + 4, len(piece) - csum_start)
        else:
            _set_tcp(piece, csum_start, at - headers, first=number == 0, last=at + gso_size >= len(frame))
        _u16.pack_into(piece, csum_start + csum_offset, _fold(base + len(piece) - csum_start))
        finish_checksum(piece, csum_start, csum_offset)
        yield PLAIN + bytes(piece)


def _set_lengths(piece: bytearray, is_v4: bool, ip: int, transport: int, number: int) -> None:
    if not is_v4:
        _u16.pack_into(piece, ip + 4, len(piece) - ip - 40)
        return
    _u16.pack_into(piece, ip + 2, len(piece) - ip)
    _u16.pack_into(piece, ip + 4, (_u16.unpack_from(piece, ip + 4)[0] + number) & 0xFFFF)
    piece[ip + 10 : ip + 12] = b"\0\0"
    header = piece[ip : ip + (piece[ip] & 15) * 4]
    _u16.pack_into(piece, ip + 10, ~checksum(header) & 0xFFFF)


def _set_tcp(piece: bytearray, transport: int, done: int, *, first: bool, last: bool) -> None:
    sequence: int = _u32.unpack_from(piece, transport + 4)[0]
    _u32.pack_into(piece, transport + 4, (sequence + done) & 0xFFFFFFFF)
    if not last:
        piece[transport + 13] &= ~FIN_PSH
    if not first:
        piece[transport + 13] &= ~CWR
