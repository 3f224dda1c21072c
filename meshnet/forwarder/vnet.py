"""The virtio header of a frame: what a peer may claim in it, and what its TAP must be able to take.

Ten bytes, little endian: flags u8, gso_type u8, hdr_len u16, gso_size u16, csum_start u16, csum_offset u16
(Virtual I/O Device specification §5.1.6; the kernel's uapi/linux/virtio_net.h).  Every field from a peer is hostile:
`is_sane` is asked before a frame goes to a TAP, and the kernel checks again.
"""

from struct import Struct
from typing import Final

from meshnet.forwarder.record import ETHERNET_BYTES, VNET_BYTES

__all__ = [
    "GSO_NONE",
    "GSO_TCPV4",
    "GSO_TCPV6",
    "GSO_UDP",
    "NEEDS_CSUM",
    "PLAIN",
    "VNET",
    "feature_of",
    "is_sane",
]

VNET: Final = Struct("<BBHHHH")
PLAIN: Final = bytes(VNET_BYTES)
NEEDS_CSUM: Final = 1
FLAGS_KNOWN: Final = 0x03
GSO_NONE: Final = 0
GSO_TCPV4: Final = 1
GSO_TCPV6: Final = 4
GSO_UDP: Final = 5
GSO_ECN: Final = 0x80
SMALLEST_SEGMENT: Final = 8
SEGMENTS_PER_FRAME: Final = 8192
HEADERS_BYTES: Final = 512
"""Ethernet, IP and transport headers of a super-frame together are never longer than this."""

_FEATURE_OF: Final = {
    GSO_NONE: 0,
    GSO_TCPV4: 1,
    GSO_TCPV6: 2,
    GSO_TCPV4 | GSO_ECN: 1 | 4,
    GSO_TCPV6 | GSO_ECN: 2 | 4,
}
_ETHERTYPES: Final = {GSO_TCPV4: (0x0800,), GSO_TCPV6: (0x86DD,), GSO_UDP: (0x0800, 0x86DD)}
_TCP: Final = 6
_UDP: Final = 17
_read_u16 = Struct(">H").unpack_from
_TAGS: Final = (0x8100, 0x88A8)


def ethertype(buffer: bytes | bytearray | memoryview, at: int, end: int) -> tuple[int, int]:
    """(EtherType, offset of the network header) of the frame at `at`, behind at most two VLAN tags."""
    offset = at + 12
    kind: int = _read_u16(buffer, offset)[0]
    for _ in range(2):
        if kind not in _TAGS or offset + 6 > end:
            break
        offset += 4
        kind = _read_u16(buffer, offset)[0]
    return kind, offset + 2


def feature_of(gso_type: int, buffer: bytes | bytearray | memoryview, at: int, end: int) -> int:
    """The feature bits a TAP needs for the frame at `at` with this gso_type; all bits for an unknown type."""
    if gso_type == GSO_UDP:
        return 16 if ethertype(buffer, at, end)[0] == 0x86DD else 8
    return _FEATURE_OF.get(gso_type, -1)


def is_sane(buffer: bytes | bytearray | memoryview, at: int, end: int) -> bool:
    """Tell whether the virtio header at `at` fits the frame behind it, which ends at `end` (exclusive)."""
    frame = at + VNET_BYTES
    size = end - frame
    if size < ETHERNET_BYTES:
        return False
    flags, gso, header_length, gso_size, csum_start, csum_offset = VNET.unpack_from(buffer, at)
    if flags & ~FLAGS_KNOWN:
        return False
    if flags & NEEDS_CSUM and (csum_start < ETHERNET_BYTES or csum_start + csum_offset + 2 > size):
        return False
    if gso == GSO_NONE:
        return True
    return _is_sane_super(buffer, frame, end, (flags, gso, header_length, gso_size, csum_start, csum_offset))


def _is_sane_super(
    buffer: bytes | bytearray | memoryview, frame: int, end: int, header: tuple[int, int, int, int, int, int]
) -> bool:
    flags, gso, header_length, gso_size, csum_start, csum_offset = header
    kind = gso & ~GSO_ECN
    if kind not in _ETHERTYPES or (gso & GSO_ECN and kind == GSO_UDP) or not flags & NEEDS_CSUM:
        return False
    size = end - frame
    if gso_size < SMALLEST_SEGMENT or header_length > min(size, HEADERS_BYTES) or csum_start > HEADERS_BYTES:
        return False
    if csum_offset != (6 if kind == GSO_UDP else 16) or (size - csum_start) // gso_size > SEGMENTS_PER_FRAME:
        return False
    network, offset = ethertype(buffer, frame, end)
    if network not in _ETHERTYPES[kind] or csum_start < offset - frame + (20 if network == 0x0800 else 40):
        return False
    if csum_start + (8 if kind == GSO_UDP else 20) > size:
        return False
    protocol = buffer[offset + 9] if network == 0x0800 else buffer[offset + 6]
    wanted = _UDP if kind == GSO_UDP else _TCP
    return protocol == wanted or network == 0x86DD
