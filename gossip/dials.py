"""Whom to open links to, and when.

Purpose: a small mesh becomes a full one, a large one a sparse random graph, and a dead address costs little.
Rule: below `TARGET_LINKS` links (those under way counted) known peers are dialled in random order; each try doubles the
peer's pause up to `MAX_DIAL_S`, with jitter; a link that lasted, or new addresses, reset it. No failure is reported: a
dial that brought no link within `DIAL_PATIENCE_S` no longer counts as under way.
Flow: `know`, `forget`, `linked`, `unlinked` -> `due(now)` -> Dial events.
Reference: design §5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gossip import limits

if TYPE_CHECKING:
    from random import Random


@dataclass(slots=True)
class _Candidate:
    next_at: float
    pause: float = limits.FIRST_DIAL_S
    under_way_until: float = float("-inf")


class Dialer:
    """The peers worth dialling."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._candidates: dict[bytes, _Candidate] = {}
        self._linked: dict[bytes, float] = {}

    def know(self, peer: bytes, now: float) -> None:
        """The peer has (new) addresses: try it at once."""
        self._candidates[peer] = _Candidate(now)

    def forget(self, peer: bytes) -> None:
        """The peer has no addresses, or left."""
        self._candidates.pop(peer, None)

    def linked(self, peer: bytes, now: float) -> None:
        """A link to the peer is up."""
        self._linked[peer] = now
        candidate = self._candidates.get(peer)
        if candidate is not None:
            candidate.under_way_until = float("-inf")

    def unlinked(self, peer: bytes, now: float) -> None:
        """The peer's link is gone."""
        since = self._linked.pop(peer, now)
        candidate = self._candidates.get(peer)
        if candidate is None:
            return
        if now - since >= limits.SILENCE_S:
            candidate.pause = limits.FIRST_DIAL_S
        self._postpone(candidate, now)

    def due(self, now: float) -> list[bytes]:
        """The peers to dial now; each counts as tried."""
        room = self._room(now)
        ready = [peer for peer in sorted(self._candidates) if self._waiting(peer) and self._at(peer) <= now]
        if room <= 0 or not ready:
            return []
        chosen = self._rng.sample(ready, min(room, len(ready)))
        for peer in chosen:
            candidate = self._candidates[peer]
            candidate.under_way_until = now + limits.DIAL_PATIENCE_S
            self._postpone(candidate, now)
        return chosen

    def next_time(self) -> float | None:
        """When `due` may answer with something."""
        room = limits.TARGET_LINKS - len(self._linked)
        if room <= 0:
            return None
        waiting = [candidate for peer, candidate in self._candidates.items() if self._waiting(peer)]
        first = min((candidate.next_at for candidate in waiting), default=None)
        ends = sorted(candidate.under_way_until for candidate in waiting)[-room:]
        # With `room` dials or more under way at that time, the next may start when enough of them have ended.
        if first is None or len(ends) < room:
            return first
        return max(first, ends[0])

    def _waiting(self, peer: bytes) -> bool:
        return peer not in self._linked

    def _at(self, peer: bytes) -> float:
        return self._candidates[peer].next_at

    def _room(self, now: float) -> int:
        under_way = sum(candidate.under_way_until > now for candidate in self._candidates.values())
        return limits.TARGET_LINKS - len(self._linked) - under_way

    def _postpone(self, candidate: _Candidate, now: float) -> None:
        candidate.next_at = now + candidate.pause * (0.5 + 0.5 * self._rng.random())
        candidate.pause = min(candidate.pause * 2, limits.MAX_DIAL_S)
