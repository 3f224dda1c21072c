"""The host's keys in use: stored before they count, changed one after the other, whole or not at all."""

from __future__ import annotations

import asyncio
import os
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from crypto.errors import LocalError
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.control.keys import keyfile
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership, found
from meshnet.errors import MeshnetError

DEADLINE_S = 10.0


class Disk:
    """Where memberships are saved; waits or fails when told to."""

    def __init__(self) -> None:
        self.saved: list[Membership] = []
        self.fails = False
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.writing = 0

    def save(self, membership: Membership) -> None:
        self.writing += 1
        assert self.writing == 1, "two saves at once"
        self.begun.set()
        assert self.go_on.wait(DEADLINE_S)
        self.writing -= 1
        if self.fails:
            raise MeshnetError("cannot write keys.json", "No space left on device", "make room")
        self.saved.append(membership)


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def keys(disk: Disk) -> HostKeys:
    return HostKeys(found("alpha", Suite.CHACHAPOLY, os.urandom), disk.save)


def renamed(name: str, membership: Membership) -> Membership:
    return replace(membership, name=membership.name + name)


async def test_a_change_is_stored_before_it_is_told_and_told_in_order(keys: HostKeys, disk: Disk) -> None:
    told: list[tuple[str, str, bool]] = []
    for listener in ("one", "two"):
        keys.on_change.append(
            lambda now, listener=listener: told.append(  # type: ignore[misc]
                (listener, now.name, disk.saved == [now] and keys.membership == now)
            )
        )
    assert (await keys.change(partial(renamed, "-x"))).name == "alpha-x"
    assert told == [("one", "alpha-x", True), ("two", "alpha-x", True)]


async def test_what_cannot_be_stored_changes_nothing(keys: HostKeys, disk: Disk) -> None:
    before = keys.membership
    told: list[Membership] = []
    keys.on_change.append(told.append)
    disk.fails = True
    with pytest.raises(MeshnetError, match="No space left"):
        await keys.change(partial(renamed, "-x"))
    assert keys.membership == before and told == []
    disk.fails = False
    await keys.change(partial(renamed, "-y"))
    assert keys.membership.name == "alpha-y"


async def test_an_act_that_is_refused_changes_nothing(keys: HostKeys, disk: Disk) -> None:
    stale = MeshSecret(0, bytes(32))
    with pytest.raises(LocalError):
        await keys.change(lambda held: replace(held, keyring=held.keyring.installed(stale)))
    assert disk.saved == []
    await keys.change(partial(renamed, "-x"))


async def test_no_change_writes_nothing_and_tells_nobody(keys: HostKeys, disk: Disk) -> None:
    told: list[Membership] = []
    keys.on_change.append(told.append)
    await keys.change(lambda held: replace(held))
    assert disk.saved == told == []


async def test_changes_come_one_after_the_other_and_none_is_lost(keys: HostKeys, disk: Disk) -> None:
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(keys.change(partial(renamed, f"-{n}")) for n in range(20)))
    assert keys.membership.name == "alpha-" + "-".join(map(str, range(20)))
    assert len(disk.saved) == 20


async def test_a_cancelled_change_is_done_whole_before_the_next_begins(keys: HostKeys, disk: Disk) -> None:
    told: list[str] = []
    keys.on_change.append(lambda now: told.append(now.name))
    disk.go_on.clear()
    first = asyncio.ensure_future(keys.change(partial(renamed, "-x")))
    await asyncio.to_thread(disk.begun.wait, DEADLINE_S)
    second = asyncio.ensure_future(keys.change(partial(renamed, "-y")))
    first.cancel()
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.sleep(0)
    assert not first.done() and keys.membership.name == "alpha"
    disk.go_on.set()
    async with asyncio.timeout(DEADLINE_S):
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
    assert told == ["alpha-x", "alpha-x-y"] and keys.membership.name == "alpha-x-y"


async def test_a_listener_that_fails_keeps_it_from_no_other(keys: HostKeys, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: Membership) -> None:
        raise RuntimeError("a fault")

    told: list[str] = []
    keys.on_change += [fail, lambda now: told.append(now.name)]
    await keys.change(partial(renamed, "-x"))
    assert told == ["alpha-x"] and "could not take changed keys" in caplog.text


async def test_what_was_changed_is_there_at_the_next_start(tmp_path: Path) -> None:
    membership = found("alpha", Suite.CHACHAPOLY, os.urandom)
    keyfile.create(tmp_path, membership)
    keys = HostKeys(membership, partial(keyfile.replace, tmp_path))
    secret = MeshSecret(1, os.urandom(32))
    await keys.change(lambda held: replace(held, keyring=held.keyring.installed(secret)))
    assert keyfile.load(tmp_path) == keys.membership and keys.membership.keyring.next == secret
