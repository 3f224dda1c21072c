"""Joining by password over real TCP on the loopback, Argon2id included."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from crypto.certificate import verify_chain
from crypto.keyring import Keyring
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.control.joining import join_password as module
from meshnet.control.joining.join_reply import JoinReply
from meshnet.control.joining.password import derive
from meshnet.control.joining.tokens import Tokens
from meshnet.control.keys.membership import JoinRequest, found
from meshnet.control.streams.records import Records
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.joiners import Joiner, World, joining

PASSWORD = "olive trombone quarry 7 lantern"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with joining() as world:
        key = await derive(PASSWORD, world.membership.mesh)
        secret = MeshSecret(4, os.urandom(32))
        world.membership = replace(world.membership, password_key=key, keyring=Keyring(secret))
        yield world


async def test_a_password_makes_a_member(world: World) -> None:
    joiner = Joiner()
    reply = await joiner.join_by_password(world.address, PASSWORD)
    own = reply.membership
    certificate = verify_chain(world.membership.mesh, joiner.identity.public, own.chain)
    assert (certificate.name, certificate.roles, own.mesh) == ("beta", (), world.membership.mesh)
    assert own.keyring == world.membership.keyring and own.suite is world.membership.suite
    assert (own.identity, own.static, own.name, own.password_key) == (joiner.identity, joiner.static, "beta", None)
    assert reply.issuer == world.membership.identity.public and reply.statements == [b"one", b"two"]
    assert world.journal == ["commit 2", "grant"]


async def test_another_password_is_no_use_and_not_shown(world: World) -> None:
    other = PASSWORD + "!"
    with pytest.raises(MeshnetError, match="its password may be another one") as caught:
        await Joiner().join_by_password(world.address, other)
    assert other not in str(caught.value) and PASSWORD not in str(caught.value)
    assert world.journal == []


async def test_a_host_that_admits_nobody_by_password_says_so(world: World) -> None:
    world.membership = replace(world.membership, password_key=None)
    with pytest.raises(MeshnetError, match="it may admit nobody by password") as caught:
        await Joiner().join_by_password(world.address, PASSWORD)
    assert "meshnet token password" in caught.value.fix


async def test_a_weak_password_is_not_even_tried(world: World) -> None:
    with pytest.raises(MeshnetError, match="too easy to guess"):
        await Joiner().join_by_password(world.address, "hunter2")
    with pytest.raises(MeshnetError, match="cannot be a peer's name"):
        await Joiner("Not A Name").join_by_password(world.address, PASSWORD)
    assert not world.counters


@pytest.mark.parametrize(("case", "what"), [("taken", "the name is taken"), ("refused", "does not admit this host")])
async def test_a_refusal_is_told(world: World, case: str, what: str) -> None:
    joiner = Joiner()
    if case == "taken":
        world.taken.add("beta")
    else:
        world.refused.add(joiner.identity.public)
    with pytest.raises(MeshnetError, match=what):
        await joiner.join_by_password(world.address, PASSWORD)
    assert world.journal == []


async def test_a_lost_reply_is_asked_for_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = 0
    read = module._Attempt._read

    async def lose(
        self: module._Attempt, records: Records, mesh: bytes, suite: Suite, request: JoinRequest
    ) -> JoinReply:
        nonlocal seen
        seen += 1
        reply = await read(self, records, mesh, suite, request)
        if seen == 1:
            raise ConnectionResetError("lost")
        return reply

    monkeypatch.setattr(module._Attempt, "_read", lose)
    reply = await Joiner().join_by_password(world.address, PASSWORD)
    certificate = verify_chain(world.membership.mesh, reply.membership.identity.public, reply.membership.chain)
    assert (seen, certificate.serial) == (2, 1)


async def test_nobody_there_and_nobody_who_answers_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with pytest.raises(MeshnetError, match=f"cannot join at 127.0.0.1:{port}") as caught:
        await Joiner().join_by_password(f"127.0.0.1:{port}", PASSWORD)
    assert "password may be" not in caught.value.why
    monkeypatch.setattr(module, "JOIN_S", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as mute,
        pytest.raises(MeshnetError, match="no answer in time") as caught,
    ):
        await Joiner().join_by_password(f"127.0.0.1:{mute.getsockname()[1]}", PASSWORD)
    assert caught.value.code is ExitCode.TIMED_OUT


async def test_a_chain_of_another_mesh_is_not_believed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who knows the password of one mesh cannot lead a host into another: it joined the one whose hello it saw."""
    impostor = found("omega", Suite.CHACHAPOLY, os.urandom)
    tokens = Tokens(lambda: impostor, [])

    def admit(self: Tokens, request: JoinRequest, *rest: object) -> object:
        made = JoinRequest.make(impostor.mesh, joiner.identity, joiner.static.public, "beta")
        return real(tokens, made, *rest)  # type: ignore[arg-type]

    real, joiner = Tokens.admit, Joiner()
    monkeypatch.setattr(Tokens, "admit", admit)
    with pytest.raises(MeshnetError, match="cannot join at") as caught:
        await joiner.join_by_password(world.address, PASSWORD)
    assert "certificate" in caught.value.why
