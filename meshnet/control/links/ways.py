"""The ways to peers that gossip does not tell: what an operator added here, and where links last came up. PURE.

Rule: what an operator added comes first, then what worked last, then what the peer says of itself; none of them is
believed, as whoever answers has to prove its identity. Everything here is bounded, and what is read from the disk is
held to the same bounds.
Flow: `added`, `row` (to be stored) -> `add`; a link is up -> `reached`; `changes` -> stored -> `stored`; dials and
sessions ask `to`.
Reference: docs/membership.md (peers that cannot be reached).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from meshnet.control.store.row import Row
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["ADDED_MAX", "ADDED_PER_PEER_MAX", "LAST_KEPT", "LAST_PER_PEER", "SPACE", "Ways"]

SPACE: Final = "ways"
ADDED_PER_PEER_MAX: Final = 8
ADDED_MAX: Final = 1024
LAST_KEPT: Final = 128
"""Peers whose last address is remembered, those linked last."""
LAST_PER_PEER: Final = 2
_IDENTITY_BYTES: Final = 32
_ADDRESS_CHARS: Final = 80
_LAST: Final = b"last"
_Addresses = tuple[str, ...]


class Ways:
    """Addresses ("host:port" or "[v6]:port") by identity (32 bytes). `stored`: the rows of SPACE, as (key, value)."""

    def __init__(self, stored: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._added: dict[bytes, _Addresses] = {}
        self._last: dict[bytes, _Addresses] = {}  # whom a link came up with last is at the end
        self._changed: dict[bytes, None] = {}
        for key, value in stored:
            self._load(key, value)

    # --- asking ------------------------------------------------------------------------------------------------------

    def to(self, peer: bytes, said: Sequence[str]) -> list[str]:
        """Where to try the peer, best first; `said`: what gossip tells."""
        return list(dict.fromkeys((*self.added(peer), *self._last.get(peer, ()), *said)))

    def added(self, peer: bytes) -> _Addresses:
        """What the operator added for the peer."""
        return self._added.get(peer, ())

    def last(self, peer: bytes) -> _Addresses:
        """Where a link to the peer last came up, newest first."""
        return self._last.get(peer, ())

    def peers(self) -> list[bytes]:
        """The peers for which addresses were added."""
        return list(self._added)

    def recent(self, count: int) -> list[bytes]:
        """The peers that this one last had links to, opened from here, newest first."""
        return list(reversed(self._last))[:count]

    # --- what an operator does ---------------------------------------------------------------------------------------

    def more(self, peer: bytes, addresses: Sequence[str]) -> _Addresses:
        """What the peer's added addresses would be with these; raises MeshnetError where they are too many."""
        wanted = tuple(dict.fromkeys((*addresses, *self.added(peer))))
        if len(wanted) > ADDED_PER_PEER_MAX:
            why = f"this host keeps {ADDED_PER_PEER_MAX} for a peer, these would be {len(wanted)}"
            raise _refused(why, "take some back with `meshnet peer forget PEER HOST:PORT`")
        if sum(map(len, self._added.values())) - len(self.added(peer)) + len(wanted) > ADDED_MAX:
            why = f"this host keeps {ADDED_MAX} in all"
            raise _refused(why, "take back those of peers that need none: `meshnet peer forget PEER`")
        return wanted

    def fewer(self, peer: bytes, addresses: Sequence[str]) -> _Addresses:
        """What the peer's added addresses would be without these; none given: without any."""
        return tuple(one for one in self.added(peer) if addresses and one not in addresses)

    def row(self, peer: bytes, addresses: Sequence[str]) -> Row:
        """What to store for it to be these."""
        return Row(SPACE, peer, msgspec.msgpack.encode(addresses) if addresses else None)

    def put(self, peer: bytes, addresses: _Addresses) -> None:
        """They are stored, and count from now on."""
        self._added.pop(peer, None)
        if addresses:
            self._added[peer] = addresses

    # --- what happens by itself --------------------------------------------------------------------------------------

    def reached(self, peer: bytes, address: str) -> None:
        """A link to the peer came up over this address."""
        before = self._last.pop(peer, ())
        self._last[peer] = (address, *(one for one in before if one != address))[:LAST_PER_PEER]
        while len(self._last) > LAST_KEPT:
            del self._last[next(iter(self._last))]
        self._changed[_LAST] = None

    def unlearn(self, peer: bytes, addresses: Sequence[str]) -> None:
        """These are no ways any more, though links came up over them once; none given: all of the peer's."""
        before = self._last.get(peer, ())
        kept = tuple(one for one in before if addresses and one not in addresses)
        if kept == before:
            return
        if kept:
            self._last[peer] = kept
        else:
            del self._last[peer]
        self._changed[_LAST] = None

    def forget(self, peer: bytes) -> None:
        """The peer left for good."""
        if self._added.pop(peer, None) is not None:
            self._changed[peer] = None
        self.unlearn(peer, ())

    def changes(self) -> list[Row]:
        """What is to be stored of what happened by itself, until `stored`."""
        return [self._last_row() if key == _LAST else self.row(key, self.added(key)) for key in self._changed]

    def stored(self, rows: Sequence[Row]) -> None:
        """These changes are stored; what changed again since is still to be."""
        present = self.changes()
        for row in rows:
            if row in present:
                del self._changed[row.key]

    # --- inside ------------------------------------------------------------------------------------------------------

    def _last_row(self) -> Row:
        return Row(SPACE, _LAST, msgspec.msgpack.encode(list(self._last.items())) if self._last else None)

    def _load(self, key: bytes, value: bytes) -> None:
        try:
            if key == _LAST:
                for peer, addresses in msgspec.msgpack.decode(value, type=list[tuple[bytes, _Addresses]])[-LAST_KEPT:]:
                    self._last[peer] = _sound(peer, addresses)[:LAST_PER_PEER]
            elif sum(map(len, self._added.values())) < ADDED_MAX:
                addresses = _sound(key, msgspec.msgpack.decode(value, type=_Addresses))
                self._added[key] = addresses[:ADDED_PER_PEER_MAX]
        except (msgspec.MsgspecError, ValueError):
            return  # a later version's, or nothing of ours: without it gossip's addresses serve


def _sound(peer: bytes, addresses: _Addresses) -> _Addresses:
    if len(peer) != _IDENTITY_BYTES or not addresses or any(len(one) > _ADDRESS_CHARS for one in addresses):
        raise ValueError("no addresses of a peer")
    return addresses


def _refused(why: str, fix: str) -> MeshnetError:
    return MeshnetError("the addresses were not added", why, fix, ExitCode.USAGE)
