"""Tokens and the password at this host: durable before they are told, and no secret where none belongs."""

from __future__ import annotations

import asyncio
import os
from datetime import datetime

import pytest

from crypto.primitives import Suite
from crypto.token import Token
from meshnet.control.joining import password as password_module
from meshnet.control.joining.invitations import Invitations
from meshnet.control.joining.tokens import SPACE, Tokens
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership, found
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import StoreError
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.forwarder.fakes import until

WALL = 1_800_000_000.0


class SlowStore:
    """A store whose writes last until a test allows them."""

    def __init__(self) -> None:
        self.begun: list[list[PutLike]] = []
        self.durable = asyncio.Event()
        self.durable.set()
        self.error: StoreError | None = None

    async def commit(self, puts: list[PutLike]) -> None:
        self.begun.append(puts)
        await self.durable.wait()
        if self.error is not None:
            raise self.error


class Room:
    """Invitations on a store a test steers."""

    def __init__(self) -> None:
        self.store = SlowStore()
        self.saved: list[Membership] = []
        self.keys = HostKeys(found("host-a", Suite.CHACHAPOLY, os.urandom), self.saved.append)
        tokens = Tokens(lambda: self.keys.membership, [])
        self.invitations = Invitations(
            tokens, self.keys, self.store, lambda: ["192.0.2.1:6799"], os.urandom, lambda: WALL
        )


@pytest.fixture
async def room() -> Room:
    return Room()


async def test_a_token_is_told_once_it_is_durable(room: Room) -> None:
    room.store.durable.clear()
    asking = asyncio.get_running_loop().create_task(room.invitations.create(3, 60, ("invite",)))
    await until(lambda: bool(room.store.begun))
    assert not asking.done()
    room.store.durable.set()
    answer = await asking
    token = Token.decode(str(answer["token"]))
    (puts,) = room.store.begun
    assert {(put.space, put.key) for put in puts} == {(SPACE, token.token_id)}
    assert answer["schema"] == "meshnet.token/v1"
    assert answer["join"] == f"meshnet join {answer['token']}"
    assert (answer["uses"], token.uses, token.expires) == (3, 3, int(WALL) + 60)
    assert datetime.fromisoformat(str(answer["expires_at"])).timestamp() == token.expires
    assert list(token.addresses) == ["192.0.2.1:6799"]


async def test_a_token_that_cannot_be_stored_or_is_refused_is_not_told(room: Room) -> None:
    with pytest.raises(MeshnetError):
        await room.invitations.create(0, 60, ())
    assert not room.store.begun
    room.store.error = StoreError("cannot store", "the disk is full", "free some space")
    with pytest.raises(StoreError):
        await room.invitations.create(1, 60, ())


async def test_the_list_shows_what_is_left_and_lets_nobody_in(room: Room) -> None:
    answer = await room.invitations.create(3, 60, ("invite",))
    token = Token.decode(str(answer["token"]))
    listed = room.invitations.listed()
    assert listed == {
        "schema": "meshnet.tokens/v1",
        "tokens": [
            {
                "id": token.token_id.hex(),
                "roles": ["invite"],
                "uses": 3,
                "left": 3,
                "redeemed": [],
                "expires_at": answer["expires_at"],
            }
        ],
    }
    assert str(answer["token"]) not in str(listed) and token.secret.hex() not in str(listed)


async def test_a_revoked_token_is_gone_durably(room: Room) -> None:
    answer = await room.invitations.create(3, 60, ())
    token_id = Token.decode(str(answer["token"])).token_id
    assert (await room.invitations.revoke(token_id))["id"] == token_id.hex()
    assert [(put.key, put.value) for put in room.store.begun[-1]] == [(token_id, None)]
    assert room.invitations.listed()["tokens"] == []
    with pytest.raises(MeshnetError) as refusal:
        await room.invitations.revoke(bytes(8))
    assert refusal.value.code is ExitCode.NOT_FOUND


async def test_a_password_is_kept_as_a_key_until_it_is_switched_off(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(password_module, "password_key", lambda text, mesh: b"k" * 32)
    answer = await room.invitations.password("correct horse battery staple tango")
    assert answer == {"schema": "meshnet.password/v1", "enabled": True}
    assert [one.password_key for one in room.saved] == [b"k" * 32]
    assert (await room.invitations.password(None))["enabled"] is False
    assert [one.password_key for one in room.saved] == [b"k" * 32, None]


async def test_a_weak_password_is_refused_without_being_repeated(room: Room) -> None:
    with pytest.raises(MeshnetError) as refusal:
        await room.invitations.password("sunshine1")
    assert "sunshine1" not in str(refusal.value.to_json())
    assert room.saved == []
