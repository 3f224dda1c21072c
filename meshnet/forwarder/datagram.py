"""The 16-byte datagram header, and the trains a record travels in.                                 # HOT PATH

    0        1        2        3        4                 8        10                16
    | R,type | lane   | slice  | slices | session index   | tail   | record counter  | slice of ciphertext

Big endian.  type (low 4 bits): 1 initiation, 2 response, 3 cookie, 4 record; R (high 4 bits) counts parities.  `tail`
is the length of the last slice.  The header with slice 0 is the record's additional data (docs/wire.md).

Why it is fast: a `Train` is the geometry of one slice size over the one ciphertext buffer.  The views that sendmsg
gathers (header, slice, header, slice, …) are built once; per record the sixteen header bytes are multiplied into
place, the slice numbers restored with one strided assignment, and a prefix of the list of views goes to the kernel,
which cuts it into datagrams (UDP GSO).
"""

import socket
from collections.abc import Sequence
from struct import Struct
from typing import Final

from meshnet.forwarder.record import RECORD_BYTES

__all__ = [
    "HEADER",
    "HEADER_BYTES",
    "INDEXES",
    "SEGMENTS_PER_SEND",
    "SEND_BYTES",
    "SOL_UDP",
    "TYPE_RECORD",
    "UDP_GRO",
    "UDP_SEGMENT",
    "Train",
    "read_counter",
    "slice_bytes",
]

TYPE_RECORD: Final = 4
HEADER_BYTES: Final = 16
SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104
SEGMENTS_PER_SEND: Final = 64
"""UDP_MAX_SEGMENTS of kernels before 6.9; newer ones allow 128."""
SEND_BYTES: Final = 65_507
SLICES: Final = 255
SMALLEST_MTU: Final = 576

HEADER: Final = Struct(">BBBBIHHI")
"""R|type, lane, slice, slices, session index, tail, record counter (high 16, low 32)."""
read_counter: Final = Struct(">HI").unpack_from
INDEXES: Final = [bytes(range(count)) for count in range(SLICES + 1)]

Views = list[memoryview]


def slice_bytes(mtu: int, family: int) -> int:
    """Ciphertext bytes per datagram on a path of this MTU: at least what RECORD_BYTES needs in 255 slices."""
    room = max(mtu, SMALLEST_MTU) - (48 if family == socket.AF_INET6 else 28) - HEADER_BYTES
    return max(room, -(-RECORD_BYTES // SLICES))


class Train:
    """How records are cut into slices of one size; shares the forwarder's ciphertext buffer."""

    __slots__ = ("_gso", "_heads", "_heads_view", "_prefixes", "_sealed", "per_send", "slice_size")

    def __init__(self, sealed: memoryview, slice_size: int) -> None:
        self.slice_size = slice_size
        self._sealed = sealed
        most = -(-RECORD_BYTES // slice_size)
        self._heads = bytearray(HEADER_BYTES * most)
        self._heads_view = memoryview(self._heads)
        datagram = slice_size + HEADER_BYTES
        self.per_send = min(SEGMENTS_PER_SEND, SEND_BYTES // datagram)
        views: Views = []
        for number in range(most):
            views.append(self._heads_view[number * HEADER_BYTES : (number + 1) * HEADER_BYTES])
            views.append(sealed[number * slice_size : (number + 1) * slice_size])
        self._prefixes = [views[: 2 * whole] for whole in range(most + 1)]
        self._gso = [(SOL_UDP, UDP_SEGMENT, Struct("=H").pack(datagram))]

    def cut(self, total: int) -> tuple[int, int]:
        """Return (slices, length of the last slice) of a record of `total` ciphertext bytes."""
        slices = -(-total // self.slice_size)
        return slices, total - (slices - 1) * self.slice_size

    def views(self, header: bytearray, slices: int, tail: int) -> Views:
        """The gather list of a sealed record: every slice behind its own copy of `header`."""
        heads = self._heads
        end = slices * HEADER_BYTES
        heads[:end] = header * slices
        heads[2:end:HEADER_BYTES] = INDEXES[slices]
        if tail == self.slice_size:
            return self._prefixes[slices]
        start = (slices - 1) * self.slice_size
        return [
            *self._prefixes[slices - 1],
            self._heads_view[end - HEADER_BYTES : end],
            self._sealed[start : start + tail],
        ]

    def sends(self, views: Views, slices: int) -> Sequence[tuple[Views, list[tuple[int, int, bytes]]]]:
        """Cut a gather list into what one sendmsg each may carry (SEGMENTS_PER_SEND, SEND_BYTES)."""
        if slices <= self.per_send:
            return ((views, self._gso),)
        step = 2 * self.per_send
        return [(views[at : at + step], self._gso) for at in range(0, len(views), step)]
