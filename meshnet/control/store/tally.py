"""How many commits the database has taken, kept in it and beside it, so that a lost end is noticed.

Purpose: SQLite drops everything from the first broken frame of its log on, and says nothing: what was promised there
would be forgotten, and promised again.
Rule: the number is part of every transaction, and written beside the database once that is durable, without a sync of
its own. So what stands beside is never ahead of a whole database; after a loss of power it may be behind, which tells
nothing.
Flow: `Store.open` -> `Tally` -> `lacking`; per transaction `count` inside it, `note` after it.
Reference: sqlite.org/walformat.html (checksums, recovery); design §6 (rolled-back state).
"""

from __future__ import annotations

import os
import sqlite3
from hashlib import blake2s
from pathlib import Path
from typing import Final

from meshnet.control.store import schema

__all__ = ["TALLY", "Tally"]

TALLY: Final = ".tally"
"""Ends the name of the file beside the database: its state id, the number (8 bytes), a sum (8 bytes)."""
_COMMITS: Final = b"commits"
_SUM_SIZE: Final = 8
_MOST: Final = 2**63


class Tally:
    """The number of one open database. Raises sqlite3.Error; without the file beside it goes on, and tells nothing."""

    def __init__(self, path: Path, state_id: bytes, connection: sqlite3.Connection) -> None:
        self._state_id = state_id
        self._place = path.with_name(path.name + TALLY)
        found = schema.get(connection, schema.SPACE, _COMMITS)
        self._count = 0 if found is None else int.from_bytes(found, "big")
        self.lacking = max(0, self._beside() - self._count)
        """So many commits that were durable once are not there any more."""
        self._descriptor: int | None = None
        try:
            self._descriptor = os.open(self._place, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError:
            return

    def count(self, connection: sqlite3.Connection) -> None:
        """The open transaction is one more; raises sqlite3.Error."""
        schema.put(connection, schema.SPACE, _COMMITS, (self._count + 1).to_bytes(8, "big"))

    def note(self) -> None:
        """The counted transaction is durable."""
        self._count += 1
        self.tell()

    def tell(self) -> None:
        """Write beside the database what is in it; where that fails, it stays behind."""
        if self._descriptor is not None:
            try:
                os.pwrite(self._descriptor, self._encoded(self._count), 0)
            except OSError:
                pass

    def close(self) -> None:
        """End; the file stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _beside(self) -> int:
        try:
            told = self._place.read_bytes()
        except OSError:
            return 0
        number = int.from_bytes(told[len(self._state_id) : len(self._state_id) + 8], "big")
        return number if number < _MOST and told == self._encoded(number) else 0

    def _encoded(self, count: int) -> bytes:
        said = self._state_id + count.to_bytes(8, "big")
        return said + blake2s(said, digest_size=_SUM_SIZE).digest()
