"""When this host last had a sign of life of each peer.

Purpose: nobody agrees to take over what a peer owns that was here a minute ago.
Rule: a peer is here while the graph of links reaches it, or a link to it is open; a new incarnation of it is a sign of
life too. Nothing of this is stored: who has just started has heard of nobody. It is advice, and saves nobody's
addresses: that is what the consent of all members is for.
Flow: `apply(change)`, `surveyed(events)` -> `ago(peer)`.
Reference: design §6 (reclaim).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from gossip import limits
from gossip.events import Event, Reachable
from gossip.people.roster import Roster
from gossip.state.bodies import PEER
from gossip.state.view import Change


class Sightings:
    """The last sign of life of each peer. `linked`: whether a link to the peer is open."""

    def __init__(self, roster: Roster, linked: Callable[[bytes], bool]) -> None:
        self._roster = roster
        self._linked = linked
        self._seen: dict[bytes, float] = {}
        self.stirred = False
        """Somebody came or went since this was last made False."""

    def apply(self, change: Change, now: float) -> None:
        """Follow one change of the view."""
        old, new = change.old, change.new
        if change.slot[0] == PEER and old is not None and new is not None and new.incarnation > old.incarnation:
            self._seen[change.owner] = now
            self.stirred = True

    def surveyed(self, events: Iterable[Event], now: float) -> None:
        """Whom the graph of links reaches changed."""
        for event in events:
            if isinstance(event, Reachable):
                self._seen[event.peer] = now
                self.stirred = True

    def ago(self, peer: bytes, now: float) -> float | None:
        """Seconds since the last sign of life; None when there was none since this host started."""
        if self._roster.reachable(peer) or self._linked(peer):
            return 0.0
        seen = self._seen.get(peer)
        return None if seen is None or seen < 0 else max(now - seen, 0.0)

    def lately(self, peer: bytes, now: float) -> bool:
        """Whether there was one within HEARD_S."""
        ago = self.ago(peer, now)
        return ago is not None and ago < limits.HEARD_S
