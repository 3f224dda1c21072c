"""Databases of earlier versions become ours: every step or none, every row kept."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from meshnet.control.store import migrations, schema, store_file
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import MeshnetError

STATE = bytes(range(16))
ROWS = [("a", bytes([n]), bytes([n]) * 200) for n in range(100)] + [("gossip.own", b"incarnation", bytes(8))]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database as version 1 left it after an orderly end."""
    made = tmp_path / "state.db"
    with closing(sqlite3.connect(made, isolation_level=None)) as connection:
        connection.execute("PRAGMA application_id=1835365224")
        connection.execute("PRAGMA user_version=1")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE owner (state_id BLOB NOT NULL)")
        connection.execute(
            "CREATE TABLE kv (space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
            " PRIMARY KEY (space, key)) WITHOUT ROWID"
        )
        connection.execute("INSERT INTO owner VALUES (?)", (STATE,))
        connection.executemany("INSERT INTO kv VALUES (?, ?, ?)", ROWS)
    return made


def content(path: Path) -> list[tuple[object, ...]]:
    with closing(store_file.read_only(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchall()
        return [*version, *connection.execute("SELECT space, key, value FROM kv ORDER BY space, key")]


def test_version_1_becomes_ours_with_every_row(path: Path) -> None:
    assert store_file.inspect(path, STATE) == 1
    store = Store.open(path, STATE, create=False)
    try:
        assert [*store.rows("a"), *store.rows("gossip")] == ROWS and store.rolled_back is None
        asyncio.run(store.commit([Row("a", b"new", b"v")]))
    finally:
        store.close()
    assert store_file.inspect(path, STATE) == schema.VERSION
    assert ("a", b"new", b"v") in content(path)


def test_version_1_with_the_log_of_a_killed_daemon_keeps_what_is_in_the_log(path: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    killed.mkdir()
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("INSERT INTO kv VALUES ('a', x'ffff', x'01')")
        for end in ("", "-wal"):
            (killed / f"state.db{end}").write_bytes(path.with_name(f"state.db{end}").read_bytes())
    migrations.upgrade(killed / "state.db")
    assert store_file.inspect(killed / "state.db", STATE) == schema.VERSION
    assert ("a", b"\xff\xff", b"\x01") in content(killed / "state.db")


def fail(connection: sqlite3.Connection) -> None:
    connection.execute("DELETE FROM kv")
    raise sqlite3.OperationalError("database or disk is full")


def spoil(connection: sqlite3.Connection) -> None:
    migrations.CURRENT.steps[1](connection)
    connection.execute("UPDATE kv SET value = x'00' WHERE space = 'a'")


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ({}, "no way from version 1"),
        ({1: fail}, "disk is full"),
        ({1: spoil}, "after the change"),
    ],
)
def test_a_step_that_fails_changes_nothing(path: Path, steps: dict[int, migrations.Step], says: str) -> None:
    before = content(path)
    with pytest.raises(MeshnetError, match=says) as caught:
        migrations.upgrade(path, migrations.Schema(2, steps))
    assert "cannot be brought to version 2" in caught.value.what
    assert content(path) == before
    migrations.upgrade(path)
    assert store_file.inspect(path, STATE) == schema.VERSION


def test_several_steps_are_one_transaction(path: Path) -> None:
    later = {1: migrations.CURRENT.steps[1], 2: fail}
    before = content(path)
    with pytest.raises(MeshnetError):
        migrations.upgrade(path, migrations.Schema(3, later))
    assert content(path) == before
    migrations.upgrade(path, migrations.Schema(3, {**later, 2: lambda connection: None}))
    assert content(path)[0] == (3,)
    with pytest.raises(MeshnetError, match="has version 3"):
        Store.open(path, STATE, create=False)


def test_every_version_has_a_step() -> None:
    assert sorted(migrations.CURRENT.steps) == list(range(1, schema.VERSION))
