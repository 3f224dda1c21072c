"""Record plaintext: a sequence of entries, each kind u8, length u24, body (docs/wire.md).          # HOT PATH

The body of a frame entry is the network number (u32), the virtio header (10 bytes, little endian) and the frame, so
a frame read from a TAP at offset `at + FRAME_PREFIX` becomes an entry by writing the eight bytes before it, and an
opened entry goes to a TAP as one slice: nothing is copied in between.
"""

from struct import Struct
from typing import Final

from crypto.session import TAG_BYTES

__all__ = [
    "ETHERNET_BYTES",
    "FRAME_PREFIX",
    "KEEPALIVE",
    "KIND_ECHO",
    "KIND_FRAME",
    "KIND_KEEPALIVE",
    "KIND_PROBE",
    "PLAINTEXT_BYTES",
    "RECORD_BYTES",
    "VNET_BYTES",
    "read_prefix",
    "write_prefix",
]

KIND_FRAME: Final = 1
KIND_KEEPALIVE: Final = 2
KIND_PROBE: Final = 3
KIND_ECHO: Final = 4
VNET_BYTES: Final = 10
ETHERNET_BYTES: Final = 14
FRAME_PREFIX: Final = 8
RECORD_BYTES: Final = 64_000
"""Largest record on the wire, tag included."""
PLAINTEXT_BYTES: Final = RECORD_BYTES - TAG_BYTES
KEEPALIVE: Final = bytes((KIND_KEEPALIVE, 0, 0, 0))

_FRAME_WORD: Final = KIND_FRAME << 24 | 4
_prefix = Struct(">II")
read_prefix = _prefix.unpack_from
"""(kind << 24 | length, network number) at an offset; the number means something for frame entries only."""
_pack_prefix = _prefix.pack_into


def write_prefix(buffer: bytearray, at: int, size: int, number: int) -> None:
    """Make `size` bytes of virtio header and frame at `at + FRAME_PREFIX` a frame entry that starts at `at`."""
    _pack_prefix(buffer, at, _FRAME_WORD + size, number)
