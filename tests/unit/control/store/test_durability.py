"""A disk that takes no writes: said while it lasts, tried again and again, and the state read anew when it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meshnet.control.store import store_file
from meshnet.control.store.durability import PROBE_S, REREAD_S, Durability
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store, StoreError

STATE = bytes(range(16))


class World:
    """A store on a disk that can be filled, under a clock that is set."""

    def __init__(self, path: Path) -> None:
        self.full = False
        self.now = 1000.0
        self.rereads = 0
        self.probes = 0
        self.runner_failure: StoreError | None = None
        self.store = Store.open(path, STATE, create=True, dial=self.dial)
        self.durability = Durability(self.store, lambda: self.now, lambda: self.runner_failure, self.reread)
        self.now += REREAD_S

    def dial(self, path: Path) -> sqlite3.Connection:
        self.probes += 1
        connection = store_file.connect(path)
        if self.full:
            connection.execute("PRAGMA query_only=ON")
        return connection

    def reread(self) -> None:
        self.rereads += 1

    async def fill(self) -> None:
        self.full = True
        self.store._connection.execute("PRAGMA query_only=ON")
        with pytest.raises(StoreError):
            await self.store.commit([Row("a", b"k", b"v")])
        self.probes = 0

    def said(self) -> list[object]:
        return [notice["what"] for notice in self.durability.notices()]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "state.db")
    yield made
    made.store.close()


async def test_a_sound_state_on_a_sound_disk_says_nothing_and_is_not_probed(world: World) -> None:
    world.probes = 0
    await world.durability.step()
    assert (world.said(), world.probes, world.rereads) == ([], 0, 0)


async def test_a_full_disk_is_said_and_probed_until_it_takes_writes(world: World) -> None:
    await world.fill()
    (notice,) = world.durability.notices()
    assert "changes are refused" in str(notice["what"]) and "readonly" in str(notice["why"])
    for _ in range(3):
        await world.durability.step()
        await world.durability.step()
        world.now += PROBE_S
    assert (world.probes, world.rereads) == (3, 0)
    world.full = False
    await world.durability.step()
    assert world.rereads == 1


async def test_a_runner_that_gave_up_for_another_reason_is_not_read_anew_all_the_time(world: World) -> None:
    world.runner_failure = StoreError("cannot write the state", "TypeError: a defect", "read the log")
    assert world.durability.failure == "TypeError: a defect"
    world.durability._began = world.now
    await world.durability.step()
    assert world.rereads == 0
    world.now += REREAD_S
    await world.durability.step()
    assert world.rereads == 1


async def test_a_rolled_back_state_and_an_old_copy_are_said(world: World) -> None:
    world.store.rolled_back = "state.db was damaged"
    world.store.copy_failure = "No space left on device"
    assert [notice["why"] for notice in world.durability.notices()] == [
        "state.db was damaged",
        "No space left on device",
    ]
    await world.store.trust()
    assert len(world.said()) == 1


def test_every_notice_says_what_why_and_a_fix(world: World) -> None:
    world.store.rolled_back = world.store.copy_failure = "why"
    world.runner_failure = StoreError("cannot write", "why", "fix")
    check: Callable[[dict[str, object]], bool] = lambda notice: all(notice[part] for part in ("what", "why", "fix"))  # noqa: E731
    assert all(map(check, world.durability.notices())) and len(world.said()) == 2
