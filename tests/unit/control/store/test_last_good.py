"""The last good copy: sound or not made, used whole or not at all, and the state it holds marked as rolled back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from gossip.limits import U64_MAX
from meshnet.control.store import last_good, migrations, schema, store_file
from meshnet.control.store.store_file import Damaged
from meshnet.errors import MeshnetError

STATE = bytes(range(16))
DAMAGE = Damaged("it is damaged", "a cosmic ray", "mend it")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database, and its copy that lacks the last write."""
    made = tmp_path / "state.db"
    store_file.create(made, STATE)
    with closing(store_file.connect(made)) as connection:
        schema.put(connection, "gossip.own", b"incarnation", (5).to_bytes(8, "big"))
        last_good.begin(connection)
        last_good.keep(connection, made)
        schema.put(connection, "a", b"later", b"v")
    return made


def files(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


def read(path: Path, space: str, key: bytes) -> bytes | None:
    with closing(store_file.read_only(path)) as connection:
        return schema.get(connection, space, key)


def why(path: Path) -> str | None:
    with closing(store_file.read_only(path)) as connection:
        return last_good.rolled_back(connection)


def incarnation(path: Path) -> int:
    return int.from_bytes(read(path, "gossip.own", b"incarnation") or b"", "big")


def test_a_copy_is_private_sound_and_of_no_running_daemon(path: Path) -> None:
    good = path.with_name("state.db.good")
    assert store_file.inspect(good, STATE) == schema.VERSION and good.stat().st_mode & 0o777 == 0o600
    assert read(good, schema.SPACE, b"running") is None and read(path, schema.SPACE, b"running") == b"0"


def test_damage_is_never_copied_over_what_is_sound(path: Path) -> None:
    before = path.with_name("state.db.good").read_bytes()
    with closing(store_file.connect(path)) as connection:
        connection.execute("UPDATE kv SET value = x'00' WHERE space = 'a'")
        with pytest.raises(Damaged, match="wrong sum"):
            last_good.keep(connection, path)
    assert path.with_name("state.db.good").read_bytes() == before
    assert sorted(files(path.parent)) == ["state.db", "state.db.good"]


def test_a_used_copy_is_marked_and_begins_beyond_what_may_have_been_said(path: Path) -> None:
    broken = path.read_bytes()
    said = last_good.restore(path, STATE, DAMAGE)
    assert "a cosmic ray" in said and "state.db.damaged" in said and why(path) == said
    assert incarnation(path) == 5 + last_good.MARGIN and read(path, "a", b"later") is None
    assert store_file.inspect(path, STATE) == schema.VERSION
    assert path.with_name("state.db.damaged").read_bytes() == broken
    assert sorted(files(path.parent)) == ["state.db", "state.db.damaged", "state.db.good"]


def test_the_log_of_the_broken_one_goes_with_it(path: Path) -> None:
    path.with_name("state.db-wal").write_bytes(b"its log")
    last_good.restore(path, STATE, DAMAGE)
    assert path.with_name("state.db.damaged-wal").read_bytes() == b"its log"
    assert not path.with_name("state.db-wal").exists()


def test_the_greatest_incarnation_is_not_passed(path: Path) -> None:
    with closing(store_file.connect(path)) as connection:
        schema.put(connection, "gossip.own", b"incarnation", U64_MAX.to_bytes(8, "big"))
        last_good.keep(connection, path)
    last_good.restore(path, STATE, DAMAGE)
    assert incarnation(path) == U64_MAX


def test_without_a_copy_of_this_state_nothing_changes(path: Path) -> None:
    before = files(path.parent)
    with pytest.raises(MeshnetError, match="state id differs"):
        last_good.restore(path, bytes(16), DAMAGE)
    assert files(path.parent) == before
    path.with_name("state.db.good").unlink()
    with pytest.raises(Damaged, match="cosmic"):
        last_good.restore(path, STATE, DAMAGE)


def test_a_copy_that_cannot_take_its_place_leaves_everything_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(connection: sqlite3.Connection, wanted: migrations.Schema) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(migrations, "migrate", full)
    before = files(path.parent)
    with pytest.raises(MeshnetError, match="disk is full"):
        last_good.restore(path, STATE, DAMAGE)
    assert files(path.parent) == before


@pytest.mark.parametrize("crash", range(6))
def test_a_crash_while_a_copy_takes_its_place_is_finished_or_forgotten(
    path: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    """The process dies at the n-th sync: the next start finds the broken one, or the whole copy."""

    class Crash(BaseException):
        pass

    left = crash
    sync = store_file.sync

    def dying(path: Path) -> None:
        nonlocal left
        if left == 0:
            raise Crash
        left -= 1
        sync(path)

    path.write_bytes(b"broken")
    monkeypatch.setattr(store_file, "sync", dying)
    try:
        last_good.restore(path, STATE, DAMAGE)
    except Crash:
        pass
    monkeypatch.undo()
    last_good.resume(path)
    if path.read_bytes() == b"broken":
        last_good.restore(path, STATE, DAMAGE)
    assert store_file.inspect(path, STATE) == schema.VERSION and why(path) is not None
    assert path.with_name("state.db.damaged").read_bytes() == b"broken"
    assert sorted(files(path.parent)) == ["state.db", "state.db.damaged", "state.db.good"]


def test_an_orderly_end_and_a_whole_log_are_no_rollback(path: Path) -> None:
    with closing(store_file.connect(path)) as connection:
        last_good.begin(connection)
        assert last_good.note_lost_log(path) is None
        last_good.finish(connection)
    assert last_good.note_lost_log(path) is None and why(path) is None


def test_a_log_that_is_gone_is_noticed_once(path: Path) -> None:
    said = last_good.note_lost_log(path)  # the fixture began and never finished
    assert said is not None and why(path) == said and incarnation(path) == 5 + last_good.MARGIN
    assert last_good.note_lost_log(path) is None


def test_an_empty_log_counts_as_gone(path: Path) -> None:
    path.with_name("state.db-wal").touch()
    assert last_good.note_lost_log(path) is not None
