"""The database as a file: whole or not there, inspected without a trace, refused when it is not ours."""

from __future__ import annotations

import errno
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from meshnet.control.store import schema, store_file
from meshnet.control.store.store_file import Damaged
from meshnet.errors import MeshnetError

STATE = bytes(range(16))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "state.db"
    store_file.create(made, STATE)
    return made


def files(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


def test_a_new_database_is_whole_private_and_alone(path: Path) -> None:
    assert store_file.inspect(path, STATE) == schema.VERSION
    assert path.stat().st_mode & 0o777 == 0o600 and list(files(path.parent)) == ["state.db"]


def test_a_database_is_never_made_over_another(path: Path) -> None:
    before = files(path.parent)
    with pytest.raises(MeshnetError, match="exists already"):
        store_file.create(path, bytes(16))
    assert files(path.parent) == before


def test_every_commit_is_synced(path: Path) -> None:
    with closing(store_file.connect(path)) as connection:
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("version", [0, schema.VERSION + 1, 0x7FFFFFFF])
def test_another_version_is_refused_untouched_and_not_taken_for_damage(path: Path, version: int) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version={version}")
    before = files(path.parent)
    with pytest.raises(MeshnetError, match=f"has version {version}") as caught:
        store_file.inspect(path, STATE)
    assert not isinstance(caught.value, Damaged) and "release" in caught.value.fix
    assert files(path.parent) == before


def test_another_peers_and_another_programs_are_refused_untouched_and_not_taken_for_damage(path: Path) -> None:
    before = files(path.parent)
    with pytest.raises(MeshnetError, match="another peer") as caught:
        store_file.inspect(path, bytes(16))
    assert not isinstance(caught.value, Damaged) and files(path.parent) == before
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA application_id=1")
    before = files(path.parent)
    with pytest.raises(MeshnetError, match="another program") as caught:
        store_file.inspect(path, STATE)
    assert not isinstance(caught.value, Damaged) and files(path.parent) == before


@pytest.mark.parametrize("statement", ["DROP TABLE kv", "DROP TABLE owner", "DELETE FROM owner"])
def test_missing_tables_are_damage(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)
    with pytest.raises(Damaged):
        store_file.inspect(path, STATE)


def test_a_lock_or_a_failing_disk_is_not_damage() -> None:
    for code, damage in [
        (sqlite3.SQLITE_CORRUPT, True),
        (sqlite3.SQLITE_NOTADB, True),
        (sqlite3.SQLITE_IOERR_SHORT_READ, True),
        (sqlite3.SQLITE_BUSY, False),
        (sqlite3.SQLITE_IOERR_READ, False),
        (sqlite3.SQLITE_CANTOPEN, False),
    ]:
        error = sqlite3.OperationalError("said")
        error.sqlite_errorcode = code
        assert store_file._is_damage(error) is damage


def test_a_copy_takes_its_name_when_it_is_settled_and_a_failed_one_leaves_nothing(path: Path) -> None:
    target, name = path.with_name("copy"), path.with_name("named")
    with closing(store_file.connect(path)) as source:
        schema.put(source, "a", b"k", b"v")
        with closing(store_file.copied(source, target)) as copy:
            schema.put(copy, "a", b"more", b"v")
        store_file.settle(target, name)
        assert schema.get(source, "a", b"more") is None
        source.execute("BEGIN IMMEDIATE")
    with closing(sqlite3.connect(":memory:")) as gone:
        gone.close()
        with pytest.raises(sqlite3.Error):
            store_file.copied(gone, target)
    assert sorted(files(path.parent)) == ["named", "state.db"] and name.stat().st_mode & 0o777 == 0o600
    with closing(store_file.read_only(name)) as copy:
        assert schema.get(copy, "a", b"more") == b"v"


def test_room_is_looked_for_beside_the_database_and_nothing_stays(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = files(path.parent)
    store_file.find_room(path)
    assert files(path.parent) == before

    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store_file, "sync", full)
    with pytest.raises(OSError, match="No space"):
        store_file.find_room(path)
    assert files(path.parent) == before


def test_the_family_is_every_file_of_the_database_but_what_was_put_aside(path: Path) -> None:
    ours = ["state.db", "state.db-wal", "state.db-shm", "state.db.good", "state.db.damaged", "state.db.damaged-wal"]
    for name in [*ours, "state.dbx", "keys.json", "state.db.left", "state.db-wal.left"]:
        path.with_name(name).touch()
    assert [one.name for one in store_file.family(path)] == sorted(ours)
