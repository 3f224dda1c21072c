"""Trains that did not arrive whole in one buffer: slices wait here until their record can be opened.

Headers are unauthenticated until the record opens, so an entry is keyed by the record's additional data: a forged
field makes an entry of its own and cannot disturb the true one.  A slice keeps its first and one differing datagram
(ENTRY_OPENS opens at most per entry), every session and the whole table are bounded in bytes, and what is not
complete after EXPIRE_S is dropped.  At a bound the oldest go: the slices of one record arrive close together, so that
forged ones, even as many as there are true ones, fill the table with what is older than a record that still comes
(whose own slices keep it young within its session, whenever a forged one began it).
"""

from collections import OrderedDict
from itertools import product
from typing import Final

__all__ = ["ENTRY_BYTES", "ENTRY_OPENS", "EXPIRE_S", "SESSION_BYTES", "TABLE_BYTES", "Entry", "Reassembly"]

SESSION_BYTES: Final = 2 << 20
TABLE_BYTES: Final = 16 << 20
EXPIRE_S: Final = 0.2
ENTRY_OPENS: Final = 3
ENTRY_BYTES: Final = 192 * 1024
"""What one record may be charged: 64,000 bytes in 255 slices, and as much again of differing ones."""
ENTRY_OVERHEAD: Final = 768
PLACE_OVERHEAD: Final = 8
PIECE_OVERHEAD: Final = 48
ALTERNATE_OVERHEAD: Final = 112
"""What an entry, each place for a slice, a slice and a differing slice are charged for besides their bytes, so that
many tiny forged slices are bounded too."""


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


class Share:
    """One session's part of the table: its entries, those first that got no slice for longest, and their charge."""

    __slots__ = ("entries", "held")

    def __init__(self) -> None:
        self.entries: OrderedDict[bytes, None] = OrderedDict()
        self.held = 0


class Reassembly:
    """All incomplete records of all sessions, oldest first."""

    __slots__ = ("_entries", "_shares", "_table", "evicted")

    def __init__(self) -> None:
        self._entries: OrderedDict[bytes, Entry] = OrderedDict()
        self._shares: dict[int, Share] = {}
        self._table = 0
        self.evicted = 0
        """How many records, or slices of an overlong one, had to go at a bound."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes_held(self) -> int:
        """What the table is charged with now."""
        return self._table

    def add(self, key: bytes, session: int, number: int, slices: int, piece: bytes, now: float) -> Entry | None:
        """Keep a slice; return the entry once every slice is there, else None.  At a bound older records go."""
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = Entry(session, slices, now)
            self._shares.setdefault(session, Share()).entries[key] = None
            self._charge(key, entry, ENTRY_OVERHEAD + slices * PLACE_OVERHEAD)
        held = entry.slices[number]
        if held is not None and (held == piece or number in entry.alternates):
            return None
        if not self._charge(key, entry, len(piece) + (PIECE_OVERHEAD if held is None else ALTERNATE_OVERHEAD)):
            return None
        self._shares[session].entries.move_to_end(key)
        if held is not None:
            entry.alternates[number] = piece
        else:
            entry.slices[number] = piece
            entry.missing -= 1
        return entry if entry.missing == 0 else None

    def remove(self, key: bytes) -> None:
        """Forget an entry (opened, or tried often enough); unknown keys are ignored."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._table -= entry.charged
        share = self._shares[entry.session]
        share.held -= entry.charged
        del share.entries[key]
        if not share.entries:
            del self._shares[entry.session]

    def expire(self, now: float) -> int:
        """Drop what waited longer than EXPIRE_S; return how many records that were."""
        gone = 0
        while self._entries:
            key = next(iter(self._entries))
            if now - self._entries[key].born < EXPIRE_S:
                break
            self.remove(key)
            gone += 1
        return gone

    def _charge(self, key: bytes, entry: Entry, size: int) -> bool:
        """Charge `size` bytes to an entry, for which older ones go; False when it is more than a record may have."""
        if entry.charged + size > ENTRY_BYTES:
            self.evicted += 1
            return False
        entry.charged += size
        share = self._shares[entry.session]
        share.held += size
        self._table += size
        while share.held > SESSION_BYTES:
            self._evict_before(key, share.entries)
        while self._table > TABLE_BYTES:
            self._evict_before(key, self._entries)
        return True

    def _evict_before(self, key: bytes, entries: "OrderedDict[bytes, None] | OrderedDict[bytes, Entry]") -> None:
        """Forget the oldest of these entries that is not `key`; there is one, for `key` alone is within the bounds."""
        oldest = iter(entries)
        first = next(oldest)
        self.remove(first if first != key else next(oldest))
        self.evicted += 1
