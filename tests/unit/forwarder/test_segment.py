"""Cutting super-frames: every piece is what a receiver expects, computed independently in super_frames.py."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.forwarder.segment import checksum, segments
from tests.unit.forwarder.super_frames import ACK, CWR, FIN, PSH, UDP, VNET, Shape, build, faults, rfc1071

SHAPES = [
    Shape(),
    Shape(v6=True),
    Shape(udp=True),
    Shape(udp=True, v6=True),
    Shape(tags=1),
    Shape(v6=True, tags=2),
    Shape(ip_options=8),
    Shape(tcp_options=0, mss=536),
    Shape(tcp_options=40, mss=1, payload=100),
    Shape(mss=1449, payload=1449 * 3),
    Shape(udp=True, mss=1471, payload=1471 * 3 + 1),
    Shape(payload=60_001, mss=8948),
    Shape(payload=1),
    Shape(flags=ACK),
    Shape(flags=ACK | CWR | FIN),
]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_piece_is_right(shape: Shape) -> None:
    data, payload = build(shape)
    assert faults(shape, list(segments(data)), payload) == []


SHAPE = st.builds(
    Shape,
    v6=st.booleans(),
    udp=st.booleans(),
    payload=st.integers(1, 20_000),
    mss=st.integers(100, 9_000),
    tcp_options=st.integers(0, 10).map(lambda words: 4 * words),
    ip_options=st.integers(0, 10).map(lambda words: 4 * words),
    tags=st.integers(0, 2),
    flags=st.integers(0, 255),
    sequence=st.integers(0, 2**32 - 1),
    identification=st.integers(0, 2**16 - 1),
)


@given(SHAPE)
def test_every_piece_of_any_super_frame_is_right(shape: Shape) -> None:
    data, payload = build(shape)
    assert faults(shape, list(segments(memoryview(data))), payload) == []


def test_a_plain_frame_gets_its_checksum_finished() -> None:
    shape = Shape(payload=1000, flags=ACK | PSH)
    data, payload = build(shape)
    vnet = VNET.pack(1, 0, 0, 0, shape.transport, 16)
    (piece,) = segments(vnet + data[10:])
    assert faults(shape, [piece], payload) == []


def test_a_plain_frame_without_a_wish_stays_as_it_is() -> None:
    frame = bytes(range(100))
    assert list(segments(bytes(10) + frame)) == [bytes(10) + frame]
    assert list(segments(VNET.pack(2, 0, 0, 0, 0, 0) + frame)) == [bytes(10) + frame]


def test_the_check_itself_finds_wrong_pieces() -> None:
    shape = Shape()
    data, payload = build(shape)
    pieces = list(segments(data))
    assert faults(shape, pieces[:-1], payload)
    for at in range(len(pieces[1])):
        wrong = bytearray(pieces[1])
        wrong[at] ^= 0x80
        assert faults(shape, [pieces[0], bytes(wrong), *pieces[2:]], payload), f"byte {at}"


@given(st.binary(max_size=99))
def test_the_checksum_is_rfc_1071s(data: bytes) -> None:
    assert ~checksum(data) & 0xFFFF == rfc1071(data)


@pytest.mark.parametrize(
    "fields",
    [(1, 1, 0, 0, 34, 16), (1, 1, 0, 1448, 14, 16), (1, 1, 0, 1448, 5000, 16), (1, UDP, 0, 1448, 9_999, 6)],
)
def test_headers_that_cannot_be_followed_are_refused(fields: tuple[int, ...]) -> None:
    data, _ = build(Shape(payload=2000))
    with pytest.raises(ValueError):
        list(segments(VNET.pack(*fields) + data[10:]))


@given(st.binary(min_size=10, max_size=10), st.binary(min_size=14, max_size=200), st.sampled_from((0, 1, 4, 5, None)))
def test_any_header_on_any_frame_is_cut_or_refused(vnet: bytes, frame: bytes, gso: int | None) -> None:
    header = bytearray(vnet)
    if gso is not None:
        header[:2] = bytes((1, gso))
        header[4:10] = bytes((header[4], 0, header[6] & 0x7F, 0, header[8], 0))
    try:
        list(segments(bytes(header) + frame))
    except ValueError:
        pass
