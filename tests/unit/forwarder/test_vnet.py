"""What a peer may claim in a virtio header: only what the kernel defines, inside the frame, of a bounded size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.forwarder.vnet import feature_of, is_sane
from tests.unit.forwarder.super_frames import ECN, TCPV4, TCPV6, UDP, VNET, Shape, build

SMALL = Shape(payload=4000)
FRAME = build(SMALL)[0][10:]
GOOD = dict(flags=1, gso=TCPV4, header=SMALL.headers, size=1448, start=SMALL.transport, offset=16)


def sane(vnet: bytes, frame: bytes) -> bool:
    """Asked at an offset, as the receive path does; what lies around the frame must not matter."""
    data = b"\xff" * 5 + vnet + frame + b"\x81\0" * 40
    return is_sane(data, 5, 5 + len(vnet) + len(frame))


def insanity(vnet: bytes, frame: bytes) -> str | None:
    """Why a kernel should not be shown this header, judged without the forwarder's code; None when it may be."""
    flags, gso, header, size, start, offset = VNET.unpack(vnet)
    if flags & ~3:
        return "unknown flags"
    if flags & 1 and (start < 14 or start + offset + 2 > len(frame)):
        return "a checksum outside of the frame"
    kind = gso & 0x7F
    if gso == 0:
        return None
    if gso not in (TCPV4, TCPV6, UDP, TCPV4 | ECN, TCPV6 | ECN):
        return "an unknown GSO type"
    if not flags & 1:
        return "segmentation without a checksum to finish"
    if size < 8 or (len(frame) - start) / size > 65_536 or header > len(frame):
        return "an impossible segment size"
    if start + (8 if kind == UDP else 20) > len(frame) or offset != (6 if kind == UDP else 16):
        return "no transport header"
    at = 12
    for _ in range(2):
        if frame[at : at + 2] in (b"\x81\0", b"\x88\xa8"):
            at += 4
    allowed = {TCPV4: (b"\x08\0",), TCPV6: (b"\x86\xdd",), UDP: (b"\x08\0", b"\x86\xdd")}
    return None if frame[at : at + 2] in allowed[kind] else "another network protocol"


@pytest.mark.parametrize(
    "shape",
    [
        Shape(),
        Shape(v6=True),
        Shape(udp=True),
        Shape(udp=True, v6=True),
        Shape(tags=1),
        Shape(v6=True, tags=2),
        Shape(ip_options=40, tcp_options=40),
        Shape(payload=61_000, mss=8),
        Shape(payload=1),
    ],
    ids=str,
)
def test_what_a_kernel_makes_is_sane(shape: Shape) -> None:
    data, _ = build(shape)
    assert sane(data[:10], data[10:])
    assert insanity(data[:10], data[10:]) is None
    if not shape.udp:
        assert sane(bytes((data[0], data[1] | ECN)) + data[2:10], data[10:])


@pytest.mark.parametrize("flags", [0, 1, 2, 3])
def test_a_plain_frame_is_sane_with_any_known_flags(flags: int) -> None:
    assert sane(VNET.pack(flags, 0, 0, 0, SMALL.transport, 16), FRAME)
    assert sane(VNET.pack(flags, 0, 0, 0, len(FRAME) - 18, 16), FRAME)


@pytest.mark.parametrize(
    "change",
    [
        dict(flags=4),
        dict(flags=0x81),
        dict(flags=0),
        dict(gso=2),
        dict(gso=3),
        dict(gso=6),
        dict(gso=0x7F),
        dict(gso=ECN),
        dict(gso=UDP | ECN, offset=6),
        dict(gso=TCPV6),
        dict(gso=UDP, offset=6),
        dict(size=0),
        dict(size=7),
        dict(header=len(FRAME) + 1),
        dict(header=0xFFFF),
        dict(start=0),
        dict(start=13),
        dict(start=14),
        dict(start=33),
        dict(start=len(FRAME) - 19),
        dict(start=0xFFFF),
        dict(offset=0),
        dict(offset=6),
        dict(offset=0xFFFF),
    ],
    ids=str,
)
def test_each_field_out_of_bounds_is_refused(change: dict[str, int]) -> None:
    assert sane(VNET.pack(*GOOD.values()), FRAME)
    assert not sane(VNET.pack(*{**GOOD, **change}.values()), FRAME)


@pytest.mark.parametrize("start", [0, 13, len(FRAME) - 17, len(FRAME), 0xFFFF])
def test_a_checksum_outside_of_a_plain_frame_is_refused(start: int) -> None:
    assert not sane(VNET.pack(1, 0, 0, 0, start, 16), FRAME)
    assert sane(VNET.pack(0, 0, 0, 0, start, 16), FRAME), "nobody asked for one"


def test_a_frame_shorter_than_its_header_is_refused() -> None:
    assert not sane(bytes(10), bytes(13)) and sane(bytes(10), bytes(14))


def test_udp_segmentation_of_tcp_is_refused() -> None:
    wrong = bytearray(build(Shape(udp=True))[0])
    wrong[10 + 14 + 9] = 6
    assert not sane(bytes(wrong[:10]), bytes(wrong[10:]))


HEADERS = st.one_of(
    st.binary(min_size=10, max_size=10),
    st.builds(
        VNET.pack,
        st.sampled_from((0, 1, 2, 3, 255)),
        st.sampled_from((0, TCPV4, TCPV6, UDP, TCPV4 | ECN, TCPV6 | ECN, 3)),
        st.integers(0, 600),
        st.integers(0, 2000),
        st.integers(0, 120),
        st.sampled_from((0, 6, 16, 17)),
    ),
)
FRAMES = st.one_of(
    st.binary(max_size=120),
    st.sampled_from([build(shape)[0][10:130] for shape in (Shape(), Shape(v6=True), Shape(udp=True), Shape(tags=2))]),
)


@given(HEADERS, FRAMES)
def test_what_passes_is_harmless_and_nothing_raises(vnet: bytes, frame: bytes) -> None:
    if sane(vnet, frame):
        assert insanity(vnet, frame) is None


@pytest.mark.parametrize(
    ("shape", "bits"),
    [(Shape(), 1), (Shape(v6=True), 2), (Shape(udp=True), 8), (Shape(udp=True, v6=True, tags=1), 16)],
    ids=str,
)
def test_a_super_frame_needs_its_own_feature(shape: Shape, bits: int) -> None:
    data, _ = build(shape)
    assert feature_of(data[1], data, 10, len(data)) == bits
    if not shape.udp:
        assert feature_of(data[1] | ECN, data, 10, len(data)) == bits | 4


def test_an_unknown_kind_needs_more_than_any_peer_takes() -> None:
    assert feature_of(0, FRAME, 0, len(FRAME)) == 0
    for gso in (2, 3, 6, 127, ECN):
        assert feature_of(gso, FRAME, 0, len(FRAME)) & ~0x1F
