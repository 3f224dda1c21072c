"""The durable state of one peer: a SQLite table of (space, key) -> value.

Purpose: what a step of the gossip node decided is on disk before anybody hears of it.
Rule: ``commit`` returns only after SQLite has synced its log (WAL, synchronous=FULL); after one failed commit
every later one is refused until ``reopen``, because memory and disk may differ and a sync is never retried.
Flow: callers queue their writes; one writer thread drains the queue into one transaction and reports to all.
Reference: design §6 "Persist before tell".

A database belongs to one random state id, which the key file carries too: two files that were not made
together are never used together. A file that is not ours is inspected read-only and left exactly as it was.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meshnet.control.row import PutLike
from meshnet.errors import ExitCode, MeshnetError

SCHEMA_VERSION = 1
APPLICATION_ID = 0x6D657368  # "mesh", at offset 68 of the file
STATE_ID_SIZE = 16
MAX_WAITING = 256  # commits that may wait for the writer at once; more callers wait for a slot
MAX_BATCH = 128  # commits that share one transaction
BUSY_TIMEOUT_S = 2.0  # another process (an inspection) holds the lock
_HEADER_SIZE = 100
_MAGIC = b"SQLite format 3\0"

Connect = Callable[[Path], sqlite3.Connection]


class StoreError(MeshnetError):
    """A write is not durable; nothing that depends on it may be told."""


@dataclass(slots=True)
class _Job:
    puts: Sequence[PutLike] | None  # None: open the database anew
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing database for writing; every commit is synced before it returns."""
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw",
        uri=True,
        isolation_level=None,
        check_same_thread=False,
        timeout=BUSY_TIMEOUT_S,
    )
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
    except BaseException:
        connection.close()
        raise
    return connection


class Store:
    """One open database with its writer thread; ``open`` makes it, ``close`` ends it."""

    def __init__(self, path: Path, state_id: bytes, connection: sqlite3.Connection, dial: Connect) -> None:
        self.path = path
        self.state_id = state_id
        self._connection = connection
        self._connect = dial
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._slots = asyncio.Semaphore(MAX_WAITING)
        self._closed = False
        self._failure: str | None = None
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, state_id: bytes, create: bool, dial: Connect = connect) -> Store:
        """Open the database at `path`, which must carry `state_id` (16 bytes); with `create`, make it first.

        Raises MeshnetError when the file is missing (or, with `create`, exists), damaged, of another version
        or of another state; the file is then untouched.
        """
        if create:
            _create(path, state_id)
        _inspect(path, state_id)
        try:
            connection = dial(path)
        except sqlite3.Error as error:
            raise _unusable(path, str(error)) from error
        return cls(path, state_id, connection, dial)

    @property
    def failure(self) -> str | None:
        """Why commits are refused since the last failed one, or None."""
        return self._failure

    def load(self, space: str) -> list[tuple[bytes, bytes]]:
        """Every (key, value) of one space, by key. For starts: it reads the disk on the calling thread."""
        query = "SELECT key, value FROM kv WHERE space = ? ORDER BY key"
        return [(key, value) for key, value in self._read(query, (space,))]

    def rows(self, prefix: str) -> list[tuple[str, bytes, bytes]]:
        """Every (space, key, value) of the spaces that begin with `prefix`, in order."""
        query = "SELECT space, key, value FROM kv WHERE substr(space, 1, ?) = ? ORDER BY space, key"
        found = self._read(query, (len(prefix), prefix))
        return [(space, key, value) for space, key, value in found]

    async def commit(self, puts: Iterable[PutLike]) -> None:
        """Return once all of `puts` are durable, together or not at all; StoreError when they are not."""
        await self._submit(tuple(puts))

    async def reopen(self) -> None:
        """Open the database anew after a failed commit; what `load` then says is what is durable."""
        await self._submit(None)

    def close(self) -> None:
        """Finish what is queued, then close the database. Later commits are refused."""
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join()

    async def _submit(self, puts: Sequence[PutLike] | None) -> None:
        async with self._slots:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[None] = loop.create_future()
            with self._wake:
                if self._closed:
                    raise _refused(self.path, "the database is closed")
                self._jobs.append(_Job(puts, loop, done))
                self._wake.notify()
            await done

    def _read(self, query: str, arguments: tuple[object, ...]) -> list[tuple[Any, ...]]:
        try:
            with closing(_read_only(self.path)) as connection:
                return connection.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise _unusable(self.path, str(error)) from error

    def _write(self) -> None:
        """The writer thread: one transaction for all that waits, again and again, until closed."""
        while True:
            with self._wake:
                while not self._jobs and not self._closed:
                    self._wake.wait()
                if not self._jobs:
                    break
                jobs = self._take()
            error = self._perform(jobs)
            for job in jobs:
                _resolve(job, error)
        self._connection.close()

    def _take(self) -> list[_Job]:
        """The next jobs that belong in one transaction; a reopening stands alone."""
        jobs = [self._jobs.popleft()]
        while jobs[0].puts is not None and self._jobs and len(jobs) < MAX_BATCH:
            if self._jobs[0].puts is None:
                break
            jobs.append(self._jobs.popleft())
        return jobs

    def _perform(self, jobs: list[_Job]) -> StoreError | None:
        try:
            if jobs[0].puts is None:
                self._reopen()
                self._failure = None
                return None
            if self._failure is None:
                self._transact([put for job in jobs for put in job.puts or ()])
                return None
            return _refused(self.path, self._failure)
        except Exception as error:
            self._failure = f"{type(error).__name__}: {error}"
            return _refused(self.path, self._failure)

    def _transact(self, puts: list[PutLike]) -> None:
        if not puts:
            return
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for put in puts:
                if put.value is None:
                    execute("DELETE FROM kv WHERE space = ? AND key = ?", (put.space, put.key))
                else:
                    execute(
                        "INSERT INTO kv (space, key, value) VALUES (?, ?, ?)"
                        " ON CONFLICT (space, key) DO UPDATE SET value = excluded.value",
                        (put.space, put.key, put.value),
                    )
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def _reopen(self) -> None:
        self._connection.close()
        _inspect(self.path, self.state_id)
        self._connection = self._connect(self.path)


def _resolve(job: _Job, error: StoreError | None) -> None:
    def settle() -> None:
        if job.done.done():
            return
        if error is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(error)

    try:
        job.loop.call_soon_threadsafe(settle)
    except RuntimeError:
        pass  # the caller's loop has ended; nobody waits any more


def _create(path: Path, state_id: bytes) -> None:
    """Make a whole database beside `path`, then give it its name: a crash leaves all of it or nothing."""
    if path.exists():
        raise MeshnetError(
            f"{path} exists already",
            "this state directory belongs to a mesh, or founding one here was interrupted",
            "run `meshnet start`; if that finds no keys, remove the state directory and try again",
            ExitCode.FAILED,
        )
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        os.close(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("CREATE TABLE owner (state_id BLOB NOT NULL)")
            connection.execute(
                "CREATE TABLE kv (space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,"
                " PRIMARY KEY (space, key)) WITHOUT ROWID"
            )
            connection.execute("INSERT INTO owner VALUES (?)", (state_id,))
        fresh.rename(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except (OSError, sqlite3.Error) as error:
        raise MeshnetError(
            f"cannot create {path}",
            str(error),
            "make the state directory writable, with free space, or choose another --state-dir",
            ExitCode.FAILED,
        ) from error


def _read_only(path: Path) -> sqlite3.Connection:
    # Without a log the file alone is complete, and `immutable` keeps SQLite from making files beside it.
    log = path.with_name(path.name + "-wal")
    has_log = log.exists() and log.stat().st_size > 0
    mode = "mode=ro" if has_log else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S)


def _inspect(path: Path, state_id: bytes) -> None:
    """Raise MeshnetError unless the file is a sound database of ours and of this state; writes nothing."""
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER_SIZE)
    except FileNotFoundError as error:
        raise MeshnetError(
            f"{path} is missing",
            "the keys are there without the database that was made with them",
            "restore both files from one moment, or remove the state directory and join anew",
            ExitCode.FAILED,
        ) from error
    except OSError as error:
        raise _unusable(path, str(error)) from error
    if len(header) < _HEADER_SIZE or header[:16] != _MAGIC:
        raise _unusable(path, "it is not a database")
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        raise _unusable(path, "it is a database of another program")
    version = int.from_bytes(header[60:64], "big")
    if version != SCHEMA_VERSION:
        raise MeshnetError(
            f"{path} has version {version}",
            f"this meshnet reads version {SCHEMA_VERSION}",
            "run the meshnet release that wrote it, or remove the state directory and join anew",
            ExitCode.FAILED,
        )
    try:
        with closing(_read_only(path)) as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            owner = connection.execute("SELECT state_id FROM owner").fetchone()
    except sqlite3.Error as error:
        raise _unusable(path, str(error)) from error
    if verdict != "ok" or owner is None:
        raise _unusable(path, f"its check says: {verdict}")
    if owner[0] != state_id:
        raise MeshnetError(
            f"{path} belongs to another peer",
            "its state id differs from the key file's: the two were not made together",
            "restore both files from one moment, or remove the state directory and join anew",
            ExitCode.FAILED,
        )


def _unusable(path: Path, why: str) -> MeshnetError:
    return MeshnetError(
        f"{path} cannot be used",
        why,
        "restore it and the keys from one moment, or remove the state directory and join anew",
        ExitCode.FAILED,
    )


def _refused(path: Path, why: str) -> StoreError:
    return StoreError(
        f"cannot write {path}",
        why,
        "free space or repair the disk, then run `meshnet stop` and `meshnet start`",
        ExitCode.FAILED,
    )
