"""What the database looks like inside: its version, its tables, and the sum that every row carries.

Purpose: one place that says how rows are kept; `migrations` says how older ones become these.
Rule: SQLite's own checks find pages that were torn or exchanged, not a bit that flipped inside a value, so each row
carries a sum of its own; a row whose sum is wrong counts as damage.
Flow: `store_file` makes and checks the tables, `store` reads and writes rows with the statements here.
Reference: sqlite.org/fileformat2.html (application id, user version); docs/glossary.md.
"""

from __future__ import annotations

import sqlite3
from hashlib import blake2s
from typing import Final

__all__ = ["APPLICATION_ID", "KV", "SPACE", "SUMS_SINCE", "TABLES", "VERSION", "checksum", "get", "put", "wrong_row"]

VERSION: Final = 2
SUMS_SINCE: Final = 2
"""The first version whose rows carry sums."""
APPLICATION_ID: Final = 0x6D657368  # "mesh", at offset 68 of the file
_SUM_SIZE: Final = 8

KV: Final = (
    "CREATE TABLE kv (space TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL, sum BLOB NOT NULL,"
    " PRIMARY KEY (space, key)) WITHOUT ROWID"
)
TABLES: Final = ("CREATE TABLE owner (state_id BLOB NOT NULL)", KV)
SPACE: Final = "store"
"""The rows that the store keeps about itself."""
_UPSERT: Final = (
    "INSERT INTO kv (space, key, value, sum) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (space, key) DO UPDATE SET value = excluded.value, sum = excluded.sum"
)
_DELETE: Final = "DELETE FROM kv WHERE space = ? AND key = ?"


def checksum(space: str, key: bytes, value: bytes) -> bytes:
    """The sum of one row, 8 bytes: against accidents, not against an attacker, who could write it too."""
    name = space.encode()
    sizes = len(name).to_bytes(2, "big") + len(key).to_bytes(4, "big")
    return blake2s(sizes + name + key + value, digest_size=_SUM_SIZE).digest()


def put(connection: sqlite3.Connection, space: str, key: bytes, value: bytes | None) -> None:
    """Write one row with its sum inside the transaction that is open; None deletes it."""
    if value is None:
        connection.execute(_DELETE, (space, key))
    else:
        connection.execute(_UPSERT, (space, key, value, checksum(space, key, value)))


def get(connection: sqlite3.Connection, space: str, key: bytes) -> bytes | None:
    """The value of one row; raises sqlite3.Error."""
    found = connection.execute("SELECT value FROM kv WHERE space = ? AND key = ?", (space, key)).fetchone()
    return None if found is None else found[0]


def wrong_row(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the first row whose sum does not fit, or None; raises sqlite3.Error."""
    for space, key, value, total in connection.execute("SELECT CAST(space AS BLOB), key, value, sum FROM kv"):
        try:
            fits = total == checksum(space.decode(), key, value)
        except (TypeError, ValueError):  # what flipped was the type, or the name is no text any more
            fits = False
        if not fits:
            return f"a row of {space!r:.60} has a wrong sum"
    return None
