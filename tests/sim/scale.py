"""A mesh of many real cores: virtual time, streams with delay, and counters of what every peer sends and computes.

Purpose: what gossip costs and how fast it is at hundreds of peers; `bench/cases/gossip.py` and `test_scale.py` drive
it.
Rule: every peer is a `gossip.node.Node` driven as the daemon drives it. Three things are cheaper than life, none of
them the node's own work: signatures are the stand-ins of `tests.sim.people`, equal statements and bodies are one
object for all peers, packed by none (`tests.sim.sharing`), and nothing is stored. What is durable takes `COMMIT_S`
before anything of its step leaves, a dial takes the handshake's round trips, and a host accepts links no faster than
the daemon does. One seed, one run.
Flow: `World(seed, size)` -> `boot` -> `run(until)` -> queries.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from time import process_time

from gossip.events import SPACE_STATEMENT, CloseLink, Dial, Output, Reachable
from gossip.node import Node
from gossip.people.authority import Admitted
from gossip.state.bodies import PeerBody
from gossip.state.replica import row_key
from gossip.state.statements import parse
from tests.sim.people import FOUNDER, MESH, admit, chain_of, identity_of, sign_as, verify

MIN_DELAY_S, MAX_DELAY_S = 0.001, 0.04
COMMIT_S = 0.004  # one durable commit, as bench/results shows it
HANDSHAKE_TRIPS = 3  # TCP's, and two of Noise with the credential and its confirmation
PADDING = b"...."
CERTIFICATE_B = 190  # what a real certificate takes
RECORD_B = 19  # a record's length, kind and tag around a message
PACKET_B = 52  # TCP and IP headers with timestamps
ACCEPTS_PER_S, ACCEPTS_BURST = 20.0, 40.0


def is_beat(message: bytes) -> bool:
    """Whether it is a heartbeat: what follows the array's head is the message's number."""
    return message[1:2] == b"\0"


def admit_padded(identity: bytes, chain: Sequence[bytes]) -> Admitted:
    """`admit` of certificates that were padded to the size of real ones."""
    return admit(identity, [each.partition(PADDING)[0] for each in chain])


def body_of(index: int, life: int) -> PeerBody:
    """The statement of peer `index`; 0 is the founder."""
    named = (f"h{index}", FOUNDER)
    chain = [_like_real(each, name) for each, name in zip(chain_of(named[0], (FOUNDER, index)), named, strict=False)]
    address = f"10.{index >> 16}.{index >> 8 & 255}.{index & 255}:6799"
    return PeerBody(f"h{index}", [address], bytes(32), chain, life.to_bytes(8, "big"), "0.1.0")


def _like_real(certificate: bytes, name: str) -> bytes:
    """As long as a real one, and naming the mesh, the subject and the issuer as msgpack does."""
    named = b"\xc4\x10" + MESH + b"".join(b"\xc4\x20" + identity_of(each) for each in (name, FOUNDER))
    return (certificate + PADDING + named).ljust(CERTIFICATE_B, b".")


def core(index: int, rng: Random, rows: Iterable[tuple[str, bytes, bytes]] = ()) -> Node:
    """The core of peer `index`, with these rows in its store."""
    identity = identity_of(f"h{index}")
    return Node(
        mesh=MESH,
        identity=identity,
        sign=sign_as(identity),
        verify=verify,
        admit=admit_padded,
        rng=rng,
        stored=rows,
    )


@dataclass(slots=True)
class Stream:
    """Two ends (host, link id); `arrives` keeps each direction in order."""

    hosts: tuple[int, int]
    links: tuple[int, int]
    arrives: list[float] = field(default_factory=lambda: [0.0, 0.0])
    broken: bool = False


@dataclass(slots=True)
class Traffic:
    """What one peer sent and received in messages, and the processor time of its steps."""

    sent_b: int = 0
    sent: int = 0
    received_b: int = 0
    received: int = 0
    cpu_s: float = 0.0

    def wire_b(self) -> int:
        """Bytes sent and received with what records, TCP and IP add."""
        return self.sent_b + self.received_b + (self.sent + self.received) * (RECORD_B + PACKET_B)


class Host:
    """One peer: its core and its place in the world."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.identity = identity_of(f"h{index}")
        self.life = 0
        self.up = False
        self.stalled_until = 0.0
        self.timer_at = float("inf")
        self.streams: dict[int, Stream] = {}
        self.links = 0
        self.tokens, self.tokens_at = ACCEPTS_BURST, 0.0
        self.traffic = Traffic()
        self.node: Node


class World:
    """Clock, streams and hosts. `told` hears (now, host, event) of every Reachable event."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = Random(seed)
        self.now = 0.0
        self.hosts = [Host(index) for index in range(size)]
        self.by_identity = {host.identity: host for host in self.hosts}
        self.side: dict[int, int] = {}
        self.metered = True
        """Whether processor time is counted; asking for it takes a third of a run."""
        self.told: Callable[[float, Host, Reachable], None] = lambda now, host, event: None
        self.stepped: Callable[[float, Host], None] = lambda now, host: None
        self._heap: list[tuple[float, int, Callable[..., None], tuple[object, ...]]] = []
        self._asked = 0

    # --- time -----------------------------------------------------------------------------------------------------

    def at(self, time: float, call: Callable[..., None], *arguments: object) -> None:
        """Call later."""
        self._asked += 1
        heapq.heappush(self._heap, (max(time, self.now), self._asked, call, arguments))

    def run(self, until: float, done: Callable[[], bool] | None = None, step_s: float = 0.1) -> bool:
        """Go on until that time, or until `done`, asked every `step_s`, holds; whether it held."""
        while self.now < until:
            stop = min(until, self.now + step_s) if done is not None else until
            heap = self._heap
            while heap and heap[0][0] <= stop:
                self.now, _, call, arguments = heapq.heappop(heap)
                call(*arguments)
            self.now = stop
            if done is not None and done():
                return True
        return False

    # --- hosts ----------------------------------------------------------------------------------------------------

    def boot(self, index: int, wires: Sequence[bytes] = ()) -> None:
        """Start a host that has these statements in its store."""
        host = self.hosts[index]
        host.life += 1
        host.up = True
        host.timer_at = float("inf")
        rows = []
        for wire in wires:
            statement = parse(wire)
            rows.append((SPACE_STATEMENT, row_key(statement.owner, statement.slot), wire))
        host.node = core(index, Random(self.rng.random()), rows)
        self._step(host, lambda: host.node.start(body_of(index, host.life), self.now))

    def settle(self, seconds: float = 10.0) -> None:
        """Start all hosts as a mesh that has run for long: equal views, and links as they come to be; not metered."""
        self.metered = False
        for host in self.hosts:
            self.boot(host.index)
        wires = [wire for host in self.hosts for wire in host.node.export()]
        for host in self.hosts:
            host.node.absorb(wires, self.now)
        order = sorted(self.hosts, key=lambda host: host.identity)
        pairs: dict[tuple[int, int], None] = {}
        for at, host in enumerate(order):
            near = [order[(at + step) % len(order)] for step in (1, 2)]
            for far in [*near, self.rng.choice(self.hosts)]:
                if far is not host:
                    pairs[min(host.index, far.index), max(host.index, far.index)] = None
        for one, two in pairs:
            self._connect(self.hosts[one], 1, self.hosts[two])
        self.run(self.now + seconds)
        self.metered = True

    def act(self, index: int, act: Callable[[Node, float], Output]) -> None:
        """Let a host do something of its own."""
        host = self.hosts[index]
        self._step(host, lambda: act(host.node, self.now))

    def kill(self, index: int) -> None:
        """The host vanishes without a word."""
        host = self.hosts[index]
        host.up = False
        for stream in host.streams.values():
            stream.broken = True
        host.streams = {}

    def stop(self, index: int) -> None:
        """The process ends and its connections are closed."""
        host = self.hosts[index]
        host.up = False
        for link in list(host.streams):
            self._close(host, link)

    def stall(self, index: int, seconds: float) -> None:
        """The process stands still; what arrives waits."""
        self.hosts[index].stalled_until = self.now + seconds

    def partition(self, side: dict[int, int]) -> None:
        """Hosts of different sides hear nothing of each other, and are not told; {} heals."""
        self.side = dict(side)
        for host in self.hosts:
            for stream in host.streams.values():
                if not self._joined(*stream.hosts):
                    stream.broken = True

    def alive(self) -> list[Host]:
        """The hosts that are up."""
        return [host for host in self.hosts if host.up]

    # --- queries --------------------------------------------------------------------------------------------------

    def equal(self) -> bool:
        """Whether all that are up hold the same statements."""
        views = {host.node._replica.spread.digest() for host in self.alive()}
        return len(views) == 1

    def whole(self) -> bool:
        """Whether all that are up hold the same statements and reach each other."""
        alive = self.alive()
        ends = [host for host in alive if len(host.streams) > 0 or len(alive) == 1]
        return len(ends) == len(alive) and self.equal() and all(self._reaches(host, alive) for host in alive)

    def _reaches(self, host: Host, alive: list[Host]) -> bool:
        reachable = host.node._roster.reachable
        return all(reachable(other.identity) for other in alive)

    def traffic(self) -> list[Traffic]:
        """Every host's counters."""
        return [host.traffic for host in self.hosts]

    def reset_traffic(self) -> None:
        """Count from zero."""
        for host in self.hosts:
            host.traffic = Traffic()

    def degrees(self) -> list[int]:
        """How many links each host that is up has."""
        return [len(host.node.links()) for host in self.alive()]

    # --- inside ---------------------------------------------------------------------------------------------------

    def _joined(self, one: int, two: int) -> bool:
        return self.side.get(one, 0) == self.side.get(two, 0)

    def _delay(self) -> float:
        return self.rng.uniform(MIN_DELAY_S, MAX_DELAY_S)

    def _step(self, host: Host, step: Callable[[], Output]) -> None:
        began = process_time() if self.metered else 0.0
        output = step()
        timer = host.node.next_timer()
        if self.metered:
            host.traffic.cpu_s += process_time() - began
        commit = COMMIT_S if output.persist else 0.0
        for link, message in output.send:
            self._send(host, link, message, commit)
        for event in output.tell:
            if isinstance(event, CloseLink):
                self._close(host, event.link)
            elif isinstance(event, Dial):
                far = self.by_identity[event.peer]
                delay = HANDSHAKE_TRIPS * 2 * self._delay() + commit
                self.at(self.now + delay, self._connect, host, host.life, far)
            elif isinstance(event, Reachable):
                self.told(self.now, host, event)
        if timer is not None and timer[0] < host.timer_at:
            host.timer_at = max(timer[0], self.now + 1e-6)
            self.at(host.timer_at, self._ring, host, host.life, host.timer_at)
        self.stepped(self.now, host)

    def _ring(self, host: Host, life: int, at: float) -> None:
        if not host.up or host.life != life or host.timer_at != at:
            return
        if self.now < host.stalled_until:
            host.timer_at = host.stalled_until
            self.at(host.timer_at, self._ring, host, life, host.timer_at)
            return
        host.timer_at = float("inf")
        self._step(host, lambda: host.node.handle_timer(self.now))

    def _connect(self, host: Host, life: int, far: Host) -> None:
        alive = host.up and host.life == life and far.up and self._joined(host.index, far.index)
        if not alive or max(host.stalled_until, far.stalled_until) > self.now or not self._accepts(far):
            return
        host.links += 1
        far.links += 1
        stream = Stream((host.index, far.index), (host.links, far.links))
        host.streams[host.links] = far.streams[far.links] = stream
        here, there = stream.links
        self._step(far, lambda: far.node.link_up(there, host.identity, False, self.now))
        self._step(host, lambda: host.node.link_up(here, far.identity, True, self.now))

    def _accepts(self, host: Host) -> bool:
        host.tokens = min(ACCEPTS_BURST, host.tokens + (self.now - host.tokens_at) * ACCEPTS_PER_S)
        host.tokens_at = self.now
        if host.tokens < 1:
            return False
        host.tokens -= 1
        return True

    def _send(self, host: Host, link: int, message: bytes, commit: float) -> None:
        stream = host.streams.get(link)
        if stream is None:
            return
        host.traffic.sent += 1
        host.traffic.sent_b += len(message)
        if stream.broken:
            return
        side = 1 if stream.hosts[0] == host.index and stream.links[0] == link else 0
        at = stream.arrives[side] = max(self.now + commit + self._delay(), stream.arrives[side])
        self.at(at, self._deliver, stream, side, message)

    def _deliver(self, stream: Stream, side: int, message: bytes | None) -> None:
        host = self.hosts[stream.hosts[side]]
        link = stream.links[side]
        if host.streams.get(link) is not stream or (stream.broken and message is not None):
            return
        if self.now < host.stalled_until:
            self.at(host.stalled_until, self._deliver, stream, side, message)
            return
        if message is None:
            del host.streams[link]
            self._step(host, lambda: host.node.link_down(link, self.now))
            return
        host.traffic.received += 1
        host.traffic.received_b += len(message)
        if is_beat(message) and not self.metered:
            # Most of a long rest: nothing follows from it, and no timer comes earlier for it.
            host.node.receive(link, message, self.now)
            return
        self._step(host, lambda: host.node.receive(link, message, self.now))

    def _close(self, host: Host, link: int) -> None:
        stream = host.streams.pop(link, None)
        if stream is None:
            return
        side = 1 if stream.hosts[0] == host.index and stream.links[0] == link else 0
        if not stream.broken:
            at = stream.arrives[side] = max(self.now + self._delay(), stream.arrives[side])
            self.at(at, self._deliver, stream, side, None)
