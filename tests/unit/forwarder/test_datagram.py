"""Trains: what the gather list says is what a plain construction of the datagrams says, for every size."""

from __future__ import annotations

import os
import socket
from struct import unpack

import pytest

from meshnet.forwarder.datagram import (
    HEADER,
    HEADER_BYTES,
    SEGMENTS_PER_SEND,
    SEND_BYTES,
    SOL_UDP,
    TYPE_RECORD,
    UDP_SEGMENT,
    Train,
    read_counter,
    slice_bytes,
)
from meshnet.forwarder.record import RECORD_BYTES

SEALED = memoryview(bytearray(os.urandom(RECORD_BYTES)))
SLICES = (512, 1216, 1224, 1456, 8956)


def plain_train(header: bytes, sealed: bytes, size: int) -> list[bytes]:
    pieces = [sealed[at : at + size] for at in range(0, len(sealed), size)]
    return [header[:2] + bytes([number]) + header[3:] + piece for number, piece in enumerate(pieces)]


def test_the_header_has_the_documented_layout() -> None:
    header = HEADER.pack(TYPE_RECORD, 1, 2, 3, 0x04050607, 0x0809, 0x0A0B, 0x0C0D0E0F)
    assert header == bytes.fromhex("04010203 04050607 0809 0a0b0c0d0e0f")
    assert len(header) == HEADER_BYTES == HEADER.size
    assert read_counter(b"\xff" + header, 11) == (0x0A0B, 0x0C0D0E0F)


@pytest.mark.parametrize("size", SLICES)
@pytest.mark.parametrize("total", [17, 76, 511, 512, 513, 1024, 2912, 9000, 61_500, 63_999, RECORD_BYTES])
def test_the_views_are_the_datagrams(size: int, total: int) -> None:
    train = Train(SEALED, size)
    slices, tail = train.cut(total)
    header = bytearray(HEADER.pack(TYPE_RECORD, 0, 0, slices, 0xDEADBEEF, tail, 1, 2))
    expected = plain_train(bytes(header), bytes(SEALED[:total]), size)
    assert len(expected) == slices and len(expected[-1]) == HEADER_BYTES + tail
    for _ in range(2):  # the second use of a geometry finds the first one's bytes in its buffers
        views = train.views(header, slices, tail)
        assert b"".join(views) == b"".join(expected)
        assert [bytes(views[at]) + bytes(views[at + 1]) for at in range(0, len(views), 2)] == expected


@pytest.mark.parametrize("size", SLICES)
@pytest.mark.parametrize("total", [1024, 20_000, 61_500, RECORD_BYTES])
def test_a_send_is_within_the_kernels_limits_and_only_the_last_datagram_is_short(size: int, total: int) -> None:
    train = Train(SEALED, size)
    slices, tail = train.cut(total)
    header = bytearray(HEADER_BYTES)
    views = train.views(header, slices, tail)
    sends = train.sends(views, slices)
    for part, ancillary in sends:
        assert len(part) <= 2 * SEGMENTS_PER_SEND and sum(map(len, part)) <= SEND_BYTES
        ((level, kind, data),) = ancillary
        assert (level, kind, unpack("=H", data)) == (SOL_UDP, UDP_SEGMENT, (size + HEADER_BYTES,))
        assert all(len(view) == size for view in part[1:-1:2])
    assert b"".join(b"".join(part) for part, _ in sends) == b"".join(views)
    assert len(sends) == -(-slices // train.per_send)


def test_slices_fill_the_path() -> None:
    assert slice_bytes(1500, socket.AF_INET) == 1456
    assert slice_bytes(1500, socket.AF_INET6) == 1436
    assert slice_bytes(1280, socket.AF_INET6) == 1216


@pytest.mark.parametrize("mtu", [-1, 0, 68, 575, 576, 600, 1280, 1500, 9000, 65_535])
@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_any_mtu_gives_a_geometry_that_holds_the_largest_record(mtu: int, family: int) -> None:
    slices, tail = Train(SEALED, slice_bytes(mtu, family)).cut(RECORD_BYTES)
    assert 0 < slices <= 255 and 0 < tail <= slice_bytes(mtu, family)
