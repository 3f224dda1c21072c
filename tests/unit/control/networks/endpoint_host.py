"""A host with endpoints whose daemon crashes and comes back: what the tests of endpoints are made on."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from pathlib import Path

from gossip.events import Event, Lease
from gossip.node import Node
from gossip.state.address_bodies import NetworkBody
from meshnet.boundary import Verb
from meshnet.control.networks import endpoint_rows as module
from meshnet.control.networks.adoption import Adoption
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.networks import Networks
from meshnet.control.pending import Pending
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import Store
from meshnet.host.memory import MemoryNetlink
from meshnet.host.tap import Tap
from tests.sim.people import MESH, admit, identity_of, peer_body, sign_as, verify

OWN = identity_of("h0")
STATE = bytes(16)
BODY = NetworkBody(number=1, name="default", pools=["10.32.0.0/24"], mtu=1450)


class World:
    """A host whose store and kernel survive `crash`, and whose daemon does not."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.netlink = MemoryNetlink()
        self.sent: list[Verb] = []
        self._pairs: list[socket.socket] = []
        self._up = False
        Store.open(path, STATE, create=True).close()

    async def start(self, *, reconcile: bool = True) -> None:
        self.store = Store.open(self.path, STATE, create=False)
        self.node = Node(
            mesh=MESH,
            identity=OWN,
            sign=sign_as(OWN),
            verify=verify,
            admit=admit,
            rng=random.Random(1),
            stored=self.store.rows("gossip."),
        )
        clock = asyncio.get_running_loop().time
        self.runner = NodeRunner(self.node, self, clock, lambda link, message: None, self.tell)
        self.pending = Pending(self.runner)
        self.networks = Networks(OWN, self.netlink, self.send, self.open)
        self._up = True
        await self.runner.step(lambda now: self.node.start(peer_body("h0"), now))
        await self.runner.step(lambda now: self.node.found_network(BODY, now))
        await self.networks.serve(BODY)
        desk = NetworkDesk(self.node, self.runner, self.pending, self.store, self.netlink, self.networks)
        self.endpoints = Endpoints(
            self.node,
            self.runner,
            self.store,
            self.netlink,
            self.networks,
            desk,
            self.pending,
            os.urandom,
            MESH,
        )
        self.adoption = Adoption(MESH, self.node, self.netlink, desk, self.pending, self.endpoints)
        if reconcile:
            await self.adoption.adopt()
            await self.endpoints.reconcile()
            await self.adoption.claim_back()

    async def commit(self, puts: list[PutLike]) -> None:
        """The runner's store; the endpoints have the same one, and tests make that one fail."""
        await self.store.commit(puts)

    def tell(self, event: Event) -> None:
        self.pending.tell(event)

    def send(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        self.sent.append(verb)

    def open(self, name: str) -> Tap:
        self.netlink.links.pop(name, None)
        self.netlink.add_tap(name)
        ours, other = socket.socketpair()
        self._pairs.append(other)
        return Tap(ours.detach(), name, 31)

    async def crash(self) -> None:
        """The daemon ends; store and links stay."""
        for task in self.endpoints._expiries.values():
            task.cancel()
        await self.runner.close()
        self.networks.close()
        self.store.close()
        self._up = False

    async def die(self, doing: asyncio.Future[dict[str, object]]) -> None:
        """The daemon is gone in the middle of what it does: nothing of it is finished or undone."""

        async def nothing(*_: object) -> None:
            pass

        self.endpoints.__dict__["_undo"] = nothing
        drainer = self.runner._drainer
        for task in (doing, drainer):
            if task is not None:
                task.cancel()
        await asyncio.gather(doing, *([drainer] if drainer is not None else []), return_exceptions=True)
        await self.crash()

    async def close(self) -> None:
        if self._up:
            await self.crash()
        for sock in self._pairs:
            sock.close()

    # What there is

    def links(self) -> list[str]:
        return sorted(name for name in self.netlink.links if name.startswith(("mv", "mp")))

    def leases(self) -> list[Lease]:
        return self.node.leases()

    def announced(self) -> list[tuple[bytes, list[tuple[str, int]], str]]:
        return [(body.mac, list(body.addresses), body.name) for _, body in self.node.endpoints()]

    def is_empty(self) -> bool:
        rows = self.store.load(module.SPACE)
        return not (self.links() or self.leases() or self.announced() or rows or self.endpoints.listed())
