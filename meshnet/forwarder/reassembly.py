"""Trains that did not arrive whole in one buffer: slices wait here until their record can be opened.

Headers are unauthenticated until the record opens, so an entry is keyed by the record's additional data: a forged
field makes an entry of its own and cannot disturb the true one.  A slice keeps its first and one differing datagram
(ENTRY_OPENS opens at most per entry), every session and the whole table are bounded in bytes, and what is not
complete after EXPIRE_S is dropped.
"""

from itertools import product
from typing import Final

__all__ = ["ENTRY_OPENS", "EXPIRE_S", "SESSION_BYTES", "TABLE_BYTES", "Entry", "Reassembly"]

SESSION_BYTES: Final = 2 << 20
TABLE_BYTES: Final = 16 << 20
EXPIRE_S: Final = 0.2
ENTRY_OPENS: Final = 3
ENTRY_OVERHEAD: Final = 512
PIECE_OVERHEAD: Final = 8
"""Bytes an entry and each place for a slice are charged for, so that many tiny forged slices are bounded too."""


class Entry:
    """The slices of one record so far."""

    __slots__ = ("alternates", "born", "charged", "missing", "opens", "session", "slices")

    def __init__(self, session: int, slices: int, born: float) -> None:
        self.session = session
        self.slices: list[bytes | None] = [None] * slices
        self.missing = slices
        self.alternates: dict[int, bytes] = {}
        self.born = born
        self.opens = 0
        self.charged = 0

    def candidates(self) -> "list[bytes]":
        """The ciphertexts to try, the first arrivals first: at most ENTRY_OPENS over the entry's life."""
        whole = [piece for piece in self.slices if piece is not None]
        if not self.alternates:
            return [b"".join(whole)] if self.opens < ENTRY_OPENS else []
        choices = [
            (piece, self.alternates[at]) if at in self.alternates else (piece,) for at, piece in enumerate(whole)
        ]
        found: list[bytes] = []
        for pieces in product(*choices):
            if len(found) >= ENTRY_OPENS - self.opens:
                break
            found.append(b"".join(pieces))
        return found


class Reassembly:
    """All incomplete records of all sessions, oldest first."""

    __slots__ = ("_by_session", "_entries", "_table")

    def __init__(self) -> None:
        self._entries: dict[bytes, Entry] = {}
        self._by_session: dict[int, int] = {}
        self._table = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        """What the table is charged with now."""
        return self._table

    def add(self, key: bytes, session: int, number: int, slices: int, piece: bytes, now: float) -> Entry | None:
        """Keep a slice; return the entry once every slice is there, else None.  Raises OverflowError at a bound."""
        entry = self._entries.get(key)
        if entry is None:
            charge = len(piece) + ENTRY_OVERHEAD + slices * PIECE_OVERHEAD
            self._charge(session, charge)
            entry = self._entries[key] = Entry(session, slices, now)
            entry.charged += charge
        else:
            held = entry.slices[number]
            if held is not None:
                if held == piece or number in entry.alternates:
                    return None
                self._charge(session, len(piece) + PIECE_OVERHEAD)
                entry.charged += len(piece) + PIECE_OVERHEAD
                entry.alternates[number] = piece
                return entry if entry.missing == 0 else None
            self._charge(session, len(piece))
            entry.charged += len(piece)
        entry.slices[number] = piece
        entry.missing -= 1
        return entry if entry.missing == 0 else None

    def remove(self, key: bytes) -> None:
        """Forget an entry (opened, or tried often enough); unknown keys are ignored."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._table -= entry.charged
        left = self._by_session[entry.session] - entry.charged
        if left:
            self._by_session[entry.session] = left
        else:
            del self._by_session[entry.session]

    def expire(self, now: float) -> int:
        """Drop what waited longer than EXPIRE_S; return how many records that were."""
        gone = 0
        for key, entry in list(self._entries.items()):
            if now - entry.born < EXPIRE_S:
                break
            self.remove(key)
            gone += 1
        return gone

    def _charge(self, session: int, size: int) -> None:
        held = self._by_session.get(session, 0)
        if held + size > SESSION_BYTES or self._table + size > TABLE_BYTES:
            raise OverflowError
        self._by_session[session] = held + size
        self._table += size
