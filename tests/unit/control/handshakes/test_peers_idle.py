"""Sessions on demand: whom nobody talks to costs nothing, and a session that idles ends whole and comes back.

Both control sides and both forwarders are real; the clock is the test's.
"""

from __future__ import annotations

import gc
import random
from collections import deque
from collections.abc import Iterator

import pytest

from crypto import lifetime
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.session import Opener, Sealer
from meshnet.boundary import InstallSession as InstallVerb
from meshnet.boundary import Progress, SendDatagram, SessionEnded, SetHandshakeKeys, Wanted
from meshnet.control.handshakes import remote
from meshnet.control.handshakes.peer_output import DropSession, InstallSession, Output
from meshnet.control.handshakes.peer_output import SendDatagram as Sends
from meshnet.control.handshakes.peers import Peers
from meshnet.forwarder import loop as module
from meshnet.forwarder.loop import KEEPALIVE_S
from meshnet.forwarder.table import STAGED_FRAMES
from tests.unit.control.handshaking import AT_SMALL, LARGE, LARGE_ID, SMALL, SMALL_ID, peers_of
from tests.unit.control.session_hosts import BOOT, Host, Pair
from tests.unit.forwarder.fakes import Rig, Side, ethernet

KNOWN = 1000
HOUR_S = 3600


def known_to(peers: Peers, count: int = KNOWN) -> list[bytes]:
    """Makes `count` peers known; their identities."""
    identities = [number.to_bytes(32) for number in range(1, count + 1)]
    for number, identity in enumerate(identities):
        peers.know(identity, random.Random(number).randbytes(32), [("192.0.2.9", 6799)], (), 0.0)
    return identities


class End:
    """One host: its handshakes and its forwarder, wired by hand."""

    def __init__(self, side: Side, static: StaticKey, seed: int) -> None:
        self.side, self.static = side, static
        self.peers = peers_of(static, seed)
        self.arrived: deque[bytes] = deque()
        self.installs = self.handshakes = 0

    def meet(self, other: End) -> None:
        self.other = other
        self.side.know(other.side)
        self.peers.know(other.side.identity, other.static.public, [other.side.address], (), 0.0)

    def apply(self, outputs: list[Output]) -> None:
        for output in outputs:
            match output:
                case InstallSession():
                    self.installs += 1
                    self.side.install(
                        self.other.side,
                        (output.local_index, output.remote_index),
                        (output.send_key, output.receive_key),
                        initiator=output.initiator,
                        suite=Suite.AESGCM,
                        mtu=1500,
                    )
                case DropSession(index):
                    session = self.side.state.sessions.get(index)
                    if session is not None:
                        self.side.state.end_session(session)
                case Sends(_, data):
                    self.handshakes += 1
                    self.other.arrived.append(data)

    def turn(self, now: float) -> None:
        """Take in what waits, and do what is due."""
        for fact in self.side.told():
            match fact:
                case Wanted(peer=peer):
                    self.apply(self.peers.wanted(peer, now))
                case Progress(sessions=rows):
                    self.apply(self.peers.progressed(rows, now))
                case SessionEnded(index=index):
                    self.apply(self.peers.session_lost(index))
        while self.arrived:
            self.apply(self.peers.receive(self.other.side.address, self.arrived.popleft(), now))
        due = self.peers.next_timer()
        if due is not None and due <= now:
            self.apply(self.peers.handle_timer(now))


class World:
    """Two hosts on the loopback whose seconds a test counts."""

    def __init__(self, rig: Rig) -> None:
        self.now = 1000.0
        self.ends = [End(rig.side(), static, seed) for seed, static in enumerate((SMALL, LARGE))]
        one, two = self.ends
        one.meet(two)
        two.meet(one)

    def second(self) -> None:
        self.now += 1.0
        for end in self.ends:
            end.side.work._tick()
        self.settle()

    def settle(self) -> None:
        for _ in range(4):
            for end in self.ends:
                end.turn(self.now)
                end.side.work.inbound.drain(end.side.data)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with Rig() as rig:
        made = World(rig)
        monkeypatch.setattr(module, "boottime", lambda: made.now)
        yield made


def keys_held() -> int:
    gc.collect()
    return sum(isinstance(each, Sealer | Opener) for each in gc.get_objects())


def test_an_idle_session_ends_in_both_processes_and_leaves_nothing(world: World) -> None:
    one, two = world.ends
    before = keys_held()
    one.side.transmit(ethernet(two.side.mac, one.side.mac))
    world.settle()
    assert len(two.side.receive()) == 1 and (one.installs, two.installs) == (1, 1)
    began = world.now
    while one.side.state.sessions or two.side.state.sessions:
        world.second()
        assert world.now - began <= lifetime.REJECT_AFTER_TIME_S + 1, "the documented time"
    assert world.now - began >= lifetime.REJECT_AFTER_TIME_S - KEEPALIVE_S
    assert (one.installs, two.installs, one.handshakes, two.handshakes) == (1, 1, 1, 1), "nothing renewed it"
    assert keys_held() == before
    for end, other in ((one, two), (two, one)):
        books, peer = end.peers._known, end.peers._known.remotes[other.side.identity]
        assert (peer.sessions, peer.current, peer.attempt) == ({}, None, None)
        assert not books._by_session and not books._by_initiation and not books._stirring
        assert end.peers.next_timer() is None
        assert end.peers.view(other.side.identity, world.now).state == "idle"
        assert end.side.peer(other.side).sessions() == []


def test_the_next_frame_opens_it_again_and_is_not_lost(world: World) -> None:
    one, two = world.ends
    for sender, receiver in ((one, two), (two, one), (one, two)):
        frame = ethernet(receiver.side.mac, sender.side.mac)
        sender.side.transmit(frame)
        world.settle()
        assert receiver.side.receive() == [frame]
        for _ in range(int(lifetime.REJECT_AFTER_TIME_S) + 5):
            world.second()
        assert not one.side.state.sessions and not two.side.state.sessions
    assert one.installs == two.installs == 3


def test_of_more_frames_than_the_queue_holds_the_oldest_are_lost(world: World) -> None:
    one, two = world.ends
    frames = [ethernet(two.side.mac, one.side.mac) for _ in range(STAGED_FRAMES + 6)]
    one.side.transmit(*frames)
    world.settle()
    assert two.side.receive() == frames[6:]
    assert one.side.drops["stage_full"] == 6


def test_a_session_in_use_is_kept(world: World) -> None:
    one, two = world.ends
    for _ in range(600):
        one.side.transmit(ethernet(two.side.mac, one.side.mac))
        world.second()
        assert len(two.side.receive()) == 1
    assert 4 <= one.installs <= 600 / lifetime.REKEY_AFTER_TIME_S + 2


def test_a_thousand_known_peers_cost_no_handshake_and_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    peers, looked = peers_of(SMALL), [0]
    identities = known_to(peers)
    due = remote.Remote.due

    def counted(self: remote.Remote) -> float | None:
        looked[0] += 1
        return due(self)

    monkeypatch.setattr(remote.Remote, "due", counted)
    for second in range(HOUR_S):
        assert peers.next_timer() is None
        assert peers.progressed([], float(second)) == peers.handle_timer(float(second)) == []
    assert looked == [0] and not peers.counters
    peers.wanted(identities[0], 1.0)
    looked[0] = 0
    assert peers.next_timer() is not None
    assert looked[0] <= 2, "the others are at rest"
    now = 1.0
    while (at := peers.next_timer()) is not None:
        now = at
        peers.handle_timer(now)
    assert now - 1.0 >= lifetime.REKEY_ATTEMPT_S and peers.view(identities[0], now).state == "down"
    looked[0] = 0
    assert peers.next_timer() is None and looked == [0]


async def test_the_daemons_side_of_a_thousand_known_peers_sends_and_arms_nothing() -> None:
    host = Host(SMALL_ID, SMALL, AT_SMALL)
    host.start()
    for number in range(1, KNOWN + 1):
        static = random.Random(number).randbytes(32)
        host.sessions.know(number.to_bytes(32), static, ["192.0.2.9:6799", "[2001:db8::9]:6799"], BOOT)
    for _ in range(HOUR_S):
        host.now += 1.0
        host.sessions.fact(Progress(sessions=[]))
        assert host.sessions._timer is None
    sent = [verb for verb in host.take() if isinstance(verb, SendDatagram | InstallVerb | SetHandshakeKeys)]
    assert sent == [] and host.store.commits == 0
    host.sessions.close()


async def test_the_path_of_a_peer_is_watched_while_there_is_a_session() -> None:
    pair = Pair()
    made, _ = await pair.settled()
    assert LARGE_ID in pair.small.sessions._paths._addresses
    pair.small.sessions.fact(SessionEnded(index=made.index, reason="key expired"))
    assert LARGE_ID not in pair.small.sessions._paths._addresses
    assert pair.small.sessions._of_session == {}
    for host in pair.hosts:
        host.sessions.close()


def test_every_timer_is_that_of_a_peer_that_stirs() -> None:
    rng = random.Random(5)
    peers, now = peers_of(SMALL, 3), 0.0
    identities = known_to(peers, 40)
    for step in range(400):
        now += rng.random() * 20
        peer = rng.choice(identities)
        match rng.randrange(4):
            case 0:
                peers.wanted(peer, now)
            case 1:
                peers.know(peer, rng.randbytes(32), [("192.0.2.9", 1)], (), now)
            case 2:
                peers.forget(peer)
                peers.know(peer, rng.randbytes(32), [("192.0.2.9", 1)], (), now)
            case _:
                peers.handle_timer(now)
        everybody = [due for one in peers._known.remotes.values() if (due := one.due()) is not None]
        assert peers.next_timer() == min(everybody, default=None), step
