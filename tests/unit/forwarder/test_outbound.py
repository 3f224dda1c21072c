"""Frames from a TAP to the wire: bundled by peer, flooded to members, staged without a session, cut where they must be.

The receiver is a whole forwarder on the loopback, so what counts is what reaches its TAP.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from crypto.primitives import Suite
from crypto.session import COUNTER_LIMIT, TAG_BYTES
from meshnet.boundary import SessionEnded, Trouble, Wanted
from meshnet.forwarder import outbound as module
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import Train
from meshnet.forwarder.outbound import BUNDLE_FRAMES, GSO_PAUSE_S
from meshnet.forwarder.record import PLAINTEXT_BYTES
from meshnet.forwarder.table import ALL_FEATURES, STAGED_FRAMES
from tests.unit.forwarder.fakes import BROADCAST, Rig, Side, connect, ethernet
from tests.unit.forwarder.super_frames import Shape, build, faults

SLICES = (1456, 1224, 512)
SIZES = (60, 1000, 1400, 1456, 1514, 9014, 30_000, 61_440)


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def cut_into(sender: Side, receiver: Side, size: int) -> None:
    sender.peer(receiver).train = Train(sender.state.sealed, size)


def records(side: Side, other: Side) -> int:
    session = side.peer(other).current
    assert session is not None
    return session.sent_records


def refuse(side: Side, other: Side, code: int, when: Callable[[tuple[Any, ...]], bool]) -> list[tuple[Any, ...]]:
    """Make the kernel refuse the sends for which `when(arguments)`; returns the list of those it refused."""
    peer = side.peer(other)
    real, refused = peer.send, []

    def send(*arguments: Any) -> int:
        if when(arguments):
            refused.append(arguments)
            raise OSError(code, "refused")
        assert real is not None
        return real(*arguments)

    peer.send = send
    return refused


@pytest.mark.parametrize("size", SLICES)
@pytest.mark.parametrize("suite", list(Suite), ids=lambda suite: suite.value)
def test_a_frame_of_any_size_arrives_as_it_was(rig: Rig, size: int, suite: Suite) -> None:
    left, right = rig.pair(suite=suite)
    cut_into(left, right, size)
    for length in SIZES:
        frame = ethernet(right.mac, left.mac, length)
        left.transmit(frame)
        assert right.receive() == [frame], length
    assert left.drops == right.drops == {}


@pytest.mark.parametrize("mtu", [576, 1280, 1500, 9000])
def test_any_path_mtu_carries_any_frame_and_no_datagram_exceeds_it(rig: Rig, mtu: int) -> None:
    left, right = rig.pair(mtu=mtu)
    for length in SIZES:
        frame = ethernet(right.mac, left.mac, length)
        assert max(map(len, rig.capture(left, right, frame))) <= mtu - 28
        left.transmit(frame)
        assert right.receive() == [frame]


def test_frames_that_wait_together_share_records(rig: Rig) -> None:
    left, right = rig.pair()
    before = records(left, right)
    frames = [ethernet(right.mac, left.mac, 60 + number) for number in range(150)]
    left.transmit(*frames)
    assert right.receive() == frames
    assert records(left, right) - before == -(-len(frames) // BUNDLE_FRAMES)


def test_a_bundle_never_exceeds_a_record(rig: Rig) -> None:
    left, right = rig.pair()
    for sizes in ([31_000, 61_440, 1000], [31_900, 31_900, 31_900, 61_440], [60, 61_440, 60], [1514] * 60):
        frames = [ethernet(right.mac, left.mac, size) for size in sizes]
        left.transmit(*frames)
        assert right.receive() == frames
    assert left.drops == right.drops == {}


def test_a_turn_is_bounded_and_the_rest_waits(rig: Rig) -> None:
    left, right = rig.pair()
    frames = [ethernet(right.mac, left.mac) for _ in range(module.FRAMES_PER_TURN + 10)]
    left.transmit(*frames)
    assert right.receive() == frames[: module.FRAMES_PER_TURN]
    left.transmit()
    assert right.receive() == frames[module.FRAMES_PER_TURN :]


def test_frames_for_two_peers_in_one_drain_reach_each_its_own_in_order(rig: Rig) -> None:
    left, right = rig.pair()
    third = rig.side()
    connect(left, third)
    sizes = (60, 1514, 9000, 61_440, 60, 60, 30_000, 1514)
    frames = [ethernet((right if number % 3 else third).mac, left.mac, size) for number, size in enumerate(sizes * 3)]
    left.transmit(*frames)
    assert right.receive() == [frame for frame in frames if frame[10:16] == right.mac]
    assert third.receive() == [frame for frame in frames if frame[10:16] == third.mac]


def test_large_frames_for_two_peers_in_turn_all_fit_the_buffer(rig: Rig) -> None:
    left, right = rig.pair()
    third = rig.side()
    connect(left, third)
    # Each is too small to leave at once, so each waits in the buffer behind the one for the other peer.
    frames = [ethernet((right, third)[number % 2].mac, left.mac, 31_000) for number in range(8)]
    left.transmit(*frames, ethernet(right.mac, left.mac, 61_440))
    assert right.receive()[:-1] == frames[::2] and third.receive() == frames[1::2]


@pytest.mark.parametrize("destination", [BROADCAST, b"\x01\0\x5e\0\0\1", b"\x02\xee\xee\xee\xee\xee"])
def test_broadcast_multicast_and_unknown_reach_all_members_and_nobody_else(rig: Rig, destination: bytes) -> None:
    left, right = rig.pair()
    third, stranger = rig.side(), rig.side()
    connect(left, third)
    connect(left, stranger)
    left.network.drop_endpoint(stranger.mac)
    unicast, flood = ethernet(right.mac, left.mac), ethernet(destination, left.mac)
    left.transmit(unicast, flood, unicast)
    assert right.receive() == [unicast, flood, unicast]
    assert third.receive() == [flood] and stranger.receive() == []


def test_floods_are_limited_by_the_second(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLOODS_PER_S", 5)
    left, right = rig.pair()
    flood = ethernet(BROADCAST, left.mac)
    left.transmit(*[flood] * 8)
    assert right.receive() == [flood] * 5 and left.drops == {"broadcast_limit": 3}
    left.transmit(ethernet(right.mac, left.mac))
    assert len(right.receive()) == 1
    left.work.outbound.next_second()
    left.transmit(flood)
    assert right.receive() == [flood]


def test_a_frame_for_this_host_and_a_runt_leave_for_nobody(rig: Rig) -> None:
    left, right = rig.pair()
    frame = ethernet(right.mac, left.mac)
    left.transmit(frame, frame[:23], ethernet(left.mac, right.mac), frame)
    assert right.receive() == [frame, frame]
    assert left.drops == {"runt": 1, "no_destination": 1}


# --- without a session -----------------------------------------------------------------------------------------------


def test_frames_wait_for_a_session_and_leave_in_order(rig: Rig) -> None:
    left, right = rig.side(), rig.side()
    left.know(right)
    frames = [ethernet(right.mac, left.mac, size) for size in (60, 1514, 61_440, 60)]
    left.transmit(*frames)
    assert left.told() == [Wanted(peer=right.identity)]
    left.transmit(*frames)
    assert left.told() == [], "once is enough"
    connect(left, right, confirm=False)
    assert right.receive() == frames * 2
    assert left.peer(right).staged_bytes == 0


def test_what_waits_is_bounded_and_the_oldest_is_dropped(rig: Rig) -> None:
    left, right = rig.side(), rig.side()
    left.know(right)
    frames = [ethernet(right.mac, left.mac) for _ in range(STAGED_FRAMES + 20)]
    left.transmit(*frames)
    assert left.drops == {"stage_full": 20}
    connect(left, right, confirm=False)
    assert right.receive() == frames[20:]


def test_a_responder_sends_what_waits_once_the_session_is_confirmed(rig: Rig) -> None:
    left, right = rig.side(), rig.side()
    right.know(left)
    frame = ethernet(left.mac, right.mac)
    right.transmit(frame)
    connect(left, right, confirm=False)
    assert left.receive() == []
    right.receive()
    assert left.receive() == [frame]


def test_nothing_leaves_without_a_session(rig: Rig) -> None:
    left, right = rig.pair()
    current = left.peer(right).current
    assert current is not None
    left.state.end_session(current)
    left.transmit(ethernet(right.mac, left.mac), ethernet(BROADCAST, left.mac))
    assert right.receive() == [] and right.drops == left.drops == {} and len(left.peer(right).staged) == 2


def test_a_used_up_counter_ends_the_session_and_says_so(rig: Rig) -> None:
    left, right = rig.pair()
    session = left.peer(right).current
    assert session is not None
    session.sealer.counter = COUNTER_LIMIT[Suite.AESGCM] - 2
    frames = [ethernet(right.mac, left.mac, 40_000) for _ in range(3)]
    left.transmit(*frames)
    assert right.receive() == frames[:1]
    assert SessionEnded(index=session.index, reason="record counter used up") in left.told()
    assert left.peer(right).current is None and session.index not in left.state.sessions


# --- super-frames ----------------------------------------------------------------------------------------------------


def addressed(data: bytes, left: Side, right: Side) -> bytes:
    return data[:10] + right.mac + left.mac + data[22:]


@pytest.mark.parametrize("shape", [Shape(), Shape(v6=True), Shape(udp=True), Shape(udp=True, v6=True)], ids=str)
def test_a_super_frame_goes_whole_to_a_peer_that_takes_it(rig: Rig, shape: Shape) -> None:
    left, right = rig.pair()
    frame = addressed(build(shape)[0], left, right)
    left.transmit(frame)
    assert right.receive() == [frame]


@pytest.mark.parametrize(
    ("shape", "bit"),
    [(Shape(), 1), (Shape(v6=True), 2), (Shape(udp=True), 8), (Shape(udp=True, v6=True), 16)],
    ids=str,
)
def test_a_super_frame_is_cut_for_a_peer_that_does_not_take_its_kind(rig: Rig, shape: Shape, bit: int) -> None:
    left, right = rig.pair()
    left.peer(right).features = ALL_FEATURES & ~bit
    data, payload = build(shape)
    plain = ethernet(right.mac, left.mac)
    left.transmit(plain, addressed(data, left, right), plain)
    found = right.receive()
    assert found[0] == found[-1] == plain
    pieces = [piece[:10] + data[10:22] + piece[22:] for piece in found[1:-1]]
    assert faults(shape, pieces, payload) == []


def test_a_super_frame_larger_than_a_record_is_cut(rig: Rig) -> None:
    left, right = rig.pair()
    shape = Shape(payload=PLAINTEXT_BYTES)
    data, payload = build(shape)
    left.transmit(addressed(data, left, right))
    pieces = [piece[:10] + data[10:22] + piece[22:] for piece in right.receive()]
    assert faults(shape, pieces, payload) == []


def test_a_frame_too_large_for_a_record_is_dropped_alone(rig: Rig) -> None:
    left, right = rig.pair()
    plain = ethernet(right.mac, left.mac)
    left.transmit(plain, ethernet(right.mac, left.mac, 65_000), plain)
    assert right.receive() == [plain, plain] and left.drops == {"too_big": 1}


def test_a_super_frame_that_cannot_be_cut_is_dropped_alone(rig: Rig) -> None:
    left, right = rig.pair()
    left.peer(right).features = 0
    plain = ethernet(right.mac, left.mac)
    for vnet in ("01010000000022001000", "0101000010000d270000", "01050000ffffffffffff", "017f0000010000000000"):
        left.transmit(plain, bytes.fromhex(vnet) + plain[10:], plain)
        assert right.receive() == [plain, plain], vnet
    assert left.drops == {"too_big": 4}


# --- what the kernel refuses -----------------------------------------------------------------------------------------


def test_eio_turns_gso_off_for_ten_minutes_and_the_record_still_arrives(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    left, right = rig.pair()
    refused = refuse(left, right, errno.EIO, lambda arguments: bool(arguments[1]))
    frames = [ethernet(right.mac, left.mac, 20_000) for _ in range(3)]
    left.transmit(*frames)
    assert right.receive() == frames
    assert len(refused) == 1 and left.drops == {} and not left.peer(right).gso
    assert [type(fact) for fact in left.told()] == [Trouble]
    for later, gso in ((GSO_PAUSE_S - 1, False), (GSO_PAUSE_S + 1, True)):
        monkeypatch.setattr("meshnet.forwarder.loop.boottime", lambda later=later: 1000.0 + later)
        monkeypatch.setattr("meshnet.forwarder.loop.REJECT_AFTER_S", 1e6)
        left.work._tick()
        assert left.peer(right).gso is gso


def test_no_record_is_larger_than_the_peer_agreed_to(rig: Rig) -> None:
    left, right = rig.pair()
    left.peer(right).largest = 4000
    sealed: list[int] = []
    real = left.peer(right).send

    def send(views: Any, *rest: Any) -> int:
        sealed.append(sum(len(view) for view in views[1::2]))
        assert real is not None
        return real(views, *rest)

    left.peer(right).send = send
    frames = [ethernet(right.mac, left.mac, 1000 + number) for number in range(8)]
    left.transmit(*frames)
    assert right.receive() == frames
    assert len(sealed) == 3 and max(sealed) <= 4000 + TAG_BYTES
    left.transmit(ethernet(right.mac, left.mac, 5000))
    assert right.receive() == [] and left.drops == {"too_big": 1}


def test_gso_stays_off_through_a_new_session_and_a_new_path(rig: Rig) -> None:
    left, right = rig.pair()
    refuse(left, right, errno.EIO, lambda arguments: bool(arguments[1]))
    left.transmit(ethernet(right.mac, left.mac, 20_000))
    left.state.now += 120
    connect(left, right)
    assert not left.peer(right).gso
    left.state.set_path(left.peer(right), right.address, 1400)
    assert not left.peer(right).gso
    frame = ethernet(right.mac, left.mac, 20_000)
    right.receive()
    left.transmit(frame)
    assert right.receive() == [frame]


@pytest.mark.parametrize("code", [errno.EMSGSIZE, errno.EINVAL])
def test_a_path_that_takes_less_lowers_the_mtu_and_the_next_record_fits(rig: Rig, code: int) -> None:
    left, right = rig.pair()
    refused = refuse(left, right, code, lambda arguments: len(arguments[0][1]) > 1280 - 44)
    frame = ethernet(right.mac, left.mac, 20_000)
    left.transmit(frame)
    assert right.receive() == [] and left.drops == {"too_big": 1} and left.peer(right).mtu == module.SMALL_MTU
    left.transmit(frame)
    assert right.receive() == [frame] and len(refused) == 1
    assert [type(fact) for fact in left.told()] == [Trouble]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(errno.EAGAIN, "socket_full"), (errno.ENETUNREACH, "send_failed"), (errno.EPERM, "send_failed")],
)
def test_a_refused_send_is_counted_and_the_next_one_leaves(rig: Rig, code: int, reason: str) -> None:
    left, right = rig.pair()
    turns = iter([True, False])
    refuse(left, right, code, lambda arguments: next(turns))
    frame = ethernet(right.mac, left.mac)
    left.transmit(frame)
    left.transmit(frame)
    assert right.receive() == [frame] and left.drops == {reason: 1}


def test_a_path_without_gso_sends_datagrams_singly(rig: Rig) -> None:
    left, right = rig.pair()
    left.peer(right).gso = False
    calls = refuse(left, right, errno.EIO, lambda arguments: bool(arguments[1]))
    frames = [ethernet(right.mac, left.mac, size) for size in SIZES]
    for frame in frames:
        left.transmit(frame)
        assert right.receive() == [frame]
    assert calls == []


def test_a_tap_that_is_gone_raises_to_the_loop(rig: Rig) -> None:
    left, _ = rig.pair()
    left.tap.unplug()
    with pytest.raises(OSError, match="Bad file descriptor"):
        left.work.outbound.drain(left.network)
    assert left.count(Drop.RUNT) == 0
