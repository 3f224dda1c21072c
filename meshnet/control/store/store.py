"""The durable state of one peer: a SQLite table of (space, key) -> value.

Purpose: what a step of the gossip node decided is on disk before anybody hears of it.
Rule: ``commit`` returns only after SQLite has synced its log (WAL, synchronous=FULL). After one failed commit every
later one is refused for as long as the store is open: memory and disk may differ, and a sync is never retried.
``probe`` says when it is worth while to open the state anew.
Flow: callers queue their writes; one writer thread drains the queue into one transaction and reports to all; now and
then it makes the last good copy (`last_good`), which is used at a start that finds the file damaged.
Reference: design §6 "Persist before tell".

A database belongs to one random state id, which the key file carries too: two files that were not made
together are never used together. A file that is not ours is inspected read-only and left exactly as it was.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from meshnet.control.store import last_good, migrations, schema, store_file
from meshnet.control.store.row import PutLike, Row
from meshnet.control.store.store_file import Damaged
from meshnet.control.store.tally import Tally
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["Store", "StoreError"]

log = logging.getLogger(__name__)

MAX_WAITING: Final = 256
"""Commits that may wait for the writer at once; more callers wait for a slot."""
MAX_BATCH: Final = 128
"""Commits that share one transaction."""
KEEP_FIRST_S: Final = 10.0
KEEP_S: Final = 300.0
"""How long after the opening, and how often then, what changed goes into the last good copy; and at every end."""
_PROBE: Final = Row(schema.SPACE, b"probe", b"")

Connect = Callable[[Path], sqlite3.Connection]


class StoreError(MeshnetError):
    """A write is not durable; nothing that depends on it may be told."""


@dataclass(slots=True)
class _Job:
    puts: Sequence[PutLike] | None  # None: see whether the disk takes writes again
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Store:
    """One open database with its writer thread; ``open`` makes it, ``close`` ends it."""

    def __init__(
        self, path: Path, state_id: bytes, connection: sqlite3.Connection, tally: Tally, dial: Connect
    ) -> None:
        self.path = path
        self.state_id = state_id
        self.rolled_back = last_good.rolled_back(connection)
        """Why the state may be older than what this host has said, or None; gone with ``trust``."""
        self.copy_failure: str | None = None
        """Why the last good copy could not be made, the last time it was tried, or None."""
        self._connection = connection
        self._tally = tally
        self._connect = dial
        self._jobs: deque[_Job] = deque()
        self._wake = threading.Condition()
        self._slots = asyncio.Semaphore(MAX_WAITING)
        self._closed = False
        self._failure: str | None = None
        self._changed = True
        self._keep_at = time.monotonic() + KEEP_FIRST_S
        self._thread = threading.Thread(target=self._write, name="store", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, path: Path, state_id: bytes, create: bool, dial: Connect = store_file.connect) -> Store:
        """Open the database at `path`, which must carry `state_id` (16 bytes); with `create`, make it first.

        A damaged one gives way to its last good copy, one of an earlier version is brought to this one. Raises
        MeshnetError when the file is missing (or, with `create`, exists), damaged without a copy, of a later version,
        of another state, or cannot be written; it is then untouched.
        """
        if create:
            store_file.create(path, state_id)
        else:
            _prepare(path, state_id)
        try:
            connection = dial(path)
            try:
                tally = Tally(path, state_id, connection)
                if (why := last_good.note_lost_commits(connection, path, tally.lacking)) is not None:
                    log.warning("%s", why)
                tally.tell()
                last_good.begin(connection)
                return cls(path, state_id, connection, tally, dial)
            except BaseException:
                connection.close()
                raise
        except sqlite3.Error as error:
            raise store_file.unwritable(path, str(error)) from error

    @property
    def failure(self) -> str | None:
        """Why commits are refused since the first failed one, or None."""
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

    async def probe(self) -> None:
        """Return if the disk takes writes (again), else raise StoreError; commits stay refused after a failed one."""
        await self._submit(None)

    async def trust(self) -> None:
        """The mesh has told what a rolled-back state lacked: forget that it was one. Raises StoreError."""
        await self.commit([last_good.TRUSTED])
        self.rolled_back = None

    def close(self) -> None:
        """Finish what is queued, make the last good copy, then close the database. Later commits are refused."""
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
            with closing(store_file.read_only(self.path)) as connection:
                return connection.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise store_file.unusable(self.path, str(error)) from error

    # --- the writer thread -------------------------------------------------------------------------------------------

    def _write(self) -> None:
        """One transaction for all that waits, until closed; a copy when nothing waits and it is due."""
        while True:
            with self._wake:
                while not self._jobs and not self._closed:
                    patience = self._keep_at - time.monotonic() if self._changed else None
                    if patience is not None and patience <= 0:
                        break
                    self._wake.wait(patience)
                jobs = self._take()
                if self._closed and not jobs:
                    break
            if not jobs:
                self._keep()
                continue
            error = self._perform(jobs)
            for job in jobs:
                _resolve(job, error)
        self._finish()

    def _take(self) -> list[_Job]:
        """The next jobs that belong in one transaction; a probe stands alone."""
        jobs: list[_Job] = []
        while self._jobs and len(jobs) < MAX_BATCH:
            if jobs and (self._jobs[0].puts is None or jobs[0].puts is None):
                break
            jobs.append(self._jobs.popleft())
        return jobs

    def _perform(self, jobs: list[_Job]) -> StoreError | None:
        try:
            if jobs[0].puts is None:
                self._try_disk()
                return None
            if self._failure is None:
                self._transact([put for job in jobs for put in job.puts or ()])
                return None
        except Exception as error:
            why = self._reason(error)
            if jobs[0].puts is None:
                return _refused(self.path, why)
            self._failure = why
        return _refused(self.path, self._failure)

    def _transact(self, puts: list[PutLike]) -> None:
        if not puts:
            return
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for put in puts:
                schema.put(self._connection, put.space, put.key, put.value)
            self._tally.count(self._connection)
            self._connection.execute("COMMIT")
            self._tally.note()
            self._changed = True
        except BaseException:
            if self._connection.in_transaction:
                self._connection.rollback()
            raise

    def _try_disk(self) -> None:
        """Write and delete a row through a connection of its own; raises what does not work.

        Room is looked for beside the database first: what is tried again and again must not make its log grow.
        """
        store_file.find_room(self.path)
        with closing(self._connect(self.path)) as connection:
            for value in (_PROBE.value, None):
                schema.put(connection, _PROBE.space, _PROBE.key, value)

    def _reason(self, error: Exception) -> str:
        """Why it failed; SQLite says "disk I/O error" where the system knows that the disk is full or read-only."""
        why = f"{type(error).__name__}: {error}"
        if isinstance(error, sqlite3.Error):
            try:
                store_file.find_room(self.path)
            except OSError as cause:
                why += f" ({(cause.strerror or str(cause)).lower()})"
        return why

    def _keep(self) -> None:
        """Make the last good copy; after a failed commit there is nothing sound to copy."""
        self._keep_at = time.monotonic() + KEEP_S
        self._changed = False
        if self._failure is not None:
            return
        try:
            last_good.keep(self._connection, self.path)
            self.copy_failure = None
        except (OSError, sqlite3.Error, MeshnetError) as error:
            why = error.why if isinstance(error, Damaged) else str(error)
            if why != self.copy_failure:
                log.warning("no last good copy of %s: %s", self.path, why)
            self.copy_failure = why
            self._changed = True

    def _finish(self) -> None:
        if self._changed:
            self._keep()
        with suppress(sqlite3.Error):  # the next start then takes this one for killed
            last_good.finish(self._connection)
        self._connection.close()
        self._tally.close()


def _prepare(path: Path, state_id: bytes) -> None:
    """Leave a sound database of this version at `path`, or raise MeshnetError."""
    last_good.resume(path)
    try:
        found = store_file.inspect(path, state_id)
    except Damaged as damage:
        log.warning("%s", last_good.restore(path, state_id, damage))
        return
    if found < schema.VERSION:
        migrations.upgrade(path)
        log.info("%s was brought from version %d to %d", path.name, found, schema.VERSION)
    if (why := last_good.note_lost_log(path)) is not None:
        log.warning("%s", why)


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


def _refused(path: Path, why: str) -> StoreError:
    return StoreError(
        f"cannot write {path}",
        why,
        "free space or repair the disk; meshnet then goes on by itself",
        ExitCode.FAILED,
    )
