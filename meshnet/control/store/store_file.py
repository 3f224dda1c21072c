"""The database as a file: made whole, inspected before anything trusts it, opened, copied.

Rule: inspecting writes nothing.  A file that is of another program, a later version or another peer is refused and left
exactly as it was; only one that is ours and broken is `Damaged`.  A file takes its name by a rename, synced before and
after: a crash leaves the old one or the new one.
Flow: `create` | `inspect` -> `connect` -> `store`; `copied` -> changes to the copy -> `settle` (`last_good`).
Reference: sqlite.org/wal.html, sqlite.org/backup.html; rename(2), fsync(2).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

from meshnet.control.store import schema
from meshnet.errors import ExitCode, MeshnetError

__all__ = [
    "Damaged",
    "connect",
    "copied",
    "create",
    "family",
    "find_room",
    "inspect",
    "log_of",
    "read_only",
    "remove",
    "settle",
    "sync",
    "unusable",
    "unwritable",
    "verdict",
]

BUSY_TIMEOUT_S: Final = 2.0
"""How long another process (an inspection) may hold the lock."""
FRESH: Final = ".new"
"""Ends the name of a file that is being written."""
TRIAL: Final = ".trial"
ROOM_B: Final = 256 * 1024
"""More than a start, and many steps of the gossip node, write."""
LEFT: Final = ".left"
"""Ends the name of what a host that left its mesh has put aside."""
_HEADER_SIZE: Final = 100
_MAGIC: Final = b"SQLite format 3\0"
_BROKEN: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""What SQLite says of a broken file, the last of one without our tables; a lock or a failing disk is not that."""
_BESIDE: Final = ("-journal", "-wal", "-shm")


class Damaged(MeshnetError):
    """The file is ours, or nobody's, and broken."""


def create(path: Path, state_id: bytes) -> None:
    """Make a whole database beside `path`, then give it its name. Raises MeshnetError; nothing is left then."""
    if path.exists():
        raise MeshnetError(
            f"{path} exists already",
            "this state directory belongs to a mesh, or founding one here was interrupted",
            "run `meshnet start`; if that finds no keys, remove the state directory and try again",
            ExitCode.FAILED,
        )
    fresh = path.with_name(path.name + FRESH)
    try:
        _make(fresh)
        with closing(sqlite3.connect(fresh, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA application_id={schema.APPLICATION_ID}")
            connection.execute(f"PRAGMA user_version={schema.VERSION}")
            for table in schema.TABLES:
                connection.execute(table)
            connection.execute("INSERT INTO owner VALUES (?)", (state_id,))
        settle(fresh, path)
    except (OSError, sqlite3.Error) as error:
        raise MeshnetError(
            f"cannot create {path}",
            str(error),
            "make the state directory writable, with free space, or choose another --state-dir",
            ExitCode.FAILED,
        ) from error


def inspect(path: Path, state_id: bytes, version: int = schema.VERSION) -> int:
    """The version of the sound database of this state at `path`, at most `version`; writes nothing.

    Raises Damaged, and MeshnetError for a file that is missing, cannot be read, or is not ours to read.
    """
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
        raise unusable(path, str(error)) from error
    if len(header) < _HEADER_SIZE or header[:16] != _MAGIC:
        raise _damaged(path, "it is not a database")
    if int.from_bytes(header[68:72], "big") != schema.APPLICATION_ID:
        raise unusable(path, "it is a database of another program")
    found = int.from_bytes(header[60:64], "big")
    if not 1 <= found <= version:
        raise MeshnetError(
            f"{path} has version {found}",
            f"this meshnet reads versions 1 to {version}",
            "run the meshnet release that wrote it, or remove the state directory and join anew",
            ExitCode.FAILED,
        )
    try:
        with closing(read_only(path)) as connection:
            wrong = verdict(connection, found)
            owner = connection.execute("SELECT state_id FROM owner").fetchone()
    except sqlite3.Error as error:
        raise (_damaged if _is_damage(error) else unusable)(path, str(error)) from error
    if wrong is not None or owner is None:
        raise _damaged(path, f"its check says: {wrong or 'no owner'}")
    if owner[0] != state_id:
        raise MeshnetError(
            f"{path} belongs to another peer",
            "its state id differs from the key file's: the two were not made together",
            "restore both files from one moment, or remove the state directory and join anew",
            ExitCode.FAILED,
        )
    return found


def verdict(connection: sqlite3.Connection, version: int) -> str | None:
    """What is wrong inside an open database of this version, or None; raises sqlite3.Error."""
    said: str = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if said != "ok":
        return " ".join(said.split())
    return schema.wrong_row(connection) if version >= schema.SUMS_SINCE else None


def connect(path: Path) -> sqlite3.Connection:
    """Open an existing database for writing; every commit is synced before it returns. Raises sqlite3.Error."""
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


def read_only(path: Path) -> sqlite3.Connection:
    """A connection to a database that nobody has open; it changes nothing. Raises sqlite3.Error."""
    # Without a log the file alone is complete, and `immutable` keeps SQLite from making files beside it.
    mode = "mode=ro" if log_of(path) is not None else "mode=ro&immutable=1"
    return sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=BUSY_TIMEOUT_S)


def log_of(path: Path) -> Path | None:
    """SQLite's log of the database, if it holds anything."""
    log = path.with_name(path.name + "-wal")
    return log if log.exists() and log.stat().st_size > 0 else None


def copied(source: sqlite3.Connection, target: Path) -> sqlite3.Connection:
    """A private copy at `target`, one file, open for changes that count once it is closed and settled.

    Raises OSError and sqlite3.Error, and then there is no copy.
    """
    _make(target)
    connection = sqlite3.connect(target, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA synchronous=OFF")  # `settle` syncs
        source.backup(connection)
        connection.execute("PRAGMA journal_mode=DELETE")
    except BaseException:
        connection.close()
        remove(target)
        raise
    return connection


def settle(fresh: Path, path: Path) -> None:
    """Make a file that was written beside `path` durable and give it that name. Raises OSError."""
    sync(fresh)
    fresh.replace(path)
    sync(path.parent)


def find_room(path: Path) -> None:
    """Write ROOM_B bytes beside the database and delete them. Raises OSError."""
    trial = path.with_name(path.name + TRIAL)
    try:
        _make(trial)
        trial.write_bytes(bytes(ROOM_B))
        sync(trial)
    finally:
        trial.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Make a file's content, or a directory's names, durable. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Delete a database and what SQLite keeps beside it, where they are."""
    for one in (path, *(path.with_name(path.name + end) for end in _BESIDE)):
        one.unlink(missing_ok=True)


def family(path: Path) -> list[Path]:
    """Every file of the database at `path` that exists, its copies included: all go where it goes."""
    found = (one for one in path.parent.glob(f"{path.name}*") if one.name[len(path.name) :][:1] in "-.")
    return sorted(one for one in found if not one.name.endswith(LEFT))


def unusable(path: Path, why: str) -> MeshnetError:
    """The file cannot be used, and nobody knows better what to do."""
    return MeshnetError(f"{path} cannot be used", why, _FIX, ExitCode.FAILED)


def unwritable(path: Path, why: str) -> MeshnetError:
    """The file is sound and cannot be written."""
    return MeshnetError(
        f"{path} cannot be written",
        why,
        "make the state directory writable, with free space, and run `meshnet start`",
        ExitCode.FAILED,
    )


def _damaged(path: Path, why: str) -> Damaged:
    return Damaged(f"{path} is damaged", why, _FIX, ExitCode.FAILED)


def _is_damage(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)  # Python's own errors: a value of no sense
    return code & 0xFF in _BROKEN or code == sqlite3.SQLITE_IOERR_SHORT_READ


def _make(path: Path) -> None:
    remove(path)
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))


_FIX: Final = "restore it and the keys from one moment, or remove the state directory and join anew"
