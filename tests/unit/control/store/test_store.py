"""The store: durable before reported, all waiters told of a failure, foreign files left alone, damage survived."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meshnet.control.store import schema, store_file
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store, StoreError
from meshnet.errors import MeshnetError

STATE = bytes(range(16))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[Store]:
    opened = Store.open(path, STATE, create=True)
    yield opened
    opened.close()


class Frail(sqlite3.Connection):
    """A connection whose statements fail, or are counted, on demand."""

    failing = ""
    begins = 0

    def execute(self, statement: str, *arguments: object) -> sqlite3.Cursor:
        if self.failing and statement.startswith(self.failing):
            raise sqlite3.OperationalError("disk I/O error")
        if statement.startswith("BEGIN"):
            Frail.begins += 1
        return super().execute(statement, *arguments)  # type: ignore[arg-type]


def frail(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, factory=Frail)
    connection.execute("PRAGMA synchronous=FULL")
    return connection


def files(directory: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in directory.iterdir()}


async def test_what_is_committed_is_there_after_a_restart(path: Path) -> None:
    store = Store.open(path, STATE, create=True)
    await store.commit([Row("a", b"2", b"two"), Row("a", b"1", b"one"), Row("b", b"1", b"other")])
    await store.commit([Row("a", b"2", None), Row("a", b"1", b"uno")])
    assert store.load("a") == [(b"1", b"uno")]
    store.close()
    again = Store.open(path, STATE, create=False)
    try:
        assert again.load("a") == [(b"1", b"uno")]
        assert again.rows("a") == [("a", b"1", b"uno")]
        assert again.rows("b") == [("b", b"1", b"other")]
    finally:
        again.close()


async def test_a_commit_is_readable_before_close_by_another_reader(store: Store, path: Path) -> None:
    await store.commit([Row("a", b"k", b"v")])
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as reader:
        assert reader.execute("SELECT value FROM kv WHERE space = 'a'").fetchall() == [(b"v",)]


def test_the_writer_syncs_every_commit(store: Store) -> None:
    connection = store._connection
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_the_file_is_private(store: Store, path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


async def test_concurrent_commits_share_a_transaction(path: Path) -> None:
    Store.open(path, STATE, create=True).close()
    store = Store.open(path, STATE, create=False, dial=frail)
    try:
        Frail.begins = 0
        with store._wake:  # the writer cannot take jobs meanwhile, as if a sync were under way
            tasks = [asyncio.create_task(store.commit([Row("a", bytes([n]), b"v")])) for n in range(100)]
            turn = asyncio.get_running_loop().create_future()
            asyncio.get_running_loop().call_soon(turn.set_result, None)
            await turn
        await asyncio.gather(*tasks)
        assert len(store.load("a")) == 100
        assert Frail.begins < 5
    finally:
        store.close()


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "COMMIT"])
async def test_a_failed_commit_tells_every_waiter_and_every_later_one_is_refused(path: Path, statement: str) -> None:
    Store.open(path, STATE, create=True).close()
    store = Store.open(path, STATE, create=False, dial=frail)
    try:
        await store.commit([Row("a", b"before", b"1")])
        connection = store._connection
        assert isinstance(connection, Frail)
        connection.failing = statement
        outcomes = await asyncio.gather(
            *(store.commit([Row("a", bytes([n]), b"v")]) for n in range(10)), return_exceptions=True
        )
        assert [type(outcome) for outcome in outcomes] == [StoreError] * 10
        connection.failing = ""
        with pytest.raises(StoreError, match="disk I/O error"):
            await store.commit([Row("a", b"after", b"1")])
        await store.probe()
        assert store.failure is not None, "memory may be ahead of the disk for good"
        with pytest.raises(StoreError, match="disk I/O error"):
            await store.commit([Row("a", b"after", b"1")])
    finally:
        store.close()
    again = Store.open(path, STATE, create=False)
    try:
        assert again.load("a") == [(b"before", b"1")]
        await again.commit([Row("a", b"after", b"1")])
    finally:
        again.close()


def room_for(pages: int) -> Callable[[Path], sqlite3.Connection]:
    """Connections to a database that may not grow any more: SQLite answers as on a full disk."""

    def dial(path: Path) -> sqlite3.Connection:
        connection = store_file.connect(path)
        connection.execute(f"PRAGMA max_page_count={pages}")
        return connection

    return dial


async def test_a_full_disk_refuses_and_says_so_and_the_probe_tells_when_there_is_room_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Store.open(path, STATE, create=True).close()
    pages = 6
    store = Store.open(path, STATE, create=False, dial=lambda path: room_for(pages)(path))
    try:
        await store.commit([Row("a", b"before", b"1")])
        with pytest.raises(StoreError, match="full") as caught:
            await store.commit([Row("a", b"big", bytes(100_000))])
        assert "by itself" in caught.value.fix and store.failure is not None and "full" in store.failure
        with monkeypatch.context() as patch, pytest.raises(StoreError, match="No space left"):
            patch.setattr(store_file, "find_room", full)
            await store.probe()
        assert store.load("a") == [(b"before", b"1")], "what is stored can be read meanwhile"
        pages = 1000
        await store.probe()
        left = [key for key, _ in store.load(schema.SPACE)]
        assert left == [b"commits", b"running"], "the probe leaves nothing"
    finally:
        store.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_disk_that_is_really_full_is_survived(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True).returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        asyncio.run(survive_a_full_disk(disk))
    finally:
        subprocess.run(["umount", disk], check=True)


async def survive_a_full_disk(disk: Path) -> None:
    path = disk / "state.db"
    store = Store.open(path, STATE, create=True)
    try:
        await store.commit([Row("a", b"k", b"v")])
        fill(disk / "ballast")
        with pytest.raises(StoreError):
            for n in range(100):
                await store.commit([Row("a", bytes([n]), bytes(10_000))])
        with pytest.raises(StoreError):
            await store.probe()
        (disk / "ballast").unlink()
        await store.probe()
        survived = store.load("a")
    finally:
        store.close()
    again = Store.open(path, STATE, create=False)
    try:
        assert again.load("a") == survived and (b"k", b"v") in survived and again.rolled_back is None
        await again.commit([Row("a", b"more", bytes(10_000))])
    finally:
        again.close()


def fill(ballast: Path) -> None:
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC


def test_a_database_that_cannot_be_written_is_refused_at_the_start(path: Path) -> None:
    Store.open(path, STATE, create=True).close()

    def read_only(path: Path) -> sqlite3.Connection:
        connection = store_file.connect(path)
        connection.execute("PRAGMA query_only=ON")
        return connection

    before = files(path.parent)
    with pytest.raises(MeshnetError, match="cannot be written") as caught:
        Store.open(path, STATE, create=False, dial=read_only)
    assert "writable" in caught.value.fix
    assert files(path.parent) == before


async def test_a_database_that_turned_read_only_fails_the_commit(store: Store) -> None:
    store._connection.execute("PRAGMA query_only=ON")
    with pytest.raises(StoreError):
        await store.commit([Row("a", b"k", b"v")])
    assert store.load("a") == []


async def test_a_closed_store_refuses(store: Store) -> None:
    store.close()
    with pytest.raises(StoreError, match="closed"):
        await store.commit([Row("a", b"k", b"v")])


async def test_callers_beyond_the_bound_wait_and_are_served(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_slots", asyncio.Semaphore(2))
    await asyncio.gather(*(store.commit([Row("a", bytes([n]), b"v")]) for n in range(50)))
    assert len(store.load("a")) == 50


def make(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def garbage(path: Path) -> None:
    path.write_bytes(b"not a database " * 1000)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def truncated(path: Path) -> None:
    Store.open(path, STATE, create=True).close()
    path.write_bytes(path.read_bytes()[:-5000])
    path.with_name("state.db.good").unlink()


def foreign(path: Path) -> None:
    make(path, "CREATE TABLE kv (space, key, value)")


def newer(path: Path) -> None:
    Store.open(path, STATE, create=True).close()
    make(path, "PRAGMA user_version=3")


def stranger(path: Path) -> None:
    Store.open(path, bytes(16), create=True).close()


@pytest.mark.parametrize("spoil", [garbage, empty, truncated, foreign, newer, stranger])
def test_a_file_that_is_not_ours_is_refused_and_untouched(path: Path, spoil: object) -> None:
    assert callable(spoil)
    spoil(path)
    before = files(path.parent)
    with pytest.raises(MeshnetError) as caught:
        Store.open(path, STATE, create=False)
    assert files(path.parent) == before
    assert caught.value.what and caught.value.why and "join anew" in caught.value.fix


async def test_a_strangers_database_with_an_unfinished_log_is_untouched(path: Path, tmp_path: Path) -> None:
    stranger_store = Store.open(path, bytes(16), create=True)
    await stranger_store.commit([Row("a", b"k", b"v")])
    copy = tmp_path / "copy"  # what a killed process leaves: the file and its log
    copy.mkdir()
    for suffix in ("", "-wal"):
        (copy / f"state.db{suffix}").write_bytes((tmp_path / f"state.db{suffix}").read_bytes())
    stranger_store.close()
    before = files(copy)
    with pytest.raises(MeshnetError, match="another peer"):
        Store.open(copy / "state.db", STATE, create=False)
    after = files(copy)
    assert {name: after[name] for name in before} == before


async def test_a_log_left_by_a_killed_process_is_read(path: Path, tmp_path: Path) -> None:
    killed = Store.open(path, STATE, create=True)
    await killed.commit([Row("a", b"k", b"v")])
    copy = tmp_path / "copy"
    copy.mkdir()
    for suffix in ("", "-wal"):
        (copy / f"state.db{suffix}").write_bytes((tmp_path / f"state.db{suffix}").read_bytes())
    killed.close()
    store = Store.open(copy / "state.db", STATE, create=False)
    try:
        assert store.load("a") == [(b"k", b"v")]
    finally:
        store.close()


def test_a_missing_file_is_an_error_and_is_not_created(path: Path) -> None:
    with pytest.raises(MeshnetError, match="missing"):
        Store.open(path, STATE, create=False)
    assert files(path.parent) == {}


def test_an_existing_file_is_never_founded_over(store: Store, path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(MeshnetError, match="exists already"):
        Store.open(path, STATE, create=True)
    assert path.read_bytes() == before


def test_a_directory_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MeshnetError, match="cannot create"):
        Store.open(tmp_path / "absent" / "state.db", STATE, create=True)


def test_what_an_interrupted_founding_left_is_replaced(path: Path) -> None:
    path.with_name("state.db.new").write_bytes(b"half")
    Store.open(path, STATE, create=True).close()
    assert sorted(files(path.parent)) == ["state.db", "state.db.good", "state.db.tally"]
