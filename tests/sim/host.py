"""One host of a simulated mesh: a store that survives, and a core that does not.

Rule: the host side does what the daemon's runner does: writes of a step first and all at once, then messages, then
events. A crash may strike before the writes of a step (they and all after are lost), right after them (nothing was
sent), between any two of its messages, or when all of the step is done. A host restarts from its store alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TYPE_CHECKING

from gossip import limits
from gossip.errors import Refusal
from gossip.events import (
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
    ReclaimDone,
    ReclaimSettled,
)
from gossip.node import Node
from gossip.state.address_bodies import EndpointBody, NetworkBody
from tests.sim.network import End
from tests.sim.people import MESH, admit, identity_of, mac_of, peer_body, sign_as, verify

if TYPE_CHECKING:
    from tests.sim.world import World


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
        self.reclaimed: list[ReclaimDone | Refusal] = []
        """The answers to the reclaims that were asked for here."""
        self.silent: dict[bytes, None] = {}
        """Endpoints whose address is claimed by hand, and never announced."""
        self.ending: dict[bytes, None] = {}
        """Endpoints that are being detached, or were when a crash struck, or are to be: their network was removed."""
        self.leased: dict[bytes, Lease | Refusal] = {}
        """The last answer to each endpoint that asked for an address."""
        self.dead = False
        """Down until somebody says otherwise: nothing revives it."""
        self.lost = False
        """Never to return: at rest the mesh is the others."""
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
            self.apply(self.node.found_network(self.world.default, self.now))
        elif not self.joined:
            self.world.join(self)
        self.world.started(self)

    def begin(self) -> None:
        """Begin a life unless one is under way, or the last was ended for good."""
        if not self.up and not self.left and not self.dead:
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
        self.world.unheard.follow(self.identity, output)
        if strike == "after":
            self._untold = True
            self.crash()
            return False
        for link, message in output.send[: strike if isinstance(strike, int) else None]:
            self.world.network.send(self.index, link, message)
        if isinstance(strike, int):
            self._untold = True
            self.crash()
            return False
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
            self.leased[event.endpoint_id] = event.answer
            if isinstance(event.answer, Lease):
                lease, life = event.answer, self.life
                self.world.clock.after(0.0, lambda: self._announce(event.endpoint_id, lease, life))
        elif isinstance(event, ReclaimSettled):
            self.waiting.pop("reclaim", None)
            self.reclaimed.append(event.answer)
        elif isinstance(event, NetworkGone):  # its workloads go on, and what they have is said, until they are detached
            left = [endpoint for endpoint, lease in self.attached.items() if lease.network == event.body.number]
            self.ending.update(dict.fromkeys(left))

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

    def attach(self, endpoint: bytes, network: int = 1, address: str | None = None) -> None:
        """Lease an address, any or that one, and announce the endpoint: two steps, later when the lease must wait."""
        if self.node.barred(self.identity):
            return
        output, answer = self.node.allocate(network, endpoint, self.now, address)
        if answer is None:
            self.waiting.setdefault((network, endpoint), self.world.clock.now + limits.CLAIM_S)
        if self.apply(output) and answer is not None:
            self.leased[endpoint] = answer
            if isinstance(answer, Lease):
                self._announce(endpoint, answer, self.life)

    def _announce(self, endpoint: bytes, lease: Lease, life: int) -> None:
        if not self.up or self.life != life or self.left:
            return
        self.attached[endpoint] = lease
        if endpoint in self.silent:
            return
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
        self.ending[endpoint] = None
        announced = endpoint not in self.silent
        if announced and not self.apply(self.node.drop_endpoint(network, mac_of(endpoint), self.now)):
            return
        if self.apply(self.node.release(network, endpoint, self.now)):
            del self.attached[endpoint], self.ending[endpoint]

    def reclaim(self, peers: Sequence[bytes], forced: bool = False) -> None:
        """Take over what these peers own, as an operator asks for it here."""
        output, answer = self.node.reclaim(peers, forced, self.now)
        if answer is None:
            self.waiting["reclaim"] = self.world.clock.now + limits.RECLAIM_S
        if self.apply(output) and answer is not None:
            self.reclaimed.append(answer)

    def hand_registrar(self, to: bytes) -> None:
        """Give the numbers of networks to another peer, if that may be."""
        try:
            output = self.node.hand_registrar(to, self.now)
        except Refusal:
            return
        self.apply(output)

    def free_address(self, network: int, address: str) -> None:
        """End a loan to a peer that is away, if that may be."""
        try:
            output = self.node.release_address(network, address, self.now)
        except Refusal:
            return
        self.apply(output)

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
