"""Whom to open links to, and when.

Purpose: a small mesh becomes a full one, a large one a connected graph of few hops with some seven links per peer, and
a dead address costs little.
Rule: three wishes; at most `MAX_NEW_DIALS` begin within `DIAL_GAP_S`, so that links from afar come in meanwhile.
- the ring: the next `RING_LINKS` peers by identity among those reached. What all peers wish this way is a circle that
  closes again after every loss, and that runs through both halves of a mesh that was cut in two;
- chords: below `TARGET_LINKS` links (those under way counted) random peers, the reached ones before the others;
- a probe: with links enough, now and then one random peer that is not reached, which is how a cut mesh finds itself
  again.
Each try doubles the peer's pause up to `MAX_DIAL_S`, with jitter; a link that lasted, or new addresses, reset it. No
failure is reported: a dial that brought no link within `DIAL_PATIENCE_S` no longer counts as under way.
Flow: `know`, `forget`, `linked`, `unlinked`, `review` -> `due(now)` -> Dial events.
Reference: design §5; docs/gossip.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import nsmallest
from itertools import compress, islice
from typing import TYPE_CHECKING

from gossip import limits
from gossip.state.identities import Identities

if TYPE_CHECKING:
    from random import Random

_NEVER = float("inf")


@dataclass(slots=True)
class _Candidate:
    next_at: float
    pause: float = limits.FIRST_DIAL_S


class Dialer:
    """The peers worth dialling. `reached`: whether the graph of links reaches a peer."""

    def __init__(
        self, identity: bytes, rng: Random, reached: Callable[[bytes], bool], identities: Identities | None = None
    ) -> None:
        self._identity = identity
        self._rng = rng
        self._reached = reached
        self._identities = Identities() if identities is None else identities
        self._worth = bytearray()  # by number: 1 for who is worth dialling
        self._count = 0
        self._known_at = -_NEVER  # when somebody last became so: who was not tried since may be dialled at once
        self._tried: dict[bytes, _Candidate] = {}
        self._linked: dict[bytes, float] = {}
        self._under_way: dict[bytes, float] = {}
        self._ring: dict[bytes, float] = {}  # whom the ring wants, and from when on
        self._reviewed = False
        self._stale = True  # who is known or linked changed since the last review
        self._probe_at = _NEVER
        self._next_at = _NEVER

    def know(self, peer: bytes, now: float) -> None:
        """The peer has (new) addresses: try it at once."""
        self._note(peer, True)
        self._tried.pop(peer, None)
        self._known_at = now
        self._stale = True
        if peer not in self._linked:
            self._next_at = min(self._next_at, now)

    def forget(self, peer: bytes) -> None:
        """The peer has no addresses, or left."""
        self._stale = True
        self._note(peer, False)
        self._tried.pop(peer, None)
        self._under_way.pop(peer, None)
        self._ring.pop(peer, None)

    def linked(self, peer: bytes, now: float) -> None:
        """A link to the peer is up."""
        self._linked[peer] = now
        self._stale = True
        self._under_way.pop(peer, None)
        self._next_at = min(self._next_at, now)

    def unlinked(self, peer: bytes, now: float) -> None:
        """The peer's link is gone."""
        since = self._linked.pop(peer, now)
        self._stale = True
        self._next_at = min(self._next_at, now)
        if not self._is_worth(peer):
            return
        if now - since >= limits.SILENCE_S:
            self._tried.pop(peer, None)
        self._postpone(peer, now)

    def settle(self, now: float) -> None:
        """Review if who is known or linked changed."""
        if self._stale:
            self.review(now)

    def review(self, now: float) -> None:
        """Whom the graph of links reaches may have changed: look again whom the ring wants, and whether to probe."""
        self._stale = False
        known = [peer for peer in self._candidates() if peer not in self._linked and self._reached(peer)]
        known += self._linked
        self._reviewed = self._reviewed or len(known) > len(self._linked)
        wanted = ring(self._identity, known, limits.RING_LINKS)
        self._ring = {peer: self._ring.get(peer, now + self._patience()) for peer in wanted}
        if len(known) >= self._count:
            self._probe_at = _NEVER
        elif self._probe_at == _NEVER:
            self._probe_at = now + self._rng.uniform(0.0, limits.MAX_DIAL_S)
        self._next_at = min([self._next_at, self._probe_at, *(at for peer, at in self._missing())])

    def in_ring(self, peer: bytes) -> bool:
        """Whether the ring wants a link from here to the peer."""
        return peer in self._ring

    def due(self, now: float) -> list[bytes]:
        """The peers to dial now; each counts as tried."""
        if now < self._next_at:
            return []
        self._under_way = {peer: until for peer, until in self._under_way.items() if until > now}
        chosen = [peer for peer, at in self._missing() if at <= now and self._ready(peer, now)]
        chosen += self._chords(chosen, now)
        chosen += self._probed(now) if not chosen else []
        chosen = chosen[: limits.MAX_NEW_DIALS - len(self._new(now))]
        for peer in chosen:
            self._under_way[peer] = now + limits.DIAL_PATIENCE_S
            self._postpone(peer, now)
        self._next_at = self._upcoming(now)
        return chosen

    def next_time(self) -> float | None:
        """When `due` may answer with something."""
        return None if self._next_at == _NEVER else self._next_at

    # --- inside ---------------------------------------------------------------------------------------------------

    def _missing(self) -> list[tuple[bytes, float]]:
        return [(peer, at) for peer, at in self._ring.items() if self._waits(peer)]

    def _chords(self, chosen: list[bytes], now: float) -> list[bytes]:
        room = min(self._room(), limits.MAX_NEW_DIALS - len(self._new(now)) - len(chosen))
        if room <= 0:
            return []
        ready = [peer for peer in self._candidates() if peer not in chosen and self._ready(peer, now)]
        first = sorted(peer for peer in ready if self._reached(peer))
        pool = first if len(first) >= room else sorted(ready)
        return self._rng.sample(pool, min(room, len(pool)))

    def _probed(self, now: float) -> list[bytes]:
        if now < self._probe_at:
            return []
        self._probe_at = now + self._jitter(limits.MAX_DIAL_S)
        known = list(self._candidates())
        tried = (self._rng.choice(known) for _ in range(limits.PROBE_PICKS))
        lost = (peer for peer in tried if not self._reached(peer) and self._ready(peer, now))
        return list(islice(lost, 1))

    def _new(self, now: float) -> list[float]:
        """When each dial of the last DIAL_GAP_S is one no more."""
        ends = (until - limits.DIAL_PATIENCE_S + limits.DIAL_GAP_S for until in self._under_way.values())
        return [end for end in ends if end > now]

    def _upcoming(self, now: float) -> float:
        new = self._new(now)
        if len(new) >= limits.MAX_NEW_DIALS:
            return min(new)
        times = [max(at, self._next_try(peer)) for peer, at in self._missing()]
        times += [self._probe_at, *self._under_way.values()]
        if self._room() > 0:
            times += [self._next_try(peer) for peer in self._candidates() if peer not in self._linked]
        return min(times)

    def _candidates(self) -> Iterable[bytes]:
        return compress(self._identities.all(), self._worth)

    def _note(self, peer: bytes, worth: bool) -> None:
        number = self._identities.add(peer) if worth else self._identities.find(peer)
        if number is None:
            return
        self._worth += bytes(max(0, number + 1 - len(self._worth)))
        self._count += worth - self._worth[number]
        self._worth[number] = worth

    def _is_worth(self, peer: bytes) -> bool:
        number = self._identities.find(peer)
        return number is not None and number < len(self._worth) and self._worth[number] == 1

    def _waits(self, peer: bytes) -> bool:
        return peer not in self._linked and self._is_worth(peer)

    def _ready(self, peer: bytes, now: float) -> bool:
        return self._waits(peer) and self._next_try(peer) <= now

    def _next_try(self, peer: bytes) -> float:
        tried = self._tried.get(peer)
        return self._known_at if tried is None else tried.next_at

    def _room(self) -> int:
        return limits.TARGET_LINKS - self._expected() - len(self._linked) - len(self._under_way)

    def _expected(self) -> int:
        """How many links the circle will bring, as many from here as to here, unless tries have shown otherwise."""
        if not self._reviewed:
            return 2 * limits.RING_LINKS if self._count > limits.TARGET_LINKS else 0
        pauses = [self._tried[peer].pause for peer, _ in self._missing() if peer in self._tried]
        stubborn = sum(pause > 2 * limits.FIRST_DIAL_S for pause in pauses)
        return 2 * (len(self._missing()) - stubborn)

    def _postpone(self, peer: bytes, now: float) -> None:
        candidate = self._tried.setdefault(peer, _Candidate(now))
        candidate.next_at = now + self._jitter(candidate.pause)
        candidate.pause = min(candidate.pause * 2, limits.MAX_DIAL_S)

    def _patience(self) -> float:
        return self._jitter(limits.RING_PATIENCE_S)

    def _jitter(self, seconds: float) -> float:
        return seconds * (0.5 + 0.5 * self._rng.random())


def ring(identity: bytes, peers: Iterable[bytes], count: int) -> list[bytes]:
    """The `count` peers that follow `identity` in the circle of identities."""
    return nsmallest(count, peers, key=lambda peer: (peer < identity, peer))
