"""Replacing the static key: the old one is kept for ten minutes of the wall clock, wherever that clock goes."""

from __future__ import annotations

import os
from datetime import datetime

import pytest

from crypto.primitives import Suite
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership, found
from meshnet.control.keys.static_rotation import StaticRotation
from meshnet.control.links.statics import OLD_STATIC_S
from meshnet.errors import MeshnetError

WALL = 1_800_000_000.0


class Host:
    """Keys in memory and a clock a test sets."""

    def __init__(self) -> None:
        self.saved: list[Membership] = []
        self.wall = WALL
        self.error: MeshnetError | None = None
        self.keys = HostKeys(found("host-a", Suite.CHACHAPOLY, os.urandom), self._save)
        self.rotation = StaticRotation(self.keys, os.urandom, lambda: self.wall)

    def _save(self, membership: Membership) -> None:
        if self.error is not None:
            raise self.error
        self.saved.append(membership)


async def test_a_new_key_is_stored_and_the_old_one_kept_a_while() -> None:
    host = Host()
    before = host.keys.membership
    answer = await host.rotation.rotate()
    after = host.keys.membership
    assert host.saved == [after]
    assert after.static != before.static and after.old_static == before.static
    assert after.identity == before.identity and after.chain == before.chain
    assert answer["static"] == after.static.public.hex() and answer["id"] == before.identity.public.hex()
    assert datetime.fromisoformat(str(answer["old_until"])).timestamp() == WALL + OLD_STATIC_S
    assert before.static.private.hex() not in str(answer) and after.static.private.hex() not in str(answer)


@pytest.mark.parametrize(
    ("wall", "kept"),
    [
        (WALL, True),
        (WALL + OLD_STATIC_S - 1, True),
        (WALL + OLD_STATIC_S, False),
        (WALL + 10 * 365 * 86_400, False),
        (WALL - 10 * 365 * 86_400, False),
    ],
)
async def test_the_old_key_ends_with_its_time_and_with_a_clock_that_was_set_back(wall: float, kept: bool) -> None:
    host = Host()
    await host.rotation.rotate()
    host.wall = wall
    await host.rotation.expire()
    assert (host.keys.membership.old_static is not None) == kept
    assert len(host.saved) == (1 if kept else 2)
    await host.rotation.expire()
    assert len(host.saved) == (1 if kept else 2)


async def test_a_key_that_cannot_be_stored_is_not_used() -> None:
    host = Host()
    before = host.keys.membership
    host.error = MeshnetError("cannot write", "no space", "free some")
    with pytest.raises(MeshnetError):
        await host.rotation.rotate()
    assert host.keys.membership == before
