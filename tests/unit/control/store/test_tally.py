"""The number of commits beside the database: never ahead of a whole one, of this state alone, without a sync."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshnet.control.store import store_file
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.control.store.tally import TALLY, Tally

STATE = bytes(range(16))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    store_file.create(path, STATE)
    return path


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    with closing(store_file.connect(path)) as connection:
        yield connection


def count(tally: Tally, connection: sqlite3.Connection, times: int = 1) -> None:
    for _ in range(times):
        connection.execute("BEGIN IMMEDIATE")
        tally.count(connection)
        connection.execute("COMMIT")
        tally.note()


def beside(path: Path) -> Path:
    return path.with_name(path.name + TALLY)


def lacking(path: Path, connection: sqlite3.Connection, state_id: bytes = STATE) -> int:
    with closing(Tally(path, state_id, connection)) as tally:
        return tally.lacking


def test_a_whole_database_lacks_nothing(path: Path, connection: sqlite3.Connection) -> None:
    with closing(Tally(path, STATE, connection)) as tally:
        assert tally.lacking == 0
        count(tally, connection, 3)
    assert lacking(path, connection) == 0
    assert beside(path).stat().st_mode & 0o777 == 0o600


def test_what_the_database_lost_is_counted(path: Path, connection: sqlite3.Connection) -> None:
    with closing(Tally(path, STATE, connection)) as tally:
        count(tally, connection, 5)
        count(tally, connection, 2)
    connection.execute("DELETE FROM kv")
    assert lacking(path, connection) == 7


def test_a_transaction_that_came_to_nothing_is_not_told(path: Path, connection: sqlite3.Connection) -> None:
    with closing(Tally(path, STATE, connection)) as tally:
        count(tally, connection)
        told = beside(path).read_bytes()
        connection.execute("BEGIN IMMEDIATE")
        tally.count(connection)
        connection.rollback()
        assert beside(path).read_bytes() == told
        count(tally, connection)
    assert lacking(path, connection) == 0


def test_one_that_is_behind_missing_broken_or_of_another_state_tells_nothing(
    path: Path, connection: sqlite3.Connection
) -> None:
    with closing(Tally(path, STATE, connection)) as tally:
        count(tally, connection)
        early = beside(path).read_bytes()
        count(tally, connection, 2)
        late = beside(path).read_bytes()
    connection.execute("DELETE FROM kv")
    assert lacking(path, connection) == 3
    assert lacking(path, connection, bytes(16)) == 0
    for place in range(len(late)):
        beside(path).write_bytes(late[:place] + bytes([late[place] ^ 1]) + late[place + 1 :])
        assert lacking(path, connection) == 0
    for broken in (b"", late[:-1], late + b"x"):
        beside(path).write_bytes(broken)
        assert lacking(path, connection) == 0
    beside(path).unlink()
    assert lacking(path, connection) == 0
    with closing(Tally(path, STATE, connection)) as tally:
        count(tally, connection, 2)
    beside(path).write_bytes(early)
    assert lacking(path, connection) == 0, "after a loss of power it may be older than the database"


def test_where_nothing_can_be_written_beside_commits_go_on(path: Path, connection: sqlite3.Connection) -> None:
    beside(path).mkdir()
    with closing(Tally(path, STATE, connection)) as tally:
        count(tally, connection, 2)
    assert lacking(path, connection) == 0


async def test_a_commit_costs_no_sync_of_ours(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store.open(path, STATE, create=False)
    try:
        with monkeypatch.context() as patch:
            for name in ("fsync", "fdatasync", "sync"):
                patch.setattr(os, name, None)
            before = beside(path).read_bytes()
            await store.commit([Row("a", b"k", b"v")])
            assert beside(path).read_bytes() != before, "it is told before the commit returns"
    finally:
        store.close()
