"""Two hosts over a link that loses, doubles and reorders datagrams, in virtual time.

The forwarder here is a model with the real one's three key slots and its tick of one second. What must hold: whatever
the link does, both ends come to one matching session in use, keep it through every change of keys, and get it back
after a restart.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from crypto.handshake import Local
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.boundary import Address, ProgressRow
from meshnet.control.peers import RACE_S, DropSession, InstallSession, Output, Peers, SendDatagram

MESH, SECRET = bytes(range(16)), MeshSecret(0, bytes(range(32)))
SEEDS = range(60)
LOSSY_S = 150.0
SETTLED_S = 30.0
FIRST_S = 90.0
KEEPALIVE_S = 10.0


@dataclass
class Slot:
    """A session in the forwarder model."""

    install: InstallSession
    created: float
    sent: int = 0
    sent_frames: int = 0
    received: int = 0
    received_frames: int = 0
    seen: tuple[int, ...] = (0, 0, 0, 0)
    last_sent: float = -1.0
    last_received: float = -1.0


@dataclass
class Record:
    """A record on the link: for which index, under which key, and whether it carries a frame."""

    index: int
    key: bytes
    frame: bool


class World:
    """Virtual time, and a link between two hosts."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.now = 1000.0
        self.loss = self.rng.choice([0.0, 0.1, 0.3])
        self.double = self.rng.choice([0.0, 0.3])
        self.delay_s = self.rng.choice([0.02, 0.4, 1.2])
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        keys = [StaticKey.generate(self.rng.randbytes) for _ in range(2)]
        self.hosts = [Host(self, own, bytes((side,)) * 32) for side, own in enumerate(keys)]
        for host, other in zip(self.hosts, reversed(self.hosts), strict=True):
            host.meet(other)

    def at(self, delay: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._events, (self.now + delay, next(self._order), call))

    def carry(self, receive: Callable[[], None]) -> None:
        copies = 2 if self.rng.random() < self.double else 1
        for _ in range(copies):
            if self.rng.random() >= self.loss:
                self.at(self.rng.uniform(0.001, self.delay_s), receive)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        end = self.now + seconds
        while self._events and self._events[0][0] <= end:
            if until():
                return True
            self.now, _, call = heapq.heappop(self._events)
            call()
        self.now = end
        return until()

    def matching(self) -> bool:
        """Whether both ends seal under the same session."""
        one, two = (host.current for host in self.hosts)
        if one is None or two is None:
            return False
        ours, theirs = one.install, two.install
        return (ours.local_index, ours.remote_index) == (theirs.remote_index, theirs.local_index) and (
            ours.send_key,
            ours.receive_key,
        ) == (theirs.receive_key, theirs.send_key)


class Host:
    """A control side under test and a model of its forwarder."""

    def __init__(self, world: World, static: StaticKey, peer_id: bytes) -> None:
        self.world = world
        self.static = static
        self.peer_id = peer_id
        self.address: Address = (f"192.0.2.{peer_id[0] + 1}", 6799)
        self.peers = self.control()
        self.frame_every = 0.0
        self.delivered = 0
        self.waited = self.sealed = self.installs = 0
        self.empty()
        self.armed: float | None = None
        world.at(world.rng.random(), self.tick)

    def control(self) -> Peers:
        return Peers(
            Local(MESH, Suite.AESGCM, SECRET, self.static),
            bytes(8),
            entropy=self.world.rng.randbytes,
            rng=self.world.rng,
            wall_ns=lambda: int(self.world.now) * 10**9,
            features=31,
            largest_record=64_000,
        )

    def empty(self) -> None:
        self.current: Slot | None = None
        self.previous: Slot | None = None
        self.next: Slot | None = None
        self.keepalive_due: float | None = None

    def meet(self, other: Host) -> None:
        self.other = other
        # The first address leads nowhere, as an address behind another router would.
        nowhere: list[Address] = [("203.0.113.9", 6799)] if self.world.rng.random() < 0.4 else []
        self.peers.know(other.peer_id, other.static.public, [*nowhere, other.address])

    # The control side

    def apply(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, SendDatagram):
                if output.address == self.other.address:
                    self.world.carry(lambda data=output.data: self.other.handshake(data))  # type: ignore[misc]
            elif isinstance(output, InstallSession):
                self.install(Slot(output, self.world.now))
            elif isinstance(output, DropSession):
                self.drop(output.local_index)
        due = self.peers.next_timer()
        if due is not None and (self.armed is None or due < self.armed):
            self.armed = due
            self.world.at(max(0.0, due - self.world.now), self.timer)

    def timer(self) -> None:
        self.armed = None
        self.apply(self.peers.handle_timer(self.world.now))

    def handshake(self, data: bytes) -> None:
        self.apply(self.peers.receive(self.other.address, data, self.world.now))

    # The forwarder

    def slots(self) -> list[Slot]:
        return [slot for slot in (self.current, self.next, self.previous) if slot is not None]

    def install(self, slot: Slot) -> None:
        self.installs += 1
        if slot.install.initiator:
            self.previous, self.current, self.next = self.current, slot, None
            self.seal(frame=False)
        else:
            self.next = slot

    def drop(self, index: int) -> None:
        for name in ("current", "previous", "next"):
            slot = getattr(self, name)
            if slot is not None and slot.install.local_index == index:
                setattr(self, name, None)

    def seal(self, *, frame: bool) -> None:
        slot = self.current
        if slot is None:
            return
        slot.sent += 1
        slot.sent_frames += frame
        self.sealed += frame
        record = Record(slot.install.remote_index, slot.install.send_key, frame)
        self.world.carry(lambda: self.other.open(record))

    def open(self, record: Record) -> None:
        for slot in self.slots():
            if (slot.install.local_index, slot.install.receive_key) == (record.index, record.key):
                slot.received += 1
                slot.received_frames += record.frame
                self.delivered += record.frame
                if slot is self.next:
                    self.previous, self.current, self.next = self.current, slot, None

    def send_frame(self) -> None:
        if self.current is None:
            self.waited += 1
            self.apply(self.peers.wanted(self.other.peer_id, self.world.now))
        else:
            self.seal(frame=True)

    def talk(self, every: float) -> None:
        """Sends frames from now on, about one in ``every`` seconds; 0 ends it."""
        running = self.frame_every > 0
        self.frame_every = every
        if not running:
            self.world.at(self.world.rng.uniform(0, 0.2), self._talk_on)

    def _talk_on(self) -> None:
        if self.frame_every:
            self.send_frame()
            self.world.at(self.frame_every * self.world.rng.uniform(0.5, 1.5), self._talk_on)

    def tick(self) -> None:
        now = self.world.now
        self.world.at(1.0, self.tick)
        rows = []
        for slot in self.slots():
            if now >= slot.created + 180:
                self.drop(slot.install.local_index)
                self.apply(self.peers.session_lost(slot.install.local_index))
                continue
            marks = (slot.sent, slot.sent_frames, slot.received, slot.received_frames)
            changed = [mark != before for mark, before in zip(marks, slot.seen, strict=True)]
            slot.seen = marks
            if changed[1]:
                slot.last_sent = now
            if changed[2]:
                slot.last_received = now
            if changed[3] and self.keepalive_due is None:
                self.keepalive_due = now + KEEPALIVE_S
            if changed[0]:
                self.keepalive_due = None
            if any(changed):
                ages = [now - last if last >= 0 else -1.0 for last in (slot.last_sent, slot.last_received)]
                rows.append(ProgressRow(slot.install.local_index, slot.sent, slot.received, 0, 0, *ages))
        if self.keepalive_due is not None and self.keepalive_due <= now:
            self.keepalive_due = None
            self.seal(frame=False)
        self.apply(self.peers.progressed(rows, now))


def begin(world: World) -> None:
    """Traffic from one side, or from both at about the same moment."""
    one, two = world.hosts
    one.talk(world.rng.choice([0.2, 3.0]))
    if world.rng.random() < 0.7:
        two.talk(world.rng.choice([0.2, 3.0]))


@pytest.mark.parametrize("seed", SEEDS)
def test_any_link_comes_to_a_matching_session_and_keeps_it(seed: int) -> None:
    world = World(seed)
    begin(world)
    assert world.run(FIRST_S, world.matching), "no session over a lossy link"
    world.run(LOSSY_S)
    world.loss = 0.0
    for host in world.hosts:
        host.talk(1.0)
    assert world.run(SETTLED_S, world.matching), "no matching session after the loss ended"
    installed = world.hosts[0].current
    world.run(400.0)
    assert world.run(SETTLED_S, world.matching)
    assert world.hosts[0].current is not installed, "keys that were never changed"
    for host in world.hosts:
        assert host.current is not None and world.now - host.current.created < 180
        view = host.peers.view(host.other.peer_id, world.now)
        assert view.state == "up" and view.address == host.other.address


@pytest.mark.parametrize("seed", range(10))
def test_a_clean_link_loses_no_frame_to_changes_of_keys(seed: int) -> None:
    world = World(seed)
    world.loss, world.double, world.delay_s = 0.0, 0.0, 0.05
    one, two = world.hosts
    for host in world.hosts:
        host.talk(0.5)
    assert world.run(5.0, world.matching)
    world.run(5.0)
    waited, installed = one.waited + two.waited, one.installs + two.installs
    refused = one.peers.counters + two.peers.counters
    sealed = one.sealed + two.sealed - one.delivered - two.delivered
    world.run(1000.0)
    assert world.matching() and one.waited + two.waited == waited
    assert 2 * 8 <= one.installs + two.installs - installed <= 2 * 9, "one handshake every 120 s"
    in_flight = one.sealed + two.sealed - one.delivered - two.delivered - sealed
    assert abs(in_flight) <= 2
    assert one.peers.counters + two.peers.counters == refused


@pytest.mark.parametrize("seed", range(10))
def test_both_begin_at_the_same_instant(seed: int) -> None:
    world = World(seed)
    world.loss, world.delay_s = 0.0, 0.4 * RACE_S
    for host in world.hosts:
        host.apply(host.peers.wanted(host.other.peer_id, world.now))
    assert world.run(15.0, world.matching)
    world.run(30.0)
    assert world.matching() and sum(host.installs for host in world.hosts) == 2, "one of the two won"


@pytest.mark.parametrize("seed", range(10))
def test_a_restarted_forwarder_is_back_within_two_seconds(seed: int) -> None:
    world = World(seed)
    world.loss, world.delay_s = 0.0, 0.1
    for host in world.hosts:
        host.talk(0.3)
    world.run(15.0)
    assert world.matching()
    host = world.hosts[seed % 2]
    host.empty()
    host.apply(host.peers.restarted(b"newboot!", world.now))
    assert world.run(2.0, world.matching)


@pytest.mark.parametrize("seed", range(10))
def test_a_host_that_forgot_everything_is_found_again(seed: int) -> None:
    world = World(seed)
    world.loss, world.delay_s = 0.0, 0.1
    for host in world.hosts:
        host.talk(0.3)
    world.run(15.0)
    lost, other = world.hosts[seed % 2], world.hosts[1 - seed % 2]
    lost.empty()
    lost.talk(0.0)
    lost.peers = lost.control()
    lost.peers.know(other.peer_id, other.static.public, [other.address])
    # It says nothing by itself: the other end notices 15 s of silence.
    assert world.run(20.0, world.matching)


@pytest.mark.parametrize("sender", [0, 1])
def test_one_way_traffic_outlives_its_keys(sender: int) -> None:
    world = World(3)
    world.loss, world.delay_s = 0.0, 0.05
    one, two = world.hosts[sender], world.hosts[1 - sender]
    # The receiving end makes the first session, so that it is the one that has to change keys.
    two.send_frame()
    world.run(2.0)
    one.talk(0.5)
    world.run(30.0)
    waited, delivered = one.waited, two.delivered
    world.run(600.0)
    assert world.matching() and one.waited == waited and two.delivered - delivered > 1000


def test_silence_makes_no_handshakes() -> None:
    world = World(4)
    world.loss, world.double, world.delay_s = 0.0, 0.0, 0.05
    one, two = world.hosts
    one.send_frame()
    world.run(30.0)
    assert world.matching()
    first = one.current
    world.run(140.0)
    assert one.current is first
    world.run(60.0)
    assert one.current is None and two.current is None
    assert one.peers.next_timer() is None and two.peers.next_timer() is None
