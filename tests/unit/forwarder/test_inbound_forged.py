"""Datagrams nobody sealed: forged, tampered with, cut short, replayed, or plain noise. None may be delivered or kept.

What a forger cannot do is as important: a record whose slices also arrive in forged versions is still opened.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import HEADER_BYTES
from meshnet.forwarder.inbound import COUNTERS_AHEAD
from meshnet.forwarder.reassembly import EXPIRE_S, SESSION_BYTES
from tests.unit.forwarder.fakes import Rig, current, ethernet, send_train, throw


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("place", [0, 3, 13])
def test_a_forged_slice_does_not_cost_the_record(rig: Rig, whole: bool, place: int) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, 20_000)
    datagrams = rig.capture(left, right, frame)
    assert len(datagrams) == 14
    forged = datagrams[place][:HEADER_BYTES] + bytes(len(datagrams[place]) - HEADER_BYTES)
    if whole:
        send_train(left.sock, [*datagrams[:place], forged, *datagrams[place + 1 :]], right.address)
        assert throw(left, right, [datagrams[place]]) == [frame]
    else:
        assert throw(left, right, [forged, *datagrams]) == [frame]
    assert right.count(Drop.BAD_TAG) >= 1
    assert len(right.work.inbound.reassembly) == 0


def test_a_forged_slice_that_comes_late_changes_nothing(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, 20_000)
    datagrams = rig.capture(left, right, frame)
    forged = datagrams[4][:HEADER_BYTES] + bytes(len(datagrams[4]) - HEADER_BYTES)
    assert throw(left, right, [*datagrams[:-1], forged, datagrams[-1]]) == [frame]


def test_a_record_of_nothing_but_forged_slices_is_counted_as_a_conflict(rig: Rig) -> None:
    left, right = rig.pair()
    datagrams = rig.capture(left, right, ethernet(right.mac, left.mac, 20_000))
    forged = [datagram[:HEADER_BYTES] + bytes(len(datagram) - HEADER_BYTES) for datagram in datagrams]
    assert throw(left, right, forged) == []
    assert right.drops == {"bad_tag": 1, "reassembly_conflict": 1}


def test_forged_slices_of_many_records_are_bounded_and_true_ones_still_arrive(rig: Rig) -> None:
    left, right = rig.pair()
    datagrams = rig.capture(left, right, ethernet(right.mac, left.mac, 20_000))
    table = right.work.inbound.reassembly
    for number in range(600):
        counter = (2 + number).to_bytes(6)
        throw(left, right, [d[:10] + counter + d[HEADER_BYTES:] for d in datagrams[1:6]])
        assert table.bytes_held <= SESSION_BYTES
    assert right.count(Drop.REASSEMBLY_FULL) > 0
    frame = ethernet(right.mac, left.mac, 20_000)
    left.transmit(frame)
    assert right.receive() == [frame], "a whole train needs no place in the table"
    table.expire(right.state.now + EXPIRE_S + 0.01)
    assert table.bytes_held == 0
    assert throw(left, right, rig.capture(left, right, frame)) == [frame]


def test_an_incomplete_record_expires(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = rig.pair()
    right.work.start()
    datagrams = rig.capture(left, right, ethernet(right.mac, left.mac, 20_000))
    throw(left, right, datagrams[:-1])
    assert len(right.work.inbound.reassembly) == 1
    now = right.state.now
    monkeypatch.setattr("meshnet.forwarder.loop.boottime", lambda: now + EXPIRE_S + 0.01)
    right.loop.fire(0.1)
    assert len(right.work.inbound.reassembly) == 0 and right.drops == {"reassembly_expired": 1}
    assert throw(left, right, datagrams[-1:]) == []


@pytest.mark.parametrize("length", [60, 5_000])
def test_any_flipped_bit_of_a_header_delivers_nothing(rig: Rig, length: int) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, length)
    datagrams = rig.capture(left, right, frame)
    for place, datagram in enumerate(datagrams):
        right.work.inbound.reassembly.expire(1e9)
        for bit in range(8 * HEADER_BYTES):
            wrong = bytearray(datagram)
            wrong[bit // 8] ^= 1 << bit % 8
            others = [d for at, d in enumerate(datagrams) if at != place]
            assert throw(left, right, [*others, bytes(wrong)]) == [], f"slice {place}, bit {bit}"
    right.work.inbound.reassembly.expire(1e9)
    assert throw(left, right, datagrams) == [frame]
    assert current(right, left).opener.window.highest == current(left, right).sealer.counter


def test_a_train_with_a_tampered_header_delivers_nothing(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, 5_000)
    datagrams = rig.capture(left, right, frame)
    for at in range(HEADER_BYTES):
        wrong = [d[:at] + bytes([d[at] ^ 0x20]) + d[at + 1 :] for d in datagrams]
        send_train(left.sock, wrong, right.address)
        assert right.receive() == [], f"byte {at}"
    send_train(left.sock, datagrams, right.address)
    assert right.receive() == [frame]


@pytest.mark.parametrize("length", [60, 5_000])
def test_a_truncated_or_extended_datagram_delivers_nothing(rig: Rig, length: int) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, length)
    *head, last = rig.capture(left, right, frame)
    for wrong in (
        last[:-1],
        last + b"\0",
        last[:HEADER_BYTES],
        last[: HEADER_BYTES + 1],
        last[:15],
        last[:4],
        last * 2,
    ):
        assert throw(left, right, [*head, wrong]) == []
    assert throw(left, right, [*head, last]) == [frame]


def test_a_replayed_datagram_is_delivered_no_second_time(rig: Rig) -> None:
    left, right = rig.pair()
    for length in (60, 5_000):
        frame = ethernet(right.mac, left.mac, length)
        datagrams = rig.capture(left, right, frame)
        assert throw(left, right, datagrams) == [frame]
        for _ in range(3):
            assert throw(left, right, datagrams) == []
            send_train(left.sock, datagrams, right.address)
            assert right.receive() == []
    assert set(right.drops) == {"replay"}


def test_a_record_far_ahead_gets_no_place_but_opens_when_it_is_whole(rig: Rig) -> None:
    left, right = rig.pair()
    session = current(left, right)
    session.sealer.counter += COUNTERS_AHEAD
    frame = ethernet(right.mac, left.mac, 5_000)
    datagrams = rig.capture(left, right, frame)
    assert throw(left, right, datagrams) == [] and right.count(Drop.REPLAY) == len(datagrams)
    send_train(left.sock, datagrams, right.address)
    assert right.receive() == [frame]


def test_unknown_sessions_and_other_lanes_are_counted(rig: Rig) -> None:
    left, right = rig.pair()
    (datagram,) = rig.capture(left, right, ethernet(right.mac, left.mac))
    assert throw(left, right, [datagram[:4] + b"\xff\xff\xff\xff" + datagram[8:]]) == []
    assert throw(left, right, [datagram[:1] + b"\1" + datagram[2:]]) == []
    assert right.drops == {"unknown_session": 1, "unknown_lane": 1}
    assert right.told() == []


@settings(max_examples=150, deadline=None)
@given(data=st.lists(st.binary(max_size=80), max_size=5), index=st.booleans())
def test_any_datagrams_raise_nothing_and_write_nothing(data: list[bytes], index: bool) -> None:
    with Rig() as rig:
        left, right = rig.pair()
        known = current(right, left).index.to_bytes(4)
        for datagram in data:
            left.sock.sendto(b"\4" + datagram[:3] + known + datagram[3:] if index else datagram, right.address)
        assert right.receive() == []


@settings(max_examples=60, deadline=None)
@given(data=st.binary(min_size=1, max_size=3_000), segment=st.integers(1, 60))
def test_any_coalesced_datagrams_raise_nothing_and_write_nothing(data: bytes, segment: int) -> None:
    with Rig() as rig:
        left, right = rig.pair()
        head = b"\4\0\0\3" + current(right, left).index.to_bytes(4)
        data = data[: 60 * segment]
        pieces = [(head + data[at:])[:segment] for at in range(0, len(data), segment)]
        send_train(left.sock, pieces, right.address)
        assert right.receive() == []
