"""Whole control cores on the loopback: real gossip nodes, runners and links, stores in memory."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable
from dataclasses import replace

from crypto.certificate import issue, verify_chain
from crypto.errors import RemoteError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, verify
from crypto.prologue import Channel
from crypto.stream import SecureStream, StreamInitiator
from gossip.bodies import PeerBody
from gossip.events import Event, PeerSeen
from gossip.node import Node
from meshnet.control.credential import Credential
from meshnet.control.join import Issuer
from meshnet.control.links import CONFIRM, Links
from meshnet.control.membership import Membership, Tokens, found
from meshnet.control.pipe import Pipe, connect
from meshnet.control.row import PutLike
from meshnet.control.runner import NodeRunner
from meshnet.control.store import StoreError

DEADLINE_S = 10.0
WALL = 1_800_000_000.0


async def poll(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 -- a poll with a deadline
            await asyncio.sleep(0.002)


class MemoryStore:
    """Rows in memory; fails when told to."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.error: StoreError | None = None

    async def commit(self, puts: list[PutLike]) -> None:
        if self.error is not None:
            raise self.error
        for put in puts:
            if put.value is None:
                self.rows.pop((put.space, put.key), None)
            else:
                self.rows[put.space, put.key] = put.value


class Peer:
    """One peer's control core: node, runner, links."""

    def __init__(self, membership: Membership, store: MemoryStore | None = None, port: int = 0) -> None:
        self.membership = membership
        self.identity = membership.identity.public
        self.store = store or MemoryStore()
        self.seen: list[bytes] = []
        self.left: set[bytes] = set()
        listening = socket.create_server(("127.0.0.1", port))
        self.port = listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.runner = NodeRunner(
            self.fresh_node(),
            self.store,
            asyncio.get_running_loop().time,
            lambda link, message: self.links.send(link, message),
            self.tell,
        )
        self.tokens = Tokens(membership, [])
        issuer = Issuer(membership, self.tokens, self.commit, lambda name, identity: False, self.grant, lambda: WALL)
        self.links = Links([listening], membership, self.runner, self.lookup, issuer, lambda peer: peer in self.left)

    async def commit(self, puts: object) -> None:
        pass

    async def grant(self, identity: bytes) -> list[bytes]:
        return self.runner.node.export()

    def fresh_node(self) -> Node:
        mesh = self.membership.mesh

        def admit(identity: bytes, chain: object) -> None:
            try:
                verify_chain(mesh, identity, chain)  # type: ignore[arg-type]
            except RemoteError as error:
                raise ValueError(error.reason) from None

        return Node(
            mesh=mesh,
            identity=self.identity,
            sign=self.membership.identity.sign,
            verify=verify,
            admit=admit,
            rng=random.Random(7),
            stored=[(space, key, value) for (space, key), value in sorted(self.store.rows.items())],
        )

    def tell(self, event: Event) -> None:
        if isinstance(event, PeerSeen):
            self.seen.append(event.peer)
        self.links.tell(event)

    def lookup(self, static: bytes) -> bytes | None:
        known = (view.identity for view in self.runner.node.peers() if view.body.static == static)
        return next(known, None)

    def body(self) -> PeerBody:
        own = self.membership
        return PeerBody(own.name, [self.address], own.static.public, list(own.chain), bytes(8), "1")

    async def start(self, *knows: Peer) -> Peer:
        for other in knows:
            await self.absorb(other.runner.node.export())
        await self.links.start()
        await self.begin()
        return self

    async def absorb(self, statements: list[bytes]) -> None:
        await self.runner.step(lambda now: self.runner.node.absorb(statements, now))

    async def begin(self) -> None:
        await self.runner.step(lambda now: self.runner.node.start(self.body(), now))

    async def stop(self) -> None:
        await self.links.close()
        await self.runner.close()

    @property
    def linked(self) -> list[bytes]:
        return sorted(peer for _, peer in self.runner.node.links())

    def summary(self) -> list[tuple[bytes, str, bytes, bytes]]:
        return self.runner.node.summary()


class Mesh:
    """A mesh whose members are made on demand, and whose peers are stopped at the end."""

    def __init__(self) -> None:
        self.founder = found("alpha", Suite.CHACHAPOLY, os.urandom)
        self.running: list[Peer] = []
        self.serial = 0

    def member(self, name: str) -> Membership:
        self.serial += 1
        identity = IdentityKey.generate(os.urandom)
        founder = self.founder
        certificate = issue(
            founder.identity,
            mesh=founder.mesh,
            identity=identity.public,
            name=name,
            roles=(),
            serial=self.serial,
        )
        return replace(
            founder,
            state_id=os.urandom(16),
            identity=identity,
            static=StaticKey.generate(os.urandom),
            name=name,
            chain=(certificate, *founder.chain),
        )

    async def run(self, membership: Membership, *knows: Peer) -> Peer:
        return self.keep(await Peer(membership).start(*knows))

    def keep(self, peer: Peer) -> Peer:
        self.running.append(peer)
        return peer


class Hand:
    """A link opened by hand, to misbehave on."""

    def __init__(self, pipe: Pipe, stream: SecureStream) -> None:
        self.pipe = pipe
        self.stream = stream

    @classmethod
    async def open(cls, peer: Peer, membership: Membership, confirm: bool = True) -> Hand:
        initiator = StreamInitiator(
            channel=Channel.LINK,
            mesh=membership.mesh,
            suite=membership.suite,
            epoch=membership.secret.epoch,
            static=membership.static,
            remote_static=peer.membership.static.public,
            psk=membership.secret.psk(Channel.LINK),
            payload=Credential.make(membership).encode(),
            entropy=os.urandom,
        )
        pipe = await connect(peer.address)
        try:
            async with asyncio.timeout(DEADLINE_S):
                await pipe.write(initiator.data_to_send())
                while not initiator.complete:
                    initiator.feed(await pipe.read())
                    await pipe.write(initiator.data_to_send())
            hand = cls(pipe, initiator.secure())
            if confirm:
                await pipe.write(hand.stream.seal(CONFIRM, b""))
            return hand
        except BaseException:
            pipe.abort()
            raise

    async def ended(self) -> None:
        """Return when the other end closed the connection."""
        await ended(self.pipe)


async def ended(pipe: Pipe) -> None:
    try:
        async with asyncio.timeout(DEADLINE_S):
            while await pipe.read():
                pass
    except ConnectionError:
        pipe.abort()
