"""Cores joined by instant links, for scenarios small enough to be written down."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from gossip.events import Event, Output
from gossip.node import Node
from gossip.state.address_bodies import NetworkBody
from gossip.state.bodies import PeerBody
from gossip.state.statements import Slot, Statement, Version, author, parse
from tests.sim.people import MESH, admit, identity_of, peer_body, sign_as, verify

DEFAULT = NetworkBody(1, "default", ["10.32.0.0/12"], 1500)
E = TypeVar("E")


class Core:
    """A node with its store, and all events it ever told."""

    def __init__(
        self, name: str, stored: dict[tuple[str, bytes], bytes] | None = None, *, rolled_back: bool = False
    ) -> None:
        self.name = name
        self.identity = identity_of(name)
        self.store = dict(stored or {})
        self.events: list[Event] = []
        self.sent: list[tuple[int, bytes]] = []
        self.node = Node(
            mesh=MESH,
            identity=self.identity,
            sign=sign_as(self.identity),
            verify=verify,
            admit=admit,
            rng=Random(name),
            stored=[(space, key, value) for (space, key), value in self.store.items()],
            rolled_back=rolled_back,
        )

    def take(self, output: Output) -> None:
        """Apply an output."""
        for put in output.persist:
            if put.value is None:
                self.store.pop((put.space, put.key), None)
            else:
                self.store[put.space, put.key] = put.value
        self.sent += output.send
        self.events += output.tell

    def begin(self, now: float = 0.0, *, body: PeerBody | None = None) -> Core:
        """Start the node."""
        self.take(self.node.start(body or peer_body(self.name, f"{self.name}:6799"), now))
        return self

    def told(self, kind: type[E]) -> list[E]:
        """All events of a kind told so far."""
        return [event for event in self.events if isinstance(event, kind)]

    def again(self) -> Core:
        """The node as it comes back from its store."""
        return Core(self.name, self.store)

    def rolled_back(self, stored: dict[tuple[str, bytes], bytes]) -> Core:
        """The node as it comes back from an older copy of its store, and knows that it is one."""
        return Core(self.name, stored, rolled_back=True)


def founder() -> Core:
    """The founder, started, with the default network."""
    core = Core("h0").begin()
    core.take(core.node.found_network(DEFAULT, 0.0))
    return core


class Wires:
    """Links between cores that deliver at once; `pump` until nothing is under way."""

    def __init__(self) -> None:
        self.far: dict[tuple[str, int], tuple[Core, int]] = {}
        self.cores: dict[str, Core] = {}
        self._next = 0

    def link(self, one: Core, two: Core, now: float = 0.0) -> tuple[int, int]:
        """`one` opens a link to `two`; returns the ids at both."""
        here, there = self._next, self._next + 1
        self._next += 2
        self.cores.update({one.name: one, two.name: two})
        self.far[one.name, here] = (two, there)
        self.far[two.name, there] = (one, here)
        two.take(two.node.link_up(there, one.identity, False, now))
        one.take(one.node.link_up(here, two.identity, True, now))
        self.pump(now)
        return here, there

    def pump(self, now: float) -> None:
        """Deliver everything."""
        for _ in range(10_000):
            ready = [core for core in self.cores.values() if core.sent]
            if not ready:
                return
            for core in ready:
                sent, core.sent = core.sent, []
                for link, message in sent:
                    if (core.name, link) in self.far:
                        other, there = self.far[core.name, link]
                        other.take(other.node.receive(there, message, now))
        raise AssertionError("the cores never come to rest")

    def tick(self, until: float, since: float = 0.0, step: float = 0.25) -> None:
        """Let time pass: timers that are due, and what they send."""
        now = since
        while now < until:
            now += step
            for core in self.cores.values():
                timer = core.node.next_timer()
                if timer is not None and timer[0] <= now:
                    core.take(core.node.handle_timer(now))
            self.pump(now)


def member(name: str, via: Core) -> Core:
    """A started core that joined through `via`, with a range of the default network."""
    core = Core(name).begin()
    via.take(via.node.donate(1, core.identity, 0.0))
    core.take(core.node.absorb(via.node.export(), 0.0))
    return core


def say(name: str, slot: Slot, version: Version, body: bytes | None, signer: str | None = None) -> Statement:
    """A statement of `name`, signed by `signer` or itself."""
    return author(sign_as(identity_of(signer or name)), MESH, identity_of(name), slot, version, body)


def wire_of(core: Core, owner: str, kind: str) -> list[bytes]:
    """The wire forms of an owner's statements of a kind, as `core` exports them."""
    statements: Sequence[Statement] = [parse(wire) for wire in core.node.export()]
    return [s.wire() for s in statements if s.owner == identity_of(owner) and s.kind == kind]
