"""A mesh of `gossip.node.Node`s with stores, a network, and faults drawn from one seed.

Rule: the host side does what the daemon's runner does: writes of a step first and all at once, then messages, then
events. A crash may strike before the writes of a step (they and all after are lost), right after them (nothing was
sent), or when all of the step is done. A host restarts from its store alone. Everything random comes from the seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from gossip import limits
from gossip.bodies import GRANT, REQUEST, EndpointBody, NetworkBody
from gossip.bodies import NETWORK as NETWORK_KIND
from gossip.errors import Refusal
from gossip.events import (
    SPACE_STATEMENT,
    Cloned,
    CloseLink,
    Dial,
    EndpointGone,
    EndpointSet,
    Event,
    Lease,
    LeaseSettled,
    NetworkGone,
    NetworkSettled,
    Output,
    PeerRevoked,
    PeerSeen,
    Readmitted,
)
from gossip.node import Node
from gossip.statements import parse
from tests.sim.clock import Clock
from tests.sim.network import End, Network
from tests.sim.people import MESH, admit, identity_of, mac_of, peer_body, sign_as, verify

NETWORK = NetworkBody(1, "default", ["10.0.0.0/24"], 1500)
JOIN_RETRY_S = 1.0
GIVING_FACTOR = 100  # a step that gives addresses away is so much likelier to be struck
CLAIMING_FACTOR = 20  # and so is one that asks, grants or founds
NAMES = ("web", "db", "cache", "queue")


class Host:
    """One host: a store that survives, and a node that does not."""

    def __init__(self, world: World, index: int) -> None:
        self.world = world
        self.index = index
        self.name = f"h{index}"
        self.identity = identity_of(self.name)
        self.store: dict[tuple[str, bytes], bytes] = {}
        self.life = 0
        self.up = False
        self.joined = index == 0
        self.left = False
        self.attached: dict[bytes, Lease] = {}
        self.answered: list[NetworkBody] = []
        self.refused: list[Refusal] = []
        self.waiting: dict[object, float] = {}
        self.told: dict[tuple[bytes, int, bytes], EndpointBody] = {}
        self.barred: dict[bytes, None] = {}
        """Who counts no longer, as this host was told."""
        self.forgot: list[bytes] = []
        """Whom it was told to turn away, and knew nothing of after a restart."""
        self.clones_told = 0
        self._untold = False
        self._timer_at = float("inf")
        self._links, self.ahead = 0, 0.0
        self.node = self.load()

    @property
    def now(self) -> float:
        """This host's own clock, which goes forward at times while the host sleeps."""
        return self.world.clock.now + self.ahead

    def load(self) -> Node:
        """A node as it would come back from the store."""
        rows = [(space, key, value) for (space, key), value in sorted(self.store.items())]
        rng = Random(self.world.rng.random())
        return Node(
            mesh=MESH,
            identity=self.identity,
            sign=sign_as(self.identity),
            verify=verify,
            admit=admit,
            rng=rng,
            stored=rows,
        )

    def start(self) -> None:
        """Begin a life."""
        self.life += 1
        self.up = True
        self.told = {}
        self.waiting = {}
        self._timer_at = float("inf")
        self.node = self.load()
        self.forgot += [] if self._untold else [peer for peer in self.barred if not self.node.barred(peer)]
        self.barred, self._untold = {}, False
        chain = self.world.chains.get(self.name, ())
        body = peer_body(self.name, f"{self.name}:6799", boot=self.life, chain=chain)
        if not self.apply(self.node.start(body, self.now)):
            return
        if self.index == 0 and not self.node.networks():
            self.apply(self.node.found_network(NETWORK, self.now))
        elif not self.joined:
            self.world.join(self)

    def begin(self) -> None:
        """Begin a life unless one is under way, or the last was ended for good."""
        if not self.up and not self.left:
            self.start()

    def crash(self, silently: bool = True) -> None:
        """End this life at once."""
        self.up = False
        for host, link in [key for key in self.world.network.streams if key[0] == self.index]:
            self.world.network.close(host, link, silently)

    def apply(self, output: Output) -> bool:
        """Writes, then messages, then events; False when a crash struck before they were all done."""
        if not self.up:
            return False
        strike = self.world.strike(self, output)
        if strike == "before":
            self.crash()
            return False
        for put in output.persist:
            if put.value is None:
                self.store.pop((put.space, put.key), None)
            else:
                self.store[put.space, put.key] = put.value
        if strike == "after":
            self._untold = True
            self.crash()
            return False
        for link, message in output.send:
            self.world.network.send(self.index, link, message)
        for event in output.tell:
            self._hear(event)
        self.arm()
        if strike == "done":
            self.crash()
        return True

    def end_of_link(self) -> End:
        """A fresh link id with its callbacks, good for this life alone."""
        self._links += 1
        life, link, world = self.life, self._links, self.world

        def receive(message: bytes) -> None:
            if self.up and self.life == life:
                self.apply(self.node.receive(link, message, self.now))

        def down() -> None:
            world.network.streams.pop((self.index, link), None)
            if self.up and self.life == life:
                self.apply(self.node.link_down(link, self.now))

        return End(self.index, life, link, receive, down)

    def _hear(self, event: Event) -> None:
        if isinstance(event, CloseLink):
            self.world.network.close(self.index, event.link)
        elif isinstance(event, Dial):
            self.world.dial(self, event.peer)
        elif isinstance(event, EndpointSet):
            self.told[event.owner, event.body.network, event.body.mac] = event.body
        elif isinstance(event, EndpointGone):
            self.told.pop((event.owner, event.network, event.mac), None)
        elif isinstance(event, PeerRevoked):
            self.barred[event.peer] = None
        elif isinstance(event, PeerSeen):
            self.barred.pop(event.peer, None)
        elif isinstance(event, Readmitted):
            self.barred.pop(self.identity)
        elif isinstance(event, Cloned):
            self.clones_told += 1
        elif isinstance(event, NetworkSettled):
            self.waiting.pop(event.name, None)
            self._founded(event.answer)
        elif isinstance(event, LeaseSettled):
            self.waiting.pop((event.network, event.endpoint_id), None)
            if isinstance(event.answer, Lease):
                lease, life = event.answer, self.life
                self.world.clock.after(0.0, lambda: self._announce(event.endpoint_id, lease, life))
        elif isinstance(event, NetworkGone):
            for endpoint, lease in list(self.attached.items()):
                if lease.network == event.body.number:
                    del self.attached[endpoint]

    def create(self, name: str, pools: Sequence[str]) -> None:
        """Found a network."""
        if self.node.barred(self.identity):
            return
        output, answer = self.node.create_network(name, pools, None, self.now)
        if answer is None:
            self.waiting[name] = self.world.clock.now + limits.CLAIM_S
        if self.apply(output):
            self._founded(answer)

    def remove(self, number: int) -> None:
        """Remove a network, if it may be."""
        try:
            output = self.node.remove_network(number, self.now)
        except Refusal:
            return
        self.world.removed[number] = None
        self.apply(output)

    def leave(self) -> None:
        """Leave for good; a crash on the way leaves it half done, and the host a member after its return."""
        if self.apply(self.node.leave(self.now)):
            self.left = True
            self.attached = {}

    def _founded(self, answer: NetworkBody | Refusal | None) -> None:
        if isinstance(answer, NetworkBody):
            self.answered.append(answer)
        elif isinstance(answer, Refusal):
            self.refused.append(answer)

    def attach(self, endpoint: bytes, network: int = 1) -> None:
        """Lease an address and announce the endpoint, as two steps or, when the lease must wait, later."""
        if self.node.barred(self.identity):
            return
        output, answer = self.node.allocate(network, endpoint, self.now)
        if answer is None:
            self.waiting.setdefault((network, endpoint), self.world.clock.now + limits.CLAIM_S)
        if self.apply(output) and isinstance(answer, Lease):
            self._announce(endpoint, answer, self.life)

    def _announce(self, endpoint: bytes, lease: Lease, life: int) -> None:
        if not self.up or self.life != life or self.left:
            return
        self.attached[endpoint] = lease
        body = EndpointBody(lease.network, mac_of(endpoint), [(lease.address, lease.number)], endpoint.hex())
        try:
            self.apply(self.node.set_endpoint(body, self.now))
        except Refusal as refusal:
            if refusal.code not in ("unknown-network", "revoked"):
                raise
            del self.attached[endpoint]

    def detach(self, endpoint: bytes) -> None:
        """Withdraw the endpoint and end its lease, as two steps."""
        network = self.attached[endpoint].network
        if not self.apply(self.node.drop_endpoint(network, mac_of(endpoint), self.now)):
            return
        if self.apply(self.node.release(network, endpoint, self.now)):
            del self.attached[endpoint]

    def arm(self) -> None:
        """Set the timer that the node wants."""
        timer = self.node.next_timer()
        if timer is None or timer[0] - self.ahead >= self._timer_at:
            return
        at, life = max(timer[0] - self.ahead, self.world.clock.now + 1e-6), self.life
        self._timer_at = at

        def ring() -> None:
            if self.up and self.life == life and self._timer_at == at:
                self._timer_at = float("inf")
                self.apply(self.node.handle_timer(self.now))

        self.world.clock.at(at, ring)


class World:
    """Hosts, clock, network and the dice of one seed."""

    def __init__(self, seed: int, size: int) -> None:
        self.rng = Random(seed)
        self.clock = Clock()
        self.network = Network(self.clock, Random(self.rng.random()))
        self.crash_chance = 0.0
        self.persists = 0
        self.strike_at: tuple[int, str] | None = None
        """Strike exactly that step of those that write, counted from 1, and in which way."""
        self.removed: dict[int, None] = {}
        self.chains: dict[str, Sequence[bytes]] = {}
        """The certificates of hosts that the founder did not let in without a role."""
        self._giving = self.harsh = False
        self._endpoints = 0
        self.hosts = [Host(self, index) for index in range(size)]
        self._by_identity = {host.identity: host for host in self.hosts}

    def strike(self, host: Host, output: Output) -> str | None:
        """Whether a crash strikes this host's step: "before" or "after" its writes, or when it is "done"."""
        self.persists += bool(output.persist)
        if self.strike_at is not None:
            if not output.persist or self.persists != self.strike_at[0]:
                return None
            self.revive(host)
            return self.strike_at[1]
        consequential = bool(output.persist or output.send or self._giving)
        if not consequential or host.left or self.crash_chance == 0.0:
            return None
        factor = CLAIMING_FACTOR if _claims(output) else 1
        if self.rng.random() >= self.crash_chance * (GIVING_FACTOR if self._giving else factor):
            return None
        self.revive(host)
        return self.rng.choice(("before", "after", "done"))

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

    def act(self) -> None:
        """One random act of an operator or of fate."""
        host = self.rng.choice(self.hosts)
        acts = {"attach": 10, "detach": 4, "create": 4, "remove": 1, "crash": 1, "cut": 2, "partition": 1, "heal": 2}
        acts |= {"mute": 2, "leap": 1} if self.harsh else {}
        act = self.rng.choices(list(acts), list(acts.values()))[0]
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
        elif act == "cut":
            self.network.cut()
        elif act == "partition":
            self.network.partition({each.index: self.rng.randrange(2) for each in self.hosts})
        elif act == "mute":
            self.network.mute()
        elif act == "leap" and host.up:
            host.ahead += self.rng.choice((5.0, 60.0, 86_400.0))
            host.arm()
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
