"""The last good copy of the database, and what happens when the stored state turns out to be older than it was.

Purpose: a broken file costs what was written since the last copy, not the host's membership.
Rule: a copy is checked before it replaces the last one, so damage is never copied over what is sound. State that may be
older than what this host has said is marked as rolled back in the transaction that raises its incarnation beyond every
one that may have been used since: nothing new can then be said under an old one, and the mark stays until TRUSTED is
written.
Flow: `keep` (the store's writer, now and then) -> NAME.good; at a start `resume`, for a broken file `restore` (which
puts the broken one aside as NAME.damaged), for a lost log `note_lost_log`, for a lost end of it `note_lost_commits`;
`begin` and `finish` bracket a run.
Reference: design §6 (rolled-back state); gossip/state/replica.py.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from gossip.events import SPACE_OWN
from gossip.limits import U64_MAX
from meshnet.control.store import migrations, schema, store_file
from meshnet.control.store.row import Row
from meshnet.control.store.store_file import Damaged
from meshnet.errors import ExitCode, MeshnetError

__all__ = [
    "DAMAGED",
    "GOOD",
    "MARGIN",
    "TRUSTED",
    "begin",
    "finish",
    "keep",
    "note_lost_commits",
    "note_lost_log",
    "restore",
    "resume",
    "rolled_back",
]

GOOD: Final = ".good"
DAMAGED: Final = ".damaged"
MARGIN: Final = 1 << 20
"""More incarnations than a host can have begun since any copy: renewals are paced at 2 s, starts take longer."""
_READY: Final = ".restored"
"""Ends the name of a used copy that has not taken the database's name yet."""
_ROLLED_BACK: Final = b"rolled back"
_RUNNING: Final = b"running"
_INCARNATION: Final = b"incarnation"
TRUSTED: Final = Row(schema.SPACE, _ROLLED_BACK, None)
"""The mesh has told what a rolled-back state lacked."""


def keep(connection: sqlite3.Connection, path: Path) -> None:
    """Make what the open database at `path` holds the last good copy, durable on return.

    Raises OSError, sqlite3.Error and, for a database that is broken, Damaged; the copy there was then stays.
    """
    fresh = path.with_name(path.name + GOOD + store_file.FRESH)
    try:
        with closing(store_file.copied(connection, fresh)) as copy:
            schema.put(copy, schema.SPACE, _RUNNING, None)
            wrong = store_file.verdict(copy, schema.VERSION)
        if wrong is not None:
            raise Damaged(
                f"{path} is damaged",
                wrong,
                "run `meshnet stop` and `meshnet start`: it then uses its last good copy",
                ExitCode.FAILED,
            )
        store_file.settle(fresh, path.with_name(path.name + GOOD))
    except BaseException:
        with suppress(OSError):
            store_file.remove(fresh)
        raise


def restore(path: Path, state_id: bytes, damage: Damaged, wanted: migrations.Schema = migrations.CURRENT) -> str:
    """Put the broken database at `path` aside and the last good copy in its place; returns what happened, one line.

    Raises MeshnetError when there is no sound copy of this state, or no room; all files are then as they were.
    """
    good, ready = path.with_name(path.name + GOOD), path.with_name(path.name + _READY)
    if not good.exists():
        raise damage
    try:
        store_file.inspect(good, state_id, wanted.version)
    except MeshnetError as error:
        raise MeshnetError(
            damage.what, f"{damage.why}; its last good copy neither: {error.why}", damage.fix, damage.code
        ) from error
    try:
        made = datetime.fromtimestamp(good.stat().st_mtime, UTC).isoformat(timespec="seconds")
        aside = path.name + DAMAGED
        why = f"{path.name} was damaged ({damage.why}) and is kept as {aside}; its last good copy of {made} is used"
        with closing(store_file.read_only(good)) as source, closing(store_file.copied(source, ready)) as copy:
            migrations.migrate(copy, wanted)
            _mark(copy, why)
        store_file.sync(ready)
        store_file.sync(path.parent)
        _exchange(path, ready)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            if path.exists():  # else `ready` is what the next start goes on with
                store_file.remove(ready)
        raise MeshnetError(
            damage.what,
            f"{damage.why}; its last good copy could not take its place: {error}",
            "make the state directory writable, with free space, and start again",
            damage.code,
        ) from error
    return why


def resume(path: Path) -> None:
    """Finish, or forget, what a crash during `restore` left. Raises MeshnetError."""
    ready = path.with_name(path.name + _READY)
    try:
        if ready.exists() and not path.exists():
            _exchange(path, ready)
        elif ready.exists():
            store_file.remove(ready)
    except OSError as error:
        raise store_file.unwritable(path, str(error)) from error


def note_lost_log(path: Path) -> str | None:
    """Mark the sound database at `path` as rolled back if the log that a killed daemon left is gone; returns why.

    Raises MeshnetError when it cannot be marked.
    """
    if store_file.log_of(path) is not None:
        return None
    try:
        with closing(store_file.read_only(path)) as connection:
            if schema.get(connection, schema.SPACE, _RUNNING) is None:
                return None
        why = f"{path.name} lacks its last writes: the daemon was killed, and {path.name}-wal is gone"
        with closing(store_file.connect(path)) as connection:
            _mark(connection, why)
        return why
    except sqlite3.Error as error:
        raise store_file.unwritable(path, str(error)) from error


def note_lost_commits(connection: sqlite3.Connection, path: Path, count: int) -> str | None:
    """Mark the open database as rolled back if it lacks so many commits, unless that is known; returns why.

    Raises sqlite3.Error.
    """
    if count == 0 or rolled_back(connection) is not None:
        return None
    why = f"{path.name} lacks its last {count} commits: {path.name}-wal was damaged, or an older file took its place"
    _mark(connection, why)
    return why


def begin(connection: sqlite3.Connection) -> None:
    """The daemon runs: from here on the log is never empty, until `finish`. Raises sqlite3.Error."""
    before = schema.get(connection, schema.SPACE, _RUNNING)
    schema.put(connection, schema.SPACE, _RUNNING, b"1" if before == b"0" else b"0")  # the same would not be written
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")  # the mark is in the file itself, not only in the log


def finish(connection: sqlite3.Connection) -> None:
    """All is written; closing the connection puts the log into the file. Raises sqlite3.Error."""
    schema.put(connection, schema.SPACE, _RUNNING, None)


def rolled_back(connection: sqlite3.Connection) -> str | None:
    """Why this state may be older than what this host has said, or None. Raises sqlite3.Error."""
    found = schema.get(connection, schema.SPACE, _ROLLED_BACK)
    return None if found is None else found.decode(errors="replace")


def _exchange(path: Path, ready: Path) -> None:
    """Put the database aside and `ready` in its place; a crash between is finished by `resume`."""
    aside = path.with_name(path.name + DAMAGED)
    log = path.with_name(path.name + "-wal")
    if path.exists():
        store_file.remove(aside)
        path.rename(aside)
        store_file.sync(path.parent)
    if log.exists():  # it is the broken one's, and would be taken for the new one's
        log.rename(aside.with_name(aside.name + "-wal"))
    store_file.remove(path)
    store_file.settle(ready, path)


def _mark(connection: sqlite3.Connection, why: str) -> None:
    found = schema.get(connection, SPACE_OWN, _INCARNATION)
    above = min(U64_MAX - MARGIN, 0 if found is None else int.from_bytes(found, "big")) + MARGIN
    connection.execute("BEGIN IMMEDIATE")
    schema.put(connection, SPACE_OWN, _INCARNATION, above.to_bytes(8, "big"))
    schema.put(connection, schema.SPACE, _ROLLED_BACK, why.encode())
    schema.put(connection, schema.SPACE, _RUNNING, None)
    connection.execute("COMMIT")
