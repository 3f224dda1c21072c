"""Joining by token over real TCP on the loopback: exactly once, whatever is lost; and coming back after a rotation."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from crypto.certificate import verify_chain
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.control.joining import join as module
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.join import JoinReply, rejoin
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys.membership import JoinRequest, Membership, found
from meshnet.control.store.store import StoreError
from meshnet.control.streams.records import Records
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.joiners import Joiner, World, joining, poll


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with joining() as world:
        yield world


async def test_a_token_makes_a_member(world: World) -> None:
    joiner = Joiner()
    reply = await joiner.join(world.token(roles=["invite"]))
    own = reply.membership
    certificate = verify_chain(world.membership.mesh, joiner.identity.public, own.chain)
    assert (certificate.name, certificate.roles) == ("beta", ("invite",))
    assert own.keyring == world.membership.keyring and own.suite is world.membership.suite
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
    assert caught.value.what == "the host that was asked could not admit this one"
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
    collect = module._Attempt._read

    async def lose(self: module._Attempt, records: Records) -> JoinReply:
        nonlocal seen
        seen += 1
        reply = await collect(self, records)
        if seen == 1:
            raise ConnectionResetError("lost")
        return reply

    monkeypatch.setattr(module._Attempt, "_read", lose)
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
    assert membership.keyring.current.key.hex() not in repr(reply)


async def test_a_host_the_mesh_does_not_allow_is_told_what_to_do_and_costs_no_use(world: World) -> None:
    token, joiner = world.token(), Joiner()
    world.refused.add(joiner.identity.public)
    with pytest.raises(MeshnetError, match="does not admit this host") as caught:
        await joiner.join(token)
    assert "meshnet key show" in caught.value.fix and "meshnet peer allow KEY" in caught.value.fix
    assert world.journal == []
    world.refused.clear()
    await joiner.join(token)


# --- coming back with a token after a missed rotation


def rotated(world: World, generation: int = 1) -> MeshSecret:
    """The issuer's mesh has gone on to another secret."""
    secret = MeshSecret(generation, os.urandom(32))
    world.membership = replace(world.membership, keyring=Keyring(secret))
    return secret


async def test_who_missed_a_rotation_comes_back_as_who_it_was(world: World) -> None:
    own = (await Joiner().join(world.token(roles=["admin"]))).membership
    secret = rotated(world)
    reply = await rejoin(world.token(), own)
    assert reply.membership == replace(own, keyring=Keyring(secret, previous=own.keyring.current))
    assert reply.membership.roles == ("admin",), "a token without roles takes none away"
    again = await rejoin(world.token(), reply.membership)
    assert again.membership == reply.membership


async def test_the_founder_comes_back_over_a_peer_it_let_in(world: World) -> None:
    founder = world.membership
    deputy = (await Joiner("deputy").join(world.token(roles=["invite"]))).membership
    world.membership = deputy
    secret = rotated(world, 2)
    reply = await rejoin(world.token(), founder)
    assert reply.membership == replace(founder, keyring=Keyring(secret, previous=founder.keyring.current))


async def test_a_secret_of_the_same_number_replaces_the_one_held(world: World) -> None:
    own = (await Joiner().join(world.token())).membership
    older = own.keyring.current
    rotated(world)
    own = (await rejoin(world.token(), own)).membership
    secret = rotated(world)
    assert (await rejoin(world.token(), own)).membership.keyring == Keyring(secret, previous=older)


async def test_a_secret_older_than_the_one_held_is_not_taken(world: World) -> None:
    own = (await Joiner().join(world.token())).membership
    ahead = replace(own, keyring=Keyring(MeshSecret(5, os.urandom(32))))
    with pytest.raises(MeshnetError, match="older than this one's") as caught:
        await rejoin(world.token(), ahead)
    assert "meshnet secret status" in caught.value.fix


async def test_a_token_of_another_mesh_or_of_this_host_brings_nobody_back(world: World) -> None:
    own = (await Joiner().join(world.token())).membership
    other = found("omega", Suite.CHACHAPOLY, os.urandom)
    for membership, why in ((replace(own, mesh=other.mesh), "another mesh"), (world.membership, "made it itself")):
        with pytest.raises(MeshnetError, match=why) as caught:
            await rejoin(world.token(), membership)
        assert caught.value.code is ExitCode.USAGE
    assert world.journal == ["commit 3", "grant"]


async def test_a_revoked_host_does_not_come_back(world: World) -> None:
    joiner = Joiner()
    own = (await joiner.join(world.token())).membership
    rotated(world)
    world.refused.add(joiner.identity.public)
    with pytest.raises(MeshnetError, match="was revoked"):
        await rejoin(world.token(), own)


async def test_who_answers_a_rejoin_must_be_a_member(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    own = (await Joiner().join(world.token())).membership
    redeem = Tokens.redeem

    def forged(self: Tokens, token_id: bytes, request: JoinRequest, *rest: object) -> object:
        puts, chain = redeem(self, token_id, request, *rest)  # type: ignore[arg-type]
        impostor = found("omega", Suite.CHACHAPOLY, os.urandom)
        return puts, (chain[0], *impostor.chain)

    monkeypatch.setattr(Tokens, "redeem", forged)
    with pytest.raises(MeshnetError, match="cannot join the mesh"):
        await rejoin(world.token(), own)
