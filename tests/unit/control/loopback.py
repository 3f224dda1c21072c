"""Whole control cores on the loopback: real gossip nodes, runners and links, stores in memory."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import Callable, Sequence
from dataclasses import replace

from crypto.certificate import issue, verified
from crypto.errors import RemoteError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, verify
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import SecureStream, StreamInitiator
from gossip.events import Event, PeerRevoked, PeerSeen
from gossip.node import Node
from gossip.people.authority import Admitted
from gossip.state.bodies import PeerBody
from meshnet.control.authority import Authority
from meshnet.control.joining.issuer import Issuer
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership, found
from meshnet.control.links.credential import Credential
from meshnet.control.links.dialling import CONFIRM
from meshnet.control.links.links import Links
from meshnet.control.presence import Presence, body_of
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import StoreError
from meshnet.control.streams.pipe import Pipe, connect

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
    """One peer's control core: keys, node, runner, links."""

    def __init__(self, membership: Membership, store: MemoryStore | None = None, port: int = 0) -> None:
        self.saved: list[Membership] = []
        self.keys = HostKeys(membership, self.saved.append)
        self.identity = membership.identity.public
        self.store = store or MemoryStore()
        self.seen: list[bytes] = []
        self.left: set[bytes] = set()
        self.offers: list[tuple[bytes, MeshSecret]] = []
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
        self.presence, self.authority = Presence(self.runner), Authority(self.runner)
        self.keys.on_change.append(self.presence.rekeyed)
        self.tokens = Tokens(lambda: self.membership, [])
        issuer = Issuer(
            lambda: self.membership,
            self.tokens,
            self.commit,
            lambda name, identity: False,
            self.grant,
            self.authority.may_join,
            lambda: WALL,
        )
        self.links = Links(
            [listening],
            self.keys,
            self.runner,
            self.lookup,
            issuer,
            lambda peer: peer in self.left or self.authority.is_barred(peer),
            self.tags,
            lambda peer, secret: self.offers.append((peer, secret)),
            self.authority.admits,
        )

    @property
    def membership(self) -> Membership:
        return self.keys.membership

    async def commit(self, puts: object) -> None:
        pass

    async def grant(self, identity: bytes) -> list[bytes]:
        return self.runner.node.export()

    def fresh_node(self) -> Node:
        mesh = self.membership.mesh

        def admit(identity: bytes, chain: Sequence[bytes]) -> Admitted:
            try:
                found = verified(mesh, identity, chain)
            except RemoteError as error:
                raise ValueError(error.reason) from None
            return Admitted(found.certificate.roles, found.path)

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
        if isinstance(event, PeerRevoked):
            self.links.drop_peer(event.peer)
        self.links.tell(event)

    def lookup(self, static: bytes) -> bytes | None:
        known = (view.identity for view in self.runner.node.peers() if view.body.static == static)
        return next(known, None)

    def tags(self, peer: bytes) -> Sequence[bytes]:
        known = (view.body.secrets for view in self.runner.node.peers() if view.identity == peer)
        return next(known, ())

    def body(self) -> PeerBody:
        return body_of(self.membership, [self.address], bytes(8))

    async def start(self, *knows: Peer) -> Peer:
        for other in knows:
            await self.absorb(other.runner.node.export())
        await self.links.start()
        await self.begin()
        return self

    async def absorb(self, statements: list[bytes]) -> None:
        await self.runner.step(lambda now: self.runner.node.absorb(statements, now))

    async def begin(self) -> None:
        await self.presence.begin(self.body())

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
        self.serials: dict[bytes, int] = {}

    def member(self, name: str, roles: tuple[str, ...] = ()) -> Membership:
        """A member whose certificate is the founder's."""
        self.serial += 1
        return self._made(self.founder, name, roles, self.serial)

    def issued(self, issuer: Membership, name: str) -> Membership:
        """A member whose certificate is of an issuer with the role `invite`; serials begin at 1."""
        self.serials[issuer.identity.public] = serial = self.serials.get(issuer.identity.public, 0) + 1
        return self._made(issuer, name, (), serial)

    def _made(self, issuer: Membership, name: str, roles: tuple[str, ...], serial: int) -> Membership:
        identity = IdentityKey.generate(os.urandom)
        certificate = issue(
            issuer.identity, mesh=issuer.mesh, identity=identity.public, name=name, roles=roles, serial=serial
        )
        return replace(
            issuer,
            state_id=os.urandom(16),
            identity=identity,
            static=StaticKey.generate(os.urandom),
            name=name,
            chain=(certificate, *issuer.chain),
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
    async def open(cls, peer: Peer, membership: Membership, confirm: bool = True, to: bytes | None = None) -> Hand:
        secret = membership.keyring.current
        initiator = StreamInitiator(
            channel=Channel.LINK,
            mesh=membership.mesh,
            suite=membership.suite,
            epoch=secret.epoch,
            static=membership.static,
            remote_static=to or peer.membership.static.public,
            psk=secret.psk(Channel.LINK),
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
