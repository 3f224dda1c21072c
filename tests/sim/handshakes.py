"""Hosts that make sessions with each other over a link that loses, doubles and reorders datagrams, in virtual time.

What is real: ``Peers`` with its keys and timers. What is a model: the forwarder (model_forwarder.py), the disk that
takes stamps a moment later, and gossip, which tells each host of the others' addresses, keys and forwarders after a
delay and loses nothing.
Rule: what must never happen is checked where it would happen, and raises ``InvariantBroken``; here: a stamp that is not
greater than the last or not reserved.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from crypto.errors import RemoteError
from crypto.handshake import TYPE_INITIATION, Local, read_initiation
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.boundary import Address, ProgressRow
from meshnet.control.handshakes.peer_output import DropSession, InstallSession, Output, ReserveStamps, SendDatagram
from meshnet.control.handshakes.peers import Peers
from tests.sim.clock import Clock
from tests.sim.invariants import InvariantBroken
from tests.sim.model_forwarder import NOWHERE, ModelForwarder

WALL_NS = 1_700_000_000 * 10**9


class World:
    """Virtual time and the underlay between ``size`` hosts that know each other by gossip."""

    def __init__(self, seed: int, size: int = 2) -> None:
        self.rng = random.Random(seed)
        self.clock = Clock()
        self.clock.now = 1000.0
        self.loss = self.rng.choice([0.0, 0.1, 0.3])
        self.double = self.rng.choice([0.0, 0.3])
        self.delay_s = self.rng.choice([0.02, 0.4, 1.2])
        self.beginner: int | None = None
        """The number of the one host whose initiations come through, as with a firewall before the others."""
        self.keyring = Keyring(MeshSecret(0, self.rng.randbytes(32)))
        self.installed: set[bytes] = set()
        """Every sending key a forwarder was ever given."""
        self.sealed: dict[bytes, int] = {}
        """Sending key → the last counter sealed under it."""
        self.delivered: set[bytes] = set()
        self.hosts = [Host(self, number) for number in range(size)]
        self.at = {host.address: host for host in self.hosts}
        for host in self.hosts:
            host.begin()

    @property
    def now(self) -> float:
        return self.clock.now

    def clean(self, delay_s: float = 0.05) -> None:
        """From now on the link loses and doubles nothing."""
        self.loss, self.double, self.delay_s = 0.0, 0.0, delay_s

    def carry(self, target: Address, receive: Callable[[Host], None]) -> None:
        """A datagram crosses the link, or does not, or twice."""
        host = self.at.get(target)
        if host is None:
            return
        for _ in range(2 if self.rng.random() < self.double else 1):
            if self.rng.random() >= self.loss:
                self.clock.after(self.rng.uniform(0.001, self.delay_s), lambda: receive(host))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> bool:
        """Lets time pass until something holds, looked at ten times a second."""
        end = self.now + seconds
        while self.now < end and not until():
            self.clock.run(min(end, self.now + 0.1))
        return until()

    def matching(self, one: int = 0, two: int = 1) -> bool:
        """Whether two hosts seal under the two keys of one session."""
        here, there = self.hosts[one], self.hosts[two]
        ours, theirs = here.forwarder.current(there.identity), there.forwarder.current(here.identity)
        if ours is None or theirs is None:
            return False
        same = (ours.index, ours.remote_index) == (theirs.remote_index, theirs.index)
        return same and here.forwarder.keys[ours.index] == there.forwarder.keys[theirs.index][::-1]


@dataclass(frozen=True)
class Statement:
    """What gossip says of a host."""

    identity: bytes
    static: bytes
    addresses: tuple[Address, ...]
    boot: bytes
    tags: tuple[bytes, ...]


class Host:
    """A control side under test, a forwarder with the real one's key slots, a disk and a wall clock."""

    def __init__(self, world: World, number: int) -> None:
        self.world, self.number = world, number
        self.identity = bytes([number + 1]) * 32
        self.address: Address = (f"192.0.2.{number + 1}", 6799)
        self.local = Local(world.keyring.current.key[:16], Suite.AESGCM, world.keyring, self._static())
        self.clock_offset_ns = 0
        self.durable = b""
        self.last_stamp = b""
        self.heard: dict[bytes, Statement] = {}
        self.peers: Peers | None = None
        self.armed: float | None = None
        self.cookie_secret = world.rng.randbytes(32)
        self.forwarder = ModelForwarder(world, self)
        self.talking: dict[bytes, float] = {}

    def begin(self) -> None:
        """Both processes run from now on."""
        nowhere = (NOWHERE,) if self.world.rng.random() < 0.4 else ()
        self.addresses = (*nowhere, self.address)
        self.start_daemon()
        self.announce(delay_s=0.0)
        self.world.clock.after(self.world.rng.random(), self.forwarder.tick)

    # --- the control side ------------------------------------------------------------------------------------------

    def start_daemon(self) -> None:
        """meshnetd starts: it knows what is durable, what gossip says and what the forwarder holds."""
        self.peers = Peers(
            self.local,
            self.forwarder.boot,
            entropy=self.world.rng.randbytes,
            rng=self.world.rng,
            wall_ns=lambda: WALL_NS + int(self.world.now * 10**9) + self.clock_offset_ns,
            features=31,
            largest_record=64_000,
            reserved=self.durable,
        )
        self.peers.cookies(self.cookie_secret, b"")
        for said in self.heard.values():
            self._know(said)
        self.apply(self.peers.adopted(self.forwarder.rows(), self.world.now))

    def kill_daemon(self) -> None:
        """meshnetd is gone; the forwarder goes on."""
        self.peers = None

    def announce(self, delay_s: float | None = None) -> None:
        """Gossip tells every other host what this one is."""
        tags = self.local.keyring.tags()
        said = Statement(self.identity, self.local.static.public, self.addresses, self.forwarder.boot, tags)
        for other in self.world.hosts:
            if other is not self:
                delay = self.world.rng.uniform(0.01, 0.5) if delay_s is None else delay_s
                self.world.clock.after(delay, partial(other.hear, said))

    def hear(self, said: Statement) -> None:
        """A statement arrived."""
        before = self.heard.get(said.identity)
        self.heard[said.identity] = said
        if self.peers is not None:
            self._know(said)
            if before is not None and before.boot != said.boot:
                self.apply(self.peers.rebooted(said.identity, said.boot, self.world.now))

    def rekey(self, local: Local) -> None:
        """Our keys are others now, and gossip says so."""
        self.local = local
        if self.peers is not None:
            self.peers.rekeyed(local)
        self.announce()

    def rotate_static(self) -> None:
        """Another static key under the same identity; the one before is still accepted."""
        self.rekey(replace(self.local, static=self._static(), old_static=self.local.static))

    def apply(self, outputs: Sequence[Output]) -> None:
        """Does what the handshakes ask for, in order."""
        for output in outputs:
            match output:
                case SendDatagram(address, data):
                    self._check_stamp(address, data)
                    self._send(address, data)
                case InstallSession():
                    self.forwarder.install(output)
                case DropSession(index):
                    self.forwarder.end(index)
                case ReserveStamps(until):
                    write = partial(self._commit, self.peers, until)
                    self.world.clock.after(self.world.rng.uniform(0.001, 0.05), write)
        self._arm()

    def _send(self, address: Address, data: bytes) -> None:
        if data[0] != TYPE_INITIATION or self.world.beginner in (None, self.number):
            self.world.carry(address, lambda host: host.forwarder.admit(self.address, data))

    def _know(self, said: Statement) -> None:
        if self.peers is not None:
            self.apply(self.peers.know(said.identity, said.static, said.addresses, said.tags, self.world.now))

    def _commit(self, life: Peers | None, until: bytes) -> None:
        if life is not None and life is self.peers:
            self.durable = until
            self.apply(self.peers.stamps_reserved(until, self.world.now))

    def _arm(self) -> None:
        due = None if self.peers is None else self.peers.next_timer()
        if due is not None and (self.armed is None or due < self.armed or self.armed < self.world.now):
            self.armed = due
            self.world.clock.at(due, self._timer)

    def _timer(self) -> None:
        self.armed = None
        if self.peers is not None:
            self.apply(self.peers.handle_timer(self.world.now))

    def _check_stamp(self, address: Address, data: bytes) -> None:
        target = self.world.at.get(address)
        if data[0] != TYPE_INITIATION or target is None:
            return
        try:
            stamp = read_initiation(target.local, data).offer.stamp
        except RemoteError:
            return  # under a key its receiver does not hold any more
        if not self.last_stamp < stamp <= self.durable:
            raise InvariantBroken("a stamp that is not new, or not reserved")
        self.last_stamp = stamp

    def _static(self) -> StaticKey:
        return StaticKey.generate(self.world.rng.randbytes)

    # --- the forwarder ---------------------------------------------------------------------------------------------

    def restart_forwarder(self) -> None:
        """The forwarder died with its keys; another runs."""
        self.forwarder.restart()
        if self.peers is not None:
            self.apply(self.peers.restarted(self.forwarder.boot, self.world.now))
        self.announce()

    def handshake(self, source: Address, data: bytes) -> None:
        """A handshake datagram was admitted."""
        if self.peers is not None:
            self.apply(self.peers.receive(source, data, self.world.now))

    def wanted(self, identity: bytes) -> None:
        """A frame waits for a session."""
        if self.peers is not None:
            self.apply(self.peers.wanted(identity, self.world.now))

    def ended(self, index: int) -> None:
        """The forwarder ended a session whose key expired."""
        if self.peers is not None:
            self.apply(self.peers.session_lost(index))

    def progressed(self, rows: list[ProgressRow]) -> None:
        """Once a second: what sessions did."""
        if self.peers is not None:
            self.apply(self.peers.progressed(rows, self.world.now))

    def talk(self, other: Host, every: float) -> None:
        """Sends frames from now on, about one in ``every`` seconds; 0 ends it."""
        running = self.talking.get(other.identity, 0.0) > 0
        self.talking[other.identity] = every
        if every and not running:
            self.world.clock.after(self.world.rng.uniform(0, 0.2), lambda: self._talk_on(other))

    def _talk_on(self, other: Host) -> None:
        every = self.talking[other.identity]
        if every:
            self.forwarder.send_frame(other.identity)
            self.world.clock.after(every * self.world.rng.uniform(0.5, 1.5), lambda: self._talk_on(other))
