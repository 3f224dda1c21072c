"""The issuer over real TCP on the loopback: what it gives before proof (nothing), and to whom it gives at all."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from crypto.certificate import verify_chain
from crypto.errors import RemoteError
from crypto.keyring import Keyring
from crypto.password import PasswordInitiator
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import StreamInitiator
from meshnet.control.joining import issuer as module
from meshnet.control.joining import join_wire as wire
from meshnet.control.keys.membership import JoinRequest
from meshnet.control.streams.pipe import Pipe, connect
from meshnet.control.streams.records import Records
from meshnet.errors import MeshnetError
from tests.unit.control.joiners import DEADLINE_S, Joiner, World, asking, joining, poll


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with joining() as world:
        yield world


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
        records = Records(pipe, initiator.secure())
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


async def test_who_is_not_allowed_gets_nothing_although_it_holds_a_token(world: World) -> None:
    token, joiner = world.token(), Joiner()
    world.refused.add(joiner.identity.public)
    async with asking(world, token, joiner) as (pipe, initiator):
        initiator.feed(await pipe.read())
        records = Records(pipe, initiator.secure())
        await records.send(wire.CONFIRM, b"")
        kind, data = await records.next()
        assert (kind, wire.decode(data, wire.Denied).reason) == (wire.DENIED, "not-allowed")
    assert world.journal == []


async def test_who_is_revoked_while_it_is_granted_addresses_gets_no_secret(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    joiner = Joiner()

    async def grant(identity: bytes) -> list[bytes]:
        world.refused.add(identity)
        return []

    monkeypatch.setattr(world.issuer, "_grant", grant)
    with pytest.raises(MeshnetError, match="does not admit this host"):
        await joiner.join(world.token())


async def test_the_secret_in_use_at_that_moment_is_given_and_no_other(world: World) -> None:
    token = world.token()
    one, two, three = (MeshSecret(generation, os.urandom(32)) for generation in (8, 9, 7))
    world.membership = replace(world.membership, keyring=Keyring(one, two, three))
    assert (await Joiner().join(token)).membership.keyring == Keyring(one)


async def test_a_token_made_before_the_static_key_was_replaced_still_admits(world: World) -> None:
    token, before = world.token(), world.membership
    world.membership = replace(before, static=Joiner().static, old_static=before.static)
    await Joiner().join(token)
    world.membership = replace(world.membership, old_static=None)
    with pytest.raises(MeshnetError, match="cannot join the mesh"):
        await Joiner("gamma").join(token)


# --- by password


PASSWORD_KEY = bytes(range(32))


async def knocking(
    world: World, joiner: Joiner, psk: bytes = PASSWORD_KEY, request: JoinRequest | None = None
) -> tuple[Pipe, PasswordInitiator]:
    """A joiner by password by hand, after its third message was sent."""
    initiator = PasswordInitiator(static=joiner.static, entropy=os.urandom)
    pipe = await connect(world.address)
    await pipe.write(initiator.data_to_send())
    while initiator.mesh is None:
        initiator.feed(await pipe.read())
    own = JoinRequest.make(initiator.mesh, joiner.identity, joiner.static.public, joiner.name)
    initiator.begin(psk, wire.encode(request or own))
    await pipe.write(initiator.data_to_send())
    while not initiator.complete:
        initiator.feed(await pipe.read())
    await pipe.write(initiator.data_to_send())
    return pipe, initiator


@pytest.fixture
def admitting(world: World) -> World:
    """The issuer, admitting by password."""
    world.membership = replace(world.membership, password_key=PASSWORD_KEY)
    return world


async def test_the_password_admits_without_a_role_and_again(admitting: World) -> None:
    world, joiner = admitting, Joiner()
    chains = []
    for _ in range(2):
        pipe, initiator = await knocking(world, joiner)
        records = Records(pipe, initiator.secure())
        await records.send(wire.CONFIRM, b"")
        kind, data = await records.next()
        assert kind == wire.WELCOME
        welcome = wire.decode(data, wire.Welcome)
        assert welcome.secret == world.membership.keyring.current.key
        assert verify_chain(world.membership.mesh, joiner.identity.public, welcome.chain).roles == ()
        chains.append(welcome.chain)
        pipe.abort()
    assert chains[0] == chains[1]
    assert world.journal == ["commit 2", "grant"] * 2


@pytest.mark.parametrize("case", ["another password", "another static key", "junk", "no confirmation"])
async def test_what_is_wrong_by_password_is_cut_and_gets_nothing(admitting: World, case: str) -> None:
    world, joiner, other = admitting, Joiner(), Joiner()
    request = None
    if case == "another static key":
        request = JoinRequest.make(world.membership.mesh, other.identity, other.static.public, "beta")
    elif case == "junk":
        request = JoinRequest(b"", b"", "", b"")
    psk = bytes(32) if case == "another password" else PASSWORD_KEY
    pipe, initiator = await knocking(world, joiner, psk, request)
    if case == "no confirmation":
        await pipe.write(initiator.secure().seal(wire.WELCOME, b""))
    with pytest.raises(ConnectionError):
        await pipe.read()
    pipe.abort()
    assert world.journal == []


@pytest.mark.parametrize(("case", "reason"), [("not allowed", "not-allowed"), ("switched off", "unknown")])
async def test_who_proved_the_password_may_still_be_refused(admitting: World, case: str, reason: str) -> None:
    world, joiner = admitting, Joiner()
    if case == "not allowed":
        world.refused.add(joiner.identity.public)
    pipe, initiator = await knocking(world, joiner)
    world.membership = replace(world.membership, password_key=None) if case == "switched off" else world.membership
    records = Records(pipe, initiator.secure())
    await records.send(wire.CONFIRM, b"")
    kind, data = await records.next()
    assert (kind, wire.decode(data, wire.Denied).reason) == (wire.DENIED, reason)
    pipe.abort()
    assert world.journal == []


def test_attempts_by_password_are_few(world: World) -> None:
    issuer = world.issuer
    assert [issuer.password_attempt(100.0) for _ in range(7)] == [True] * module.PASSWORD_BURST + [False] * 2
    assert issuer.password_attempt(101.0) and not issuer.password_attempt(101.5)


async def test_beyond_them_nobody_learns_whether_a_password_is_right(admitting: World) -> None:
    while admitting.issuer.password_attempt(asyncio.get_running_loop().time()):
        pass
    initiator = PasswordInitiator(static=Joiner().static, entropy=os.urandom)
    pipe = await connect(admitting.address)
    await pipe.write(initiator.data_to_send())
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(ConnectionError):
            while True:
                await pipe.read()
    pipe.abort()
    assert admitting.counters["refused: too many attempts with a password"] == 1
