"""An issuer on the loopback behind a real listener, and hosts that join at it."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from crypto.errors import RemoteError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.stream import StreamInitiator, StreamResponder
from crypto.token import Token
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.issuer import Issuer
from meshnet.control.joining.join import JoinReply, join
from meshnet.control.joining.join_password import join_by_password
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys.membership import JoinRequest, found
from meshnet.control.links.listener import Listener
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import StoreError
from meshnet.control.streams.pipe import Pipe, connect
from meshnet.errors import MeshnetError

WALL = 1_800_000_000.0
DEADLINE_S = 10.0


class NoLinks:
    async def welcome(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> None:
        raise RemoteError("no links here")


class World:
    """An issuer on the loopback, with what it did in order."""

    def __init__(self) -> None:
        self.membership = found("alpha", Suite.CHACHAPOLY, os.urandom)
        self.tokens = Tokens(lambda: self.membership, [])
        self.wall = WALL
        self.journal: list[str] = []
        self.commit_error: StoreError | None = None
        self.grant_error: MeshnetError | None = None
        self.statements: list[bytes] = [b"one", b"two"]
        self.taken: set[str] = set()
        self.counters: Counter[str] = Counter()
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listening.getsockname()[1]}"
        self.refused: set[bytes] = set()
        self.issuer = Issuer(
            lambda: self.membership,
            self.tokens,
            self.commit,
            lambda name, identity: name in self.taken,
            self.grant,
            lambda identity: identity not in self.refused,
            lambda: self.wall,
        )
        self.listener = Listener([self.listening], self.responder, NoLinks(), self.issuer, self.counters)

    def responder(self) -> StreamResponder:
        own = self.membership
        return StreamResponder(
            epochs={Channel.JOIN: [wire.EPOCH]},
            mesh=own.mesh,
            suite=own.suite,
            statics=own.statics,
            entropy=os.urandom,
            password_psk=own.password_key,
        )

    async def commit(self, puts: Sequence[PutLike]) -> None:
        if self.commit_error is not None:
            raise self.commit_error
        self.journal.append(f"commit {len(puts)}")

    async def grant(self, identity: bytes) -> list[bytes]:
        if self.grant_error is not None:
            raise self.grant_error
        self.journal.append("grant")
        return self.statements

    def token(self, uses: int = 1, roles: Sequence[str] = (), addresses: Sequence[str] = ()) -> Token:
        return self.tokens.create(uses, 3600, roles, addresses or [self.address], os.urandom, WALL)[1]


@asynccontextmanager
async def joining() -> AsyncIterator[World]:
    """A world while it listens."""
    world = World()
    await world.listener.start()
    try:
        yield world
    finally:
        await world.listener.close()
        await turns()


async def turns() -> None:
    """Let closed transports finish."""
    for _ in range(5):
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn


async def poll(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():  # noqa: ASYNC110 -- a poll with a deadline
            await asyncio.sleep(0.002)


class Joiner:
    def __init__(self, name: str = "beta") -> None:
        self.name = name
        self.identity = IdentityKey.generate(os.urandom)
        self.static = StaticKey.generate(os.urandom)

    async def join(self, token: Token) -> JoinReply:
        async with asyncio.timeout(DEADLINE_S):
            return await join(token, self.name, self.identity, self.static)

    async def join_by_password(self, address: str, password: str) -> JoinReply:
        async with asyncio.timeout(DEADLINE_S):
            return await join_by_password(address, password, self.name, self.identity, self.static)


@asynccontextmanager
async def asking(
    world: World, token: Token, joiner: Joiner, psk: bytes | None = None, request: JoinRequest | None = None
) -> AsyncIterator[tuple[Pipe, StreamInitiator]]:
    """A joiner by hand, after the hellos and message 1 were sent."""
    ask = wire.Ask(
        token.token_id,
        request or JoinRequest.make(token.mesh, joiner.identity, joiner.static.public, joiner.name),
    )
    initiator = StreamInitiator(
        channel=Channel.JOIN,
        mesh=token.mesh,
        suite=token.suite,
        epoch=wire.EPOCH,
        static=joiner.static,
        remote_static=token.issuer_static,
        psk=psk or token.psk(),
        payload=wire.encode(ask),
        entropy=os.urandom,
    )
    pipe = await connect(world.address)
    try:
        await pipe.write(initiator.data_to_send())
        initiator.feed(await pipe.read())
        await pipe.write(initiator.data_to_send())
        yield pipe, initiator
    finally:
        pipe.abort()
        await turns()
