"""Datagrams from the wire to a TAP: whole or in pieces, from elsewhere, by key slot, and what they may write."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import Train
from meshnet.forwarder.switch import LOCAL
from tests.unit.forwarder.fakes import (
    BROADCAST,
    NETWORK,
    Rig,
    Side,
    connect,
    current,
    entry,
    ethernet,
    send_train,
    throw,
)
from tests.unit.forwarder.test_vnet import FRAMES, HEADERS, insanity

LENGTHS = (3_000, 20_000, 61_440)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


# --- trains in pieces ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [1456, 512])
def test_a_train_in_single_datagrams_in_any_order_is_delivered_once(rig: Rig, length: int, size: int) -> None:
    left, right = rig.pair()
    left.peer(right).train = Train(left.state.sealed, size)
    for seed in range(4):
        frame = ethernet(right.mac, left.mac, length)
        datagrams = rig.capture(left, right, frame)
        assert len(datagrams) == -(-(length + 34) // size)
        if seed:
            random.Random(seed).shuffle(datagrams)
        assert throw(left, right, datagrams + datagrams[:3]) == [frame]
    assert len(right.work.inbound.reassembly) == right.work.inbound.reassembly.bytes_held == 0


def test_trains_mixed_with_each_other_are_all_delivered(rig: Rig) -> None:
    left, right = rig.pair()
    frames = [ethernet(right.mac, left.mac, 5_000) for _ in range(8)]
    datagrams = [datagram for frame in frames for datagram in rig.capture(left, right, frame)]
    random.Random(1).shuffle(datagrams)
    assert sorted(throw(left, right, datagrams)) == sorted(frames)


@pytest.mark.parametrize("size", [1456, 512])
def test_a_buffer_with_several_trains_delivers_each(rig: Rig, size: int) -> None:
    left, right = rig.pair()
    left.peer(right).train = Train(left.state.sealed, size)
    exact = 4 * size - 34  # a record whose last slice is full, so the kernel may put the next train behind it
    frames = [ethernet(right.mac, left.mac, length) for length in (exact, exact, 6_000)]
    datagrams = [datagram for frame in frames for datagram in rig.capture(left, right, frame)]
    send_train(left.sock, datagrams, right.address)
    assert right.receive() == frames and len(right.work.inbound.reassembly) == 0


def test_half_a_train_and_the_other_half_make_a_record(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, 20_000)
    datagrams = rig.capture(left, right, frame)
    send_train(left.sock, datagrams[5:], right.address)
    assert right.receive() == []
    send_train(left.sock, datagrams[:5], right.address)
    assert right.receive() == [frame]


# --- addresses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [60, 20_000])
def test_a_whole_train_from_elsewhere_is_taken(rig: Rig, length: int) -> None:
    left, right = rig.pair()
    elsewhere = rig.socket()
    for _ in range(2):
        frame = ethernet(right.mac, left.mac, length)
        send_train(elsewhere, rig.capture(left, right, frame), right.address)
        assert right.receive() == [frame]
    assert right.peer(left).address == left.address, "where a peer is, its echo of a probe decides"


def test_pieces_from_elsewhere_are_dropped(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, 5_000)
    datagrams = rig.capture(left, right, frame)
    elsewhere = rig.socket()
    for datagram in datagrams:
        elsewhere.sendto(datagram, right.address)
    assert right.receive() == [] and right.drops == {"foreign_address": len(datagrams)}
    assert right.told() == [] and len(right.work.inbound.reassembly) == 0
    assert throw(left, right, datagrams) == [frame]


# --- sessions --------------------------------------------------------------------------------------------------------


def test_an_initiator_confirms_at_once_and_both_directions_work(rig: Rig) -> None:
    left, right = rig.side(), rig.side()
    near, far = connect(left, right, confirm=False)
    assert right.peer(left).next is far and right.peer(left).current is None
    assert right.receive() == [], "the first record is empty"
    assert right.peer(left).current is far and right.peer(left).next is None
    assert (near.sent_records, near.sent_data, far.received_records, far.received_data) == (1, 0, 1, 0)
    back = ethernet(left.mac, right.mac)
    right.transmit(back)
    assert left.receive() == [back]


def test_rekeying_loses_nothing_in_flight(rig: Rig) -> None:
    left, right = rig.pair()
    old = ethernet(right.mac, left.mac)
    in_flight = rig.capture(left, right, old)
    first = current(right, left)
    _, second = connect(left, right, confirm=False)
    new = ethernet(right.mac, left.mac)
    left.transmit(new)
    assert right.receive() == [new]
    assert right.peer(left).current is second and right.peer(left).previous is first
    assert throw(left, right, in_flight) == [old], "the previous session still opens"
    assert right.peer(left).current is second
    _, third = connect(left, right)
    assert right.peer(left).current is third and first.index not in right.state.sessions
    assert throw(left, right, in_flight) == [] and right.drops == {"unknown_session": 1}


# --- what a record may hold ------------------------------------------------------------------------------------------


def deliver(left: Side, right: Side, plaintext: bytes) -> list[bytes]:
    left.sock.sendto(left.seal(current(left, right), plaintext), right.address)
    return right.receive()


def test_frames_of_strangers_and_with_others_macs_are_dropped(rig: Rig) -> None:
    left, right = rig.pair()
    third = rig.side()
    connect(third, right)
    right.network.set_endpoint(right.mac, LOCAL)
    for source in (right.mac, third.mac, BROADCAST, b"\x03" + left.mac[1:]):
        assert deliver(left, right, entry(NETWORK, ethernet(right.mac, source))) == []
    assert right.drops == {"spoofed_source": 4}
    right.network.drop_endpoint(left.mac)
    assert deliver(left, right, entry(NETWORK, ethernet(right.mac, left.mac))) == []
    assert right.drops == {"spoofed_source": 4, "not_a_member": 1}
    assert deliver(left, right, entry(NETWORK + 1, ethernet(right.mac, left.mac))) == []
    assert right.count(Drop.UNKNOWN_NETWORK) == 1


def test_an_address_behind_a_peer_is_learned_and_answered(rig: Rig) -> None:
    left, right = rig.pair()
    behind = b"\x06\0\0\0\0\1"
    frame = ethernet(right.mac, behind)
    assert deliver(left, right, entry(NETWORK, frame)) == [frame]
    third = rig.side()
    connect(right, third)
    answer = ethernet(behind, right.mac)
    right.transmit(answer)
    assert left.receive() == [answer] and third.receive() == []


def test_good_entries_before_and_after_odd_ones_are_delivered(rig: Rig) -> None:
    left, right = rig.pair()
    one, other = ethernet(right.mac, left.mac, 60), ethernet(right.mac, left.mac, 1514)
    odd = [
        (entry(NETWORK, b"later", kind=9), "unknown_entry"),
        (entry(NETWORK, b"", kind=0), "unknown_entry"),
        (b"\xff\0\0\0", "unknown_entry"),
        (entry(NETWORK, one[:23]), "malformed_entry"),
        (entry(NETWORK, b""), "malformed_entry"),
        (b"\1\0\0\0", "unknown_network"),
        (entry(NETWORK, b"\x04" + one[1:]), "bad_vnet_header"),
        (b"\2\0\0\0", None),
    ]
    for plaintext, reason in odd:
        before = right.drops
        assert deliver(left, right, entry(NETWORK, one) + plaintext + entry(NETWORK, other)) == [one, other]
        changed = {name for name, count in right.drops.items() if count != before.get(name, 0)}
        assert changed == ({reason} if reason else set()), plaintext


def test_a_length_past_the_end_ends_the_record(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac)
    good = entry(NETWORK, frame)
    for rest in (b"\1", b"\1\0\0", b"\1\xff\xff\xff", good[:-1], b"\1\0\0\5" + bytes(4), b"\xff\0\xff\0"):
        before = right.count(Drop.MALFORMED_ENTRY)
        assert deliver(left, right, good + rest) == [frame]
        assert right.count(Drop.MALFORMED_ENTRY) == before + 1
    assert deliver(left, right, b"") == [] and right.count(Drop.MALFORMED_ENTRY) == before + 1


@settings(max_examples=150, deadline=None)
@given(vnet=HEADERS, rest=FRAMES)
def test_no_frame_with_an_insane_header_is_written(vnet: bytes, rest: bytes) -> None:
    with Rig() as rig:
        left, right = rig.pair()
        frame = vnet + right.mac + left.mac + rest[12:]
        for found in deliver(left, right, entry(NETWORK, frame)):
            assert found == frame and insanity(found[:10], found[10:]) is None


@settings(max_examples=150, deadline=None)
@given(plaintext=st.binary(max_size=300))
def test_any_plaintext_raises_nothing(plaintext: bytes) -> None:
    with Rig() as rig:
        left, right = rig.pair()
        deliver(left, right, plaintext)
        deliver(left, right, b"\1\0" + plaintext)
        frame = ethernet(right.mac, left.mac)
        assert deliver(left, right, entry(NETWORK, frame)) == [frame]


def test_a_tap_that_takes_nothing_drops_and_counts(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac, 60_000)
    while not right.count(Drop.TAP_FULL):
        left.sock.sendto(left.seal(current(left, right), entry(NETWORK, frame)), right.address)
        right.work.inbound.drain(right.data)
    assert right.receive()
    assert deliver(left, right, entry(NETWORK, frame)) == [frame]
    right.tap.unplug()
    assert deliver(left, right, entry(NETWORK, frame)) == [] and right.count(Drop.TAP_REFUSED) == 1
