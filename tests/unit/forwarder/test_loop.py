"""The loop: readers that cannot go deaf, the tick, keys that expire, signs of life, and an orphan's end."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import Callable, Iterator

import pytest
import uvloop

from crypto.cookie import cookie, open_reply
from meshnet.boundary import MESSAGE_BYTES, Fact, Handshake, Progress, SessionEnded, Trouble, encode
from meshnet.forwarder import loop as module
from meshnet.forwarder.admission import LOAD_PER_S
from meshnet.forwarder.buckets import BURST
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.loop import EXPIRE_S, KEEPALIVE_S, ORPHAN_S, TICK_S, Loop
from meshnet.forwarder.state import State
from meshnet.forwarder.table import REJECT_AFTER_S
from tests.unit.forwarder.fakes import Rig, Side, connect, current, ethernet, send_train, until
from tests.unit.forwarder.test_admission import COOKIE_KEY, ROWS, SECRET, handshake


class Clock:
    """CLOCK_BOOTTIME as the test says it is."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "boottime", made)
    return made


def tick(clock: Clock, *sides: Side, seconds: float = 1.0) -> None:
    """Time passes by whole ticks."""
    for _ in range(round(seconds)):
        clock.now += 1.0
        for side in sides:
            side.work._tick()


def progress(facts: list[Fact]) -> list[Progress]:
    return [fact for fact in facts if isinstance(fact, Progress)]


# --- time ------------------------------------------------------------------------------------------------------------


def test_the_clock_goes_on_while_the_host_sleeps() -> None:
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= module.boottime() <= time.clock_gettime(time.CLOCK_BOOTTIME)


def test_a_start_arms_both_timers_and_each_arms_itself_again(rig: Rig, clock: Clock) -> None:
    side = rig.side()
    side.work.start()
    for _ in range(3):
        assert sorted(delay for delay, _ in side.loop.timers) == [EXPIRE_S, TICK_S]
        side.loop.fire(EXPIRE_S)
        side.loop.fire(TICK_S)


def test_a_key_is_refused_after_180_seconds_in_both_directions(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    near, far = left.peer(right).current, right.peer(left).current
    assert near is not None and far is not None
    last = rig.capture(left, right, ethernet(right.mac, left.mac))
    tick(clock, left, right, seconds=REJECT_AFTER_S - 1)
    frame = ethernet(right.mac, left.mac)
    left.transmit(frame)
    assert right.receive() == [frame]
    tick(clock, left, right)
    assert left.state.sessions == right.state.sessions == {}
    for side, session in ((left, near), (right, far)):
        assert SessionEnded(index=session.index, reason="key expired") in side.told()
        assert side.count(Drop.KEY_EXPIRED) == 1
    left.sock.sendto(last[0], right.address)
    left.transmit(frame)
    assert right.receive() == [] and right.drops == {"key_expired": 1, "unknown_session": 1}


def test_a_key_is_refused_by_the_reader_that_comes_before_the_tick(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    right.work.add_socket(right.data)
    left.work.add_network(left.network)
    clock.now += REJECT_AFTER_S
    (datagram,) = rig.capture(left, right, ethernet(right.mac, left.mac))
    left.sock.sendto(datagram, right.address)
    right.loop.readers[right.sock.fileno()]()
    assert right.tap.take() == [] and right.state.sessions == {}
    left.tap.put(ethernet(right.mac, left.mac))
    left.loop.readers[left.tap.fd]()
    assert left.state.sessions == {} and len(left.peer(right).staged) == 1


def test_each_key_expires_at_its_own_time(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    tick(clock, left, right, seconds=100)
    connect(left, right)
    tick(clock, left, right, seconds=80)
    assert left.peer(right).previous is None and left.peer(right).current is not None
    tick(clock, left, right, seconds=99)
    frame = ethernet(right.mac, left.mac)
    left.transmit(frame)
    assert right.receive() == [frame]
    tick(clock, left, right)
    assert left.peer(right).sessions() == []


def test_a_second_reports_the_sessions_that_changed(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    third = rig.side()
    connect(left, third)
    tick(clock, left, right)
    left.told()
    left.transmit(ethernet(right.mac, left.mac, 1000))
    right.receive()
    tick(clock, left, right)
    session = left.peer(right).current
    assert session is not None
    ((row,),) = [fact.sessions for fact in progress(left.told())]
    assert (row.index, row.sent_records, row.received_records) == (session.index, 2, 0)
    assert row.sent_bytes == session.sent_bytes and row.last_sent_age_s == 0.0 and row.last_received_age_s == -1.0
    ((row,),) = [fact.sessions[-1:] for fact in progress(right.told())[-1:]]
    assert (row.received_records, row.last_received_age_s, row.last_sent_age_s) == (2, 0.0, -1.0)
    tick(clock, left, right, seconds=3)
    assert progress(left.told()) == []


def test_many_changed_sessions_are_reported_in_messages_that_fit(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    session = left.peer(right).current
    assert session is not None
    rows = [module.progress_row(session, 1e9)] * module.PROGRESS_ROWS
    assert len(encode(Progress(sessions=rows))) < MESSAGE_BYTES


def test_a_keepalive_itself_counts_as_no_data(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    tick(clock, left, right, seconds=60)
    left.receive()
    right.receive()
    session = left.peer(right).current
    assert session is not None and session.sent_records == 1 and session.received_records == 0


def test_who_only_receives_sends_a_sign_of_life_after_10_seconds(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    back = left.peer(right).current
    assert back is not None
    left.transmit(ethernet(right.mac, left.mac))
    right.receive()
    tick(clock, left, right, seconds=KEEPALIVE_S)
    left.receive()
    assert back.received_records == 0
    tick(clock, left, right, seconds=2)
    left.receive()
    assert back.received_records == 1
    tick(clock, left, right, seconds=60)
    left.receive()
    assert back.received_records == 1, "one is enough"


def test_a_stream_in_one_direction_is_answered_by_signs_of_life(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    back = left.peer(right).current
    assert back is not None
    for _ in range(45):
        left.transmit(ethernet(right.mac, left.mac))
        right.receive()
        tick(clock, left, right)
        left.receive()
    # Without one within 15 s the sender would take the path for dead and begin a handshake.
    assert 3 <= back.received_records <= 5


def test_an_answer_makes_the_sign_of_life_needless(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    back = left.peer(right).current
    assert back is not None
    for _ in range(30):
        left.transmit(ethernet(right.mac, left.mac))
        right.receive()
        right.transmit(ethernet(left.mac, right.mac))
        tick(clock, left, right)
        left.receive()
    tick(clock, left, right, seconds=5)
    left.receive()
    assert back.received_records == back.received_data == 30


def test_a_session_is_wanted_again_every_second_while_frames_come(rig: Rig, clock: Clock) -> None:
    left, right = rig.side(), rig.side()
    left.know(right)
    for _ in range(3):
        left.transmit(ethernet(right.mac, left.mac), ethernet(right.mac, left.mac))
        assert len(left.told()) == 1
        tick(clock, left)


def test_learned_addresses_age_by_the_tick(rig: Rig, clock: Clock) -> None:
    left, right = rig.pair()
    right.network.admits(right.peer(left), b"\x06" + bytes(5), clock.now)
    tick(clock, right, seconds=302)
    assert b"\x06" + bytes(5) not in right.network.ports


def test_without_a_meshnetd_it_ends_after_300_seconds(rig: Rig, clock: Clock) -> None:
    side = rig.side()
    ends: list[float] = []
    side.work.on_orphaned = lambda: ends.append(clock.now)
    side.work.attended = False
    side.work.start()
    tick(clock, side, seconds=ORPHAN_S)
    side.work.attended = True
    tick(clock, side, seconds=ORPHAN_S + 50)
    side.work.attended = False
    gone = clock.now
    tick(clock, side, seconds=ORPHAN_S)
    assert ends == []
    tick(clock, side)
    assert ends == [gone + ORPHAN_S + 1]


# --- handshakes ------------------------------------------------------------------------------------------------------


def test_a_handshake_goes_up_and_junk_is_counted(rig: Rig) -> None:
    side = rig.side()
    side.work.admission.set_keys(ROWS)
    sender = rig.socket()
    for datagram in (handshake(), handshake(key=b"x" * 32), handshake()[:-1], b"\x09" + bytes(200)):
        sender.sendto(datagram, side.address)
    assert side.receive() == []
    assert side.told() == [Handshake(address=sender.getsockname(), data=handshake())]
    assert side.drops == {"handshake_mac": 1, "handshake_length": 1, "unknown_type": 1}


def test_under_load_a_cookie_goes_to_the_sender(rig: Rig) -> None:
    side = rig.side()
    side.work.admission.set_keys(ROWS)
    side.work.admission.set_cookie_secrets(SECRET, b"")
    sender = rig.socket()
    for number in range(LOAD_PER_S + 1):
        sender.sendto(handshake(fill=number), side.address)
        side.receive()
    # The address has used its burst up long before, which is another reason not to let it pass.
    assert side.drops == {"handshake_rate": LOAD_PER_S - int(BURST), "handshake_no_cookie": 1}
    last = handshake(fill=LOAD_PER_S)
    assert open_reply(COOKIE_KEY, last[-32:-16], sender.recv(2000)) == cookie(SECRET, *sender.getsockname())
    assert Handshake(address=sender.getsockname(), data=last) not in side.told()


def test_what_cannot_be_sent_is_counted(rig: Rig) -> None:
    side = rig.side()
    side.work.send_datagram(b"\1", ("::1", 9, 0, 0))
    side.work.send_datagram(b"\1", ("127.0.0.1", 0))
    assert side.drops == {"no_socket": 1, "send_failed": 1}


def test_coalesced_handshakes_are_judged_one_by_one(rig: Rig) -> None:
    side = rig.side()
    side.work.admission.set_keys(ROWS)
    send_train(rig.socket(), [handshake(fill=number) for number in range(5)], side.address)
    side.receive()
    assert [fact.data for fact in side.told() if isinstance(fact, Handshake)] == [handshake(fill=n) for n in range(5)]


# --- readers ---------------------------------------------------------------------------------------------------------

LOOPS = pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def attach(side: Side, work: Loop) -> None:
    """Give the side a real loop's readers instead of the manual ones."""
    side.work = work
    work.add_socket(side.data)
    work.add_network(side.network)


@LOOPS
@pytest.mark.parametrize("reader", ["socket", "TAP"])
def test_a_reader_that_met_an_error_goes_on_reading(
    rig: Rig, factory: Callable[[], asyncio.AbstractEventLoop], reader: str
) -> None:
    left, right = rig.pair()
    got: list[bytes] = []

    def arrived(frames: int) -> bool:
        got.extend(right.tap.take())
        return len(got) >= frames

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        near, far = Loop(loop, left.state, left.facts), Loop(loop, right.state, right.facts)
        broken = (far.inbound, "drain") if reader == "socket" else (near.outbound, "drain")
        with pytest.MonkeyPatch.context() as patch:
            errors = [errno.ECONNREFUSED, errno.EIO, errno.EHOSTUNREACH]
            real = getattr(*broken)

            def drain(what: object) -> None:
                if errors:
                    code = errors.pop()
                    raise OSError(code, os.strerror(code))
                real(what)

            patch.setattr(type(broken[0]), "drain", lambda self, what: drain(what))
            attach(left, near)
            attach(right, far)
            frame = ethernet(right.mac, left.mac)
            left.tap.put(frame)
            await until(lambda: arrived(1))
            assert errors == [] and got == [frame]
            left.tap.put(frame)
            await until(lambda: arrived(2))
        for side in (left, right):
            loop.remove_reader(side.sock.fileno())
            loop.remove_reader(side.tap.fd)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())
    told = [fact for fact in [*left.told(), *right.told()] if isinstance(fact, Trouble)]
    assert len(told) == 1, "it is said once"


@LOOPS
def test_an_icmp_error_does_not_make_the_socket_deaf(
    rig: Rig, factory: Callable[[], asyncio.AbstractEventLoop]
) -> None:
    left, right = rig.pair()
    session = current(right, left)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        attach(right, Loop(loop, right.state, right.facts))
        for number in range(2, 7):
            right.sock.sendto(b"nobody listens there", ("127.0.0.1", 1))
            left.transmit(ethernet(right.mac, left.mac))
            await until(lambda number=number: session.received_records == number)  # type: ignore[misc]
        assert len(right.tap.take()) == 5
        loop.remove_reader(right.sock.fileno())
        loop.remove_reader(right.tap.fd)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())


@pytest.mark.parametrize("code", [errno.EBADF, errno.EBADFD, errno.ENODEV])
def test_a_device_that_is_gone_is_let_go_and_told(rig: Rig, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    left = rig.side()

    def drain(self: object, network: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(type(left.work.outbound), "drain", drain)
    left.work.add_network(left.network)
    left.loop.readers[left.tap.fd]()
    assert left.tap.fd not in left.loop.readers
    (trouble,) = left.told()
    assert isinstance(trouble, Trouble) and errno.errorcode[code] in trouble.what
    left.work.add_network(left.network)
    assert left.tap.fd in left.loop.readers


def test_a_removed_reader_is_not_called_any_more(rig: Rig) -> None:
    side = rig.side()
    side.work.add_socket(side.data)
    side.work.remove_reader(side.sock.fileno())
    assert side.loop.readers == {}


def test_an_orphan_stops_its_loop_unless_told_otherwise() -> None:
    loop = asyncio.new_event_loop()
    try:
        state = State()
        assert Loop(loop, state, Facts(state.drops)).on_orphaned == loop.stop
    finally:
        loop.close()
