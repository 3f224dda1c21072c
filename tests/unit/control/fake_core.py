"""A gossip core and a store that a test steers, for the parts of control that stand on networks and leases."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable, Sequence
from typing import cast

from gossip.errors import Refusal
from gossip.events import Event, Lease, Output, PeerView, RangeView, ReclaimDone, ReclaimPlan, Share, Waiting
from gossip.node import Node
from gossip.state.address_bodies import EndpointBody, NetworkBody
from gossip.state.bodies import PeerBody
from meshnet.boundary import Verb
from meshnet.control.networks.networks import Networks
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import Store
from meshnet.host.errors import refused
from meshnet.host.memory import MemoryNetlink
from meshnet.host.tap import Tap

OWN, OTHER = b"o" * 32, b"p" * 32
DEFAULT = NetworkBody(number=1, name="default", pools=["10.32.0.0/12"], mtu=1500)
WEB = NetworkBody(number=0xBEEF, name="web", pools=["10.77.0.0/16"], mtu=9000)


def view(identity: bytes, name: str, *, left: bool = False) -> PeerView:
    body = PeerBody(name, [], bytes(32), [b"c"], bytes(8), "1")
    return PeerView(identity, body, True, left, 1)


class FakeCore:
    """Answers as `gossip.node.Node` does; a test fills `known`, `answer` and `refusal`."""

    identity = OWN

    def __init__(self) -> None:
        self.known: dict[int, NetworkBody] = {1: DEFAULT}
        self.answer: NetworkBody | Refusal | None = None
        self.lease_answer: Lease | Refusal | None = Lease(WEB.number, "10.77.0.2/16", 5)
        self.refusal: Refusal | None = None
        self.given: list[Lease] = []
        self.said: list[EndpointBody] = []
        self.asked: list[tuple[object, ...]] = []
        self.views = [view(OWN, "host-a"), view(OTHER, "host-b")]
        self.open_links: list[tuple[int, bytes]] = [(1, OTHER)]
        self.keys: dict[tuple[int, bytes], Lease] = {}
        self.shares: list[Share] = []
        self.waits: list[Waiting] = []
        self.odd: list[str] = []
        self.plan = ReclaimPlan([], [], [], [], [], {}, None)
        self.reclaim_answer: ReclaimDone | Refusal | None = None
        self.registrar_id: bytes | None = OWN

    def next_timer(self) -> tuple[float, str] | None:
        return None

    def handle_timer(self, now: float) -> Output:
        return Output()

    def create_network(
        self, name: str, pools: Sequence[str], mtu: int | None, now: float
    ) -> tuple[Output, NetworkBody | Refusal | None]:
        self.asked.append(("create", name, tuple(pools), mtu))
        if isinstance(self.answer, NetworkBody):
            self.known[self.answer.number] = self.answer
        return Output(), self.answer

    def remove_network(self, number: int, now: float) -> Output:
        self.asked.append(("remove", number))
        if self.refusal is not None:
            raise self.refusal
        self.known.pop(number)
        return Output()

    def allocate(
        self, network: int, endpoint_id: bytes, now: float, address: str | None = None, *, in_use: bool = False
    ) -> tuple[Output, Lease | Refusal | None]:
        self.asked.append(("allocate", network, endpoint_id, address))
        if isinstance(self.lease_answer, Lease):
            self.given.append(self.lease_answer)
            self.keys[network, endpoint_id] = self.lease_answer
        return Output(), self.lease_answer

    def release(self, network: int, endpoint_id: bytes, now: float) -> Output:
        self.asked.append(("release", network, endpoint_id))
        self.given = [lease for lease in self.given if lease.network != network]
        self.keys.pop((network, endpoint_id), None)
        return Output()

    def release_address(self, network: int, address: str, now: float) -> Output:
        self.asked.append(("release_address", network, address))
        if self.refusal is not None:
            raise self.refusal
        return Output()

    def held(self) -> list[tuple[int, bytes, Lease]]:
        return [(network, key, lease) for (network, key), lease in sorted(self.keys.items())]

    def utilisation(self) -> list[Share]:
        return list(self.shares)

    def pending(self) -> list[Waiting]:
        return list(self.waits)

    def check(self) -> list[str]:
        return list(self.odd)

    def reclaim_plan(self, peers: Sequence[bytes], now: float) -> ReclaimPlan:
        self.asked.append(("plan", tuple(peers)))
        return self.plan

    def reclaim(self, peers: Sequence[bytes], forced: bool, now: float) -> tuple[Output, ReclaimDone | Refusal | None]:
        self.asked.append(("reclaim", tuple(peers), forced))
        return Output(), self.reclaim_answer

    def registrar(self) -> bytes | None:
        return self.registrar_id

    def hand_registrar(self, to: bytes, now: float) -> Output:
        self.asked.append(("hand_registrar", to))
        if self.refusal is not None:
            raise self.refusal
        self.registrar_id = to
        return Output()

    def peer(self, identity: bytes) -> PeerView | None:
        return next((view for view in self.views if view.identity == identity), None)

    def set_endpoint(self, body: EndpointBody, now: float) -> Output:
        self.drop_endpoint(body.network, body.mac, now)
        self.said.append(body)
        return Output()

    def drop_endpoint(self, network: int, mac: bytes, now: float) -> Output:
        self.said = [body for body in self.said if (body.network, body.mac) != (network, mac)]
        return Output()

    def leave(self, now: float) -> Output:
        self.asked.append(("leave",))
        if self.refusal is not None:
            raise self.refusal
        return Output()

    def networks(self) -> list[NetworkBody]:
        return [body for _, body in sorted(self.known.items())]

    def leases(self) -> list[Lease]:
        return list(self.given)

    def peers(self) -> list[PeerView]:
        return list(self.views)

    def links(self) -> list[tuple[int, bytes]]:
        return list(self.open_links)

    def endpoints(self, network: int | None = None) -> list[tuple[bytes, EndpointBody]]:
        return [(OWN, body) for body in self.said if network in (None, body.network)]

    def ranges(self, network: int) -> list[RangeView]:
        return [RangeView(0x0A4D0000, 0x0A4E0000, OWN), RangeView(0x0A4E0000, 0x0A4F0000, OTHER)]


class RowStore:
    """Rows in memory that outlive a part which is made anew on them."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes] = {}

    def load(self, space: str) -> list[tuple[bytes, bytes]]:
        return [(key, value) for (held, key), value in sorted(self.rows.items()) if held == space]

    async def commit(self, puts: Sequence[PutLike]) -> None:
        for put in puts:
            if put.value is None:
                self.rows.pop((put.space, put.key), None)
            else:
                self.rows[put.space, put.key] = put.value


class Bench:
    """A core, a runner, a store and a host in memory; `tell` is where the core's events go."""

    def __init__(self) -> None:
        self.core = FakeCore()
        self.rows = RowStore()
        self.netlink = MemoryNetlink()
        self.sent: list[Verb] = []
        self.tell: Callable[[Event], object] = lambda event: None
        clock = asyncio.get_running_loop().time
        core_runner = NodeRunner(
            self.core, self.rows, clock, lambda link, message: None, lambda event: cast("None", self.tell(event))
        )
        self.runner = cast("NodeRunner[Node]", core_runner)
        self.networks = Networks(OWN, self.netlink, self._send, self._open)
        self._pairs: list[socket.socket] = []

    @property
    def node(self) -> Node:
        return cast("Node", self.core)

    @property
    def store(self) -> Store:
        return cast("Store", self.rows)

    async def close(self) -> None:
        await self.runner.close()
        self.networks.close()
        for sock in self._pairs:
            sock.close()

    def _send(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        self.sent.append(verb)

    def _open(self, name: str) -> Tap:
        if name in self.netlink.links:
            raise refused(f"cannot create TAP {name}", errno.EBUSY)
        self.netlink.add_tap(name)
        ours, other = socket.socketpair()
        self._pairs.append(other)
        return Tap(ours.detach(), name, 31)
