"""A mesh of `gossip.node.Node`s with stores, a network, and faults drawn from one seed.

Rule: everything random comes from the seed; what a host does with its core's output and where a crash may strike it is
`tests.sim.host`.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gossip.errors import Refusal
from gossip.events import (
    SPACE_STATEMENT,
    Output,
)
from gossip.state.address_bodies import GRANT, REQUEST, NetworkBody
from gossip.state.address_bodies import NETWORK as NETWORK_KIND
from gossip.state.statements import parse
from tests.sim.clock import Clock
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.unheard import Unheard

JOIN_RETRY_S = 1.0
GIVING_FACTOR = 100  # a step that gives addresses away is so much likelier to be struck
CLAIMING_FACTOR = 20  # and so is one that asks, grants or founds
NAMES = ("web", "db", "cache", "queue")


class World:
    """Hosts, clock, network and the dice of one seed."""

    default = NetworkBody(1, "default", ["10.0.0.0/24"], 1500)
    """The mesh's default network."""
    ways: Sequence[str] = ("before", "after", "done")
    """Where a crash strikes a step; "amid": between its writes and its last message, after any number of them."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = Random(seed)
        self.clock = Clock()
        self.network = Network(self.clock, Random(self.rng.random()))
        self.crash_chance = 0.0
        self.persists = 0
        self.strike_at: tuple[int, str | int] | None = None
        """Strike exactly that step of those that write, counted from 1, and in which way."""
        self.struck: int | None = None
        """How many messages that step had."""
        self.removed: dict[int, None] = {}
        self.unheard = Unheard()
        self.chains: dict[str, Sequence[bytes]] = {}
        """The certificates of hosts that the founder did not let in without a role."""
        self._giving = self.harsh = False
        self._endpoints = 0
        self.hosts = [self.make_host(index) for index in range(size)]
        self._by_identity = {host.identity: host for host in self.hosts}

    def make_host(self, index: int) -> Host:
        """A host that has not begun to live."""
        return Host(self, index)

    def started(self, host: Host) -> None:
        """The host began a life, and is linked with nobody yet."""

    def strike(self, host: Host, output: Output) -> str | int | None:
        """Whether a crash strikes this host's step: "before" or "after" its writes, when it is "done", or after so
        many of its messages."""
        self.persists += bool(output.persist)
        if self.strike_at is not None:
            if not output.persist or self.persists != self.strike_at[0]:
                return None
            self.struck = len(output.send)
            self.revive(host)
            return self.strike_at[1]
        consequential = bool(output.persist or output.send or self._giving)
        if not consequential or host.left or self.crash_chance == 0.0:
            return None
        factor = CLAIMING_FACTOR if _claims(output) else 1
        if self.rng.random() >= self.crash_chance * (GIVING_FACTOR if self._giving else factor):
            return None
        self.revive(host)
        way = self.rng.choice(self.ways if output.send else [way for way in self.ways if way != "amid"])
        return self.rng.randrange(len(output.send)) if way == "amid" else way

    def revive(self, host: Host) -> None:
        """The host starts again some time later, if it is down then."""
        self.clock.after(self.rng.uniform(0.1, 6.0), host.begin)

    def dial(self, host: Host, peer: bytes) -> None:
        """Carry out a Dial."""
        other, life = self._by_identity[peer], host.life

        def connect() -> None:
            alive = host.up and host.life == life and other.up
            if not alive or not self.network.joined(host.index, other.index):
                return
            here, there = host.end_of_link(), other.end_of_link()
            self.network.open(here, there)
            other.apply(other.node.link_up(there.link, host.identity, False, other.now))
            if host.up:
                host.apply(host.node.link_up(here.link, other.identity, True, host.now))

        self.clock.after(2 * self.network.delay(), connect)

    def join(self, host: Host) -> None:
        """Let a host join through a member that answers, and go on trying until its reply is durable here."""
        life = host.life
        members = [
            m for m in self.hosts if m.up and m.joined and not m.left and self.network.joined(m.index, host.index)
        ]

        def reply(statements: list[bytes]) -> None:
            if host.up and host.life == life and host.apply(host.node.absorb(statements, host.now)):
                host.joined = True

        if members:
            issuer = self.rng.choice(members)
            self._giving = True
            try:
                done = issuer.apply(issuer.node.donate(1, host.identity, issuer.now))
            except Refusal:
                done = issuer.up and bool(issuer.node.networks())
            self._giving = False
            if done:
                statements = issuer.node.export()
                self.clock.after(self.network.delay(), lambda: reply(statements))

        def again() -> None:
            if host.up and host.life == life and not host.joined:
                self.join(host)

        self.clock.after(JOIN_RETRY_S, again)

    def acts(self) -> dict[str, int]:
        """What an operator or fate may do, and how often."""
        acts = {"attach": 10, "detach": 4, "create": 4, "remove": 1, "crash": 1, "cut": 2, "partition": 1, "heal": 2}
        return acts | ({"mute": 2, "leap": 1} if self.harsh else {})

    def act(self) -> None:
        """One random act of an operator or of fate."""
        host = self.rng.choice(self.hosts)
        acts = self.acts()
        self.do(self.rng.choices(list(acts), list(acts.values()))[0], host)

    def do(self, act: str, host: Host) -> None:
        """Carry one act out, where it can be."""
        serving = host.up and not host.left and bool(host.node.networks())
        if act == "attach" and serving:
            self._endpoints += 1
            number = self.rng.choice([body.number for body in host.node.networks()])
            host.attach(b"endpoint-%d" % self._endpoints, number)
        elif act == "detach" and host.up and host.attached:
            host.detach(self.rng.choice(sorted(host.attached)))
        elif act == "create":
            self.create(self.rng.choice(NAMES), self.rng.randint(1, 3))
        elif act == "remove" and serving:
            host.remove(self.rng.choice([body.number for body in host.node.networks()]))
        elif act == "crash" and host.up and not host.left:
            host.crash(silently=self.rng.random() < 0.5)
            self.revive(host)
        elif act == "leap" and host.up:
            host.ahead += self.rng.choice((5.0, 60.0, 86_400.0))
            host.arm()
        else:
            self._disturb(act)

    def _disturb(self, act: str) -> None:
        if act == "cut":
            self.network.cut()
        elif act == "partition":
            self.network.partition({each.index: self.rng.randrange(2) for each in self.hosts})
        elif act == "mute":
            self.network.mute()
        elif act == "heal":
            self.network.partition({})

    def create(self, name: str, count: int) -> None:
        """Found a network on so many hosts at the same time, some of them with a pool of their own."""
        able = [host for host in self.hosts if host.up and not host.left and host.node.peers()]
        for host in self.rng.sample(able, min(count, len(able))):
            pools = [f"10.{host.index + 1}.0.0/26"] if self.rng.random() < 0.3 else []
            host.create(name, pools)


def _claims(output: Output) -> bool:
    kinds = [parse(p.value).kind for p in output.persist if p.space == SPACE_STATEMENT and p.value is not None]
    return any(kind in (GRANT, NETWORK_KIND, REQUEST) for kind in kinds)
