"""Joining over real TCP on the loopback: who may, exactly once, whatever is lost, and what everybody else gets."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from crypto.certificate import verify_chain
from crypto.errors import RemoteError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite
from crypto.prologue import Channel
from crypto.stream import StreamInitiator, StreamResponder
from crypto.token import Token
from meshnet.control import join as module
from meshnet.control import join_wire as wire
from meshnet.control.join import Issuer, JoinReply, join
from meshnet.control.listener import Listener
from meshnet.control.membership import JoinRequest, Membership, Tokens, found
from meshnet.control.pipe import Pipe, connect
from meshnet.control.row import PutLike
from meshnet.control.store import StoreError
from meshnet.errors import ExitCode, MeshnetError

WALL = 1_800_000_000.0
DEADLINE_S = 10.0


class World:
    """An issuer on the loopback, with what it did in order."""

    def __init__(self) -> None:
        self.membership = found("alpha", Suite.CHACHAPOLY, os.urandom)
        self.tokens = Tokens(self.membership, [])
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
        issuer = Issuer(
            self.membership,
            self.tokens,
            self.commit,
            lambda name, identity: name in self.taken,
            self.grant,
            lambda: self.wall,
        )
        self.listener = Listener([self.listening], self.responder, NoLinks(), issuer, self.counters)

    def responder(self) -> StreamResponder:
        own = self.membership
        return StreamResponder(
            epochs={Channel.JOIN: wire.EPOCH},
            mesh=own.mesh,
            suite=own.suite,
            static=own.static,
            entropy=os.urandom,
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


class NoLinks:
    async def welcome(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> None:
        raise RemoteError("no links here")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    await world.listener.start()
    yield world
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


async def test_a_token_makes_a_member(world: World) -> None:
    joiner = Joiner()
    reply = await joiner.join(world.token(roles=["invite"]))
    own = reply.membership
    certificate = verify_chain(world.membership.mesh, joiner.identity.public, own.chain)
    assert (certificate.name, certificate.roles) == ("beta", ("invite",))
    assert own.secret == world.membership.secret and own.suite is world.membership.suite
    assert (own.identity, own.static, own.name) == (joiner.identity, joiner.static, "beta")
    assert own.state_id != world.membership.state_id and len(own.state_id) == 16
    assert reply.issuer == world.membership.identity.public
    assert reply.statements == [b"one", b"two"]
    assert world.journal == ["commit 3", "grant"]
    await poll(lambda: world.counters["joins"] == 1)
    assert len(world.listener.half_open) == 0


async def test_a_reply_of_many_records_arrives_whole(world: World) -> None:
    world.statements = [os.urandom(4000) for _ in range(200)]
    assert (await Joiner().join(world.token())).statements == world.statements


async def test_one_use_admits_one_of_many_at_once(world: World) -> None:
    token = world.token(uses=1)
    joiners = [Joiner(f"peer-{n}") for n in range(5)]
    outcomes = await asyncio.gather(*(joiner.join(token) for joiner in joiners), return_exceptions=True)
    assert sum(isinstance(outcome, JoinReply) for outcome in outcomes) == 1
    for outcome in outcomes:
        if not isinstance(outcome, JoinReply):
            assert isinstance(outcome, MeshnetError) and "used as often" in outcome.why


@pytest.mark.parametrize(
    ("case", "why"),
    [("unknown", "does not know it"), ("expired", "has expired"), ("used-up", "used as often as it allows")],
)
async def test_a_token_that_admits_nobody_says_why(world: World, case: str, why: str) -> None:
    token = world.token()
    if case == "unknown":
        token = replace(token, secret=os.urandom(32))
    elif case == "expired":
        world.wall += 3601
    else:
        await Joiner("gamma").join(token)
    before = list(world.journal)
    with pytest.raises(MeshnetError) as caught:
        await Joiner().join(token)
    assert caught.value.what == "the token was refused"
    assert why in caught.value.why and "meshnet token create" in caught.value.fix
    assert world.journal == before


async def test_a_name_in_use_says_so_and_costs_no_use(world: World) -> None:
    token = world.token()
    world.taken.add("beta")
    with pytest.raises(MeshnetError, match="name is taken") as caught:
        await Joiner("beta").join(token)
    assert "--name" in caught.value.fix and world.journal == []
    await Joiner("gamma").join(token)


async def test_a_bad_name_is_refused_before_anything_is_sent(world: World) -> None:
    with pytest.raises(MeshnetError, match="cannot be a peer's name"):
        await Joiner("Not A Name").join(world.token())
    assert not world.counters


async def test_what_is_not_durable_is_not_replied_and_a_retry_writes_it_again(world: World) -> None:
    token, joiner = world.token(), Joiner()
    world.commit_error = StoreError("cannot write state.db", "No space left on device", "free space")
    with pytest.raises(MeshnetError, match="No space left on device") as caught:
        await joiner.join(token)
    assert caught.value.what == "the host that made the token could not admit this one"
    assert world.journal == []
    world.commit_error = None
    await joiner.join(token)
    assert world.journal == ["commit 3", "grant"]


async def test_an_issuer_that_cannot_grant_says_why(world: World) -> None:
    world.grant_error = MeshnetError("no addresses left", "the pool is full\x1b[31m", "add one")
    with pytest.raises(MeshnetError) as caught:
        await Joiner().join(world.token())
    assert caught.value.why == "no addresses left: the pool is full[31m"


async def test_a_lost_reply_is_asked_for_again_and_consumes_nothing_more(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, joiner = world.token(), Joiner()
    seen = 0
    collect = module._Attempt._collect

    async def lose(self: module._Attempt, records: module.Records) -> JoinReply:
        nonlocal seen
        seen += 1
        reply = await collect(self, records)
        if seen == 1:
            raise ConnectionResetError("lost")
        return reply

    monkeypatch.setattr(module._Attempt, "_collect", lose)
    reply = await joiner.join(token)
    assert seen == 2 and reply.membership.chain
    again = await joiner.join(token)
    assert again.membership.chain == reply.membership.chain
    with pytest.raises(MeshnetError, match="used as often"):
        await Joiner("gamma").join(token)


async def test_every_address_is_tried_and_each_failure_reported(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    token = world.token(addresses=[f"127.0.0.1:{port}", world.address])
    await Joiner().join(token)
    dead = world.token(addresses=[f"127.0.0.1:{port}", f"[::1]:{port}"])
    with pytest.raises(MeshnetError) as caught:
        await Joiner().join(dead)
    assert f"127.0.0.1:{port}: " in caught.value.why and f"[::1]:{port}: " in caught.value.why
    assert "meshnet token create" in caught.value.fix


async def test_an_issuer_that_says_nothing_is_left_in_time(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "JOIN_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        token = world.token(addresses=[f"127.0.0.1:{mute.getsockname()[1]}"])
        with pytest.raises(MeshnetError, match="no answer in time") as caught:
            await Joiner().join(token)
    assert caught.value.code is ExitCode.TIMED_OUT


@pytest.mark.parametrize("field", ["issuer_static", "mesh", "suite", "issuer_identity"])
async def test_a_token_of_another_issuer_or_mesh_is_no_use(world: World, field: str) -> None:
    values: dict[str, object] = {
        "issuer_static": StaticKey.generate(os.urandom).public,
        "mesh": os.urandom(16),
        "suite": Suite.AESGCM,
        "issuer_identity": os.urandom(32),
    }
    with pytest.raises(MeshnetError, match="cannot join the mesh"):
        await Joiner().join(replace(world.token(), **{field: values[field]}))  # type: ignore[arg-type]
    if field != "issuer_identity":
        assert world.journal == []


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


async def test_nothing_is_consumed_before_the_secret_is_proven(world: World) -> None:
    token, joiner = world.token(), Joiner()
    async with asking(world, token, joiner) as (pipe, initiator):
        initiator.feed(await pipe.read())  # message 2 arrived: the issuer waits for the proof
        assert initiator.complete and world.journal == [] and len(world.listener.half_open) == 1
    await poll(lambda: world.counters["cut off"] == 1)
    assert world.journal == []
    await Joiner("gamma").join(token)


async def test_who_knows_the_token_id_but_not_the_secret_gets_nothing(world: World) -> None:
    token, joiner = world.token(), Joiner()
    async with asking(world, token, joiner, psk=os.urandom(32)) as (pipe, initiator):
        message = await pipe.read()
        with pytest.raises(RemoteError):
            initiator.feed(message)
        await pipe.write(b"\0\x11" + os.urandom(17))  # a confirmation under a key that is a guess
        with pytest.raises(ConnectionError):
            await pipe.read()
    assert world.journal == [] and world.counters.total() == 1
    await Joiner("gamma").join(token)


async def test_a_first_record_that_is_no_confirmation_consumes_nothing(world: World) -> None:
    async with asking(world, world.token(), Joiner()) as (pipe, initiator):
        initiator.feed(await pipe.read())
        await pipe.write(initiator.secure().seal(wire.WELCOME, b""))
        with pytest.raises(ConnectionError):
            await pipe.read()
    assert world.journal == [] and world.counters["refused: a join that is not confirmed"] == 1


async def test_a_request_for_another_static_key_is_refused_before_any_answer(world: World) -> None:
    token, joiner, other = world.token(), Joiner(), Joiner()
    request = JoinRequest.make(token.mesh, other.identity, other.static.public, "beta")
    async with asking(world, token, joiner, request=request) as (pipe, _):
        with pytest.raises(ConnectionError):
            await pipe.read()
    assert world.journal == []


async def test_a_request_with_a_false_signature_is_denied_and_costs_no_use(world: World) -> None:
    token, joiner = world.token(), Joiner()
    request = JoinRequest(joiner.identity.public, joiner.static.public, "beta", bytes(64))
    async with asking(world, token, joiner, request=request) as (pipe, initiator):
        initiator.feed(await pipe.read())
        records = module.Records(pipe, initiator.secure())
        await records.send(wire.CONFIRM, b"")
        kind, data = await records.next()
        assert (kind, wire.decode(data, wire.Denied).reason) == (wire.DENIED, "bad-request")
    assert world.journal == []
    await joiner.join(token)


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"\x90", b"\x92\xc4\x00\x94", os.urandom(500)])
async def test_a_request_that_is_junk_ends_the_connection(world: World, junk: bytes) -> None:
    token, joiner = world.token(), Joiner()
    initiator = StreamInitiator(
        channel=Channel.JOIN,
        mesh=token.mesh,
        suite=token.suite,
        epoch=wire.EPOCH,
        static=joiner.static,
        remote_static=token.issuer_static,
        psk=token.psk(),
        payload=junk,
        entropy=os.urandom,
    )
    pipe = await connect(world.address)
    await pipe.write(initiator.data_to_send())
    initiator.feed(await pipe.read())
    await pipe.write(initiator.data_to_send())
    with pytest.raises(ConnectionError):
        await pipe.read()
    pipe.abort()
    assert world.journal == [] and world.counters["refused: join message of another form than Ask"] == 1


async def test_a_reply_that_is_cut_short_or_lies_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "slices", lambda statements: [list(statements)[:-1]])
    with pytest.raises(MeshnetError, match="not whole"):
        await Joiner().join(world.token())


async def test_a_certificate_for_another_name_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    redeem = Tokens.redeem

    def other(self: Tokens, token_id: bytes, request: JoinRequest, *rest: object) -> object:
        puts, chain = redeem(self, token_id, request, *rest)  # type: ignore[arg-type]
        return puts, (world.membership.chain[0], *chain[1:])

    monkeypatch.setattr(Tokens, "redeem", other)
    with pytest.raises(MeshnetError, match="certificate of another peer"):
        await Joiner().join(world.token())


def test_secrets_are_not_shown() -> None:
    membership: Membership = found("alpha", Suite.AESGCM, os.urandom)
    reply = JoinReply(membership, bytes(32), [])
    assert membership.secret.key.hex() not in repr(reply)
