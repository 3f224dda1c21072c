"""forwarder/datagram.py: the gather list of one train. HOT PATH: once per record sent."""

from __future__ import annotations

from collections.abc import Callable

from meshnet.forwarder.datagram import HEADER, TYPE_RECORD, Train
from meshnet.forwarder.record import RECORD_BYTES


def cases() -> dict[str, Callable[[], object]]:
    """Trains of a full slice, of a super-frame, and of the many slices of a small path MTU, cut into sends."""
    shapes = {"1456-of-1456": (1456, 1456), "61000-of-1456": (1456, 61_000), "61000-of-512": (512, 61_000)}
    return {title: train(*shape) for title, shape in shapes.items()}


def train(slice_size: int, total: int) -> Callable[[], object]:
    made = Train(memoryview(bytearray(RECORD_BYTES)), slice_size)
    header = bytearray(16)

    def case() -> object:
        slices, tail = made.cut(total)
        HEADER.pack_into(header, 0, TYPE_RECORD, 0, 0, slices, 7, tail, 0, 9)
        return made.sends(made.views(header, slices, tail), slices)

    return case
