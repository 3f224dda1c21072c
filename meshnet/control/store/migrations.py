"""How a database of an earlier version becomes one of this version.

Rule: every step from the file's version to ours, or none: they run in one transaction, whose outcome is checked before
it is committed. A version without a step to the next is refused.
Flow: `store_file.inspect` says the version -> `upgrade`. A new step is one more entry of CURRENT, and one more test
that makes a database as the version before made it.
Reference: sqlite.org/pragma.html (user_version).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshnet.control.store import schema, store_file
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["CURRENT", "Schema", "migrate", "upgrade"]

Step = Callable[[sqlite3.Connection], None]
"""Changes an open database from one version to the next, inside a transaction."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The version that is wanted, and from each earlier version the step to the next."""

    version: int
    steps: Mapping[int, Step]


def _add_sums(connection: sqlite3.Connection) -> None:
    connection.create_function("checksum", 3, schema.checksum, deterministic=True)
    connection.execute("ALTER TABLE kv RENAME TO unsummed")
    connection.execute(schema.KV)
    connection.execute("INSERT INTO kv SELECT space, key, value, checksum(space, key, value) FROM unsummed")
    connection.execute("DROP TABLE unsummed")


CURRENT: Final = Schema(schema.VERSION, {1: _add_sums})


def upgrade(path: Path, wanted: Schema = CURRENT) -> None:
    """Bring the sound database at `path` to the wanted version.

    Raises MeshnetError, and then it is of the version it had, with every row.
    """
    try:
        with closing(store_file.connect(path)) as connection:
            migrate(connection, wanted)
    except sqlite3.Error as error:
        raise MeshnetError(
            f"{path} cannot be brought to version {wanted.version}",
            str(error),
            "make the state directory writable, with as much free space as the database takes, and start again",
            ExitCode.FAILED,
        ) from error


def migrate(connection: sqlite3.Connection, wanted: Schema = CURRENT) -> None:
    """Run every missing step in one transaction and check the outcome; raises sqlite3.Error, and nothing changed."""
    found = connection.execute("PRAGMA user_version").fetchone()[0]
    if found == wanted.version:
        return
    missing = [version for version in range(found, wanted.version) if version not in wanted.steps]
    if missing or found > wanted.version:
        raise sqlite3.DatabaseError(f"there is no way from version {found} to {wanted.version}")
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in range(found, wanted.version):
            wanted.steps[version](connection)
        connection.execute(f"PRAGMA user_version={wanted.version}")
        wrong = store_file.verdict(connection, wanted.version)
        if wrong is not None:
            raise sqlite3.DatabaseError(f"after the change its check says: {wrong}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.rollback()
        raise
