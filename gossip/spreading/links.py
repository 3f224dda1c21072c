"""The live links of this peer: heartbeats, silence, and which of two links to one peer stays.

Purpose: both ends of two links that crossed decide alike without a word about it.
Rule: of two links to one peer the one opened by the smaller identity stays; of two by the same side the newer. A link
that has missed its heartbeat yields to any newer one. A link silent for `SILENCE_S` is dead. What is closed here is
forgotten at once; the host closes the connection afterwards.
Flow: `up`, `down`, `heard` from the host; `silent`, `next_time` for the timer.
Reference: design §5.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gossip import limits
from gossip.spreading.outbox import Outbox
from gossip.spreading.pulse import Pulse


@dataclass(slots=True)
class Link:
    """One link: its id at this host, the peer, who opened it, when it came up and was last heard.

    `resume_at`: when to send a digest on it beside the usual ones.
    """

    id: int
    peer: bytes
    by_us: bool
    up_at: float
    heard_at: float
    resume_at: float | None = None
    outbox: Outbox = field(default_factory=Outbox)
    pulse: Pulse = field(default_factory=Pulse)


class LinkTable:
    """All live links, at most one per peer."""

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self._links: dict[int, Link] = {}
        self._by_peer: dict[bytes, Link] = {}

    def __len__(self) -> int:
        return len(self._links)

    def up(self, link: Link, now: float) -> tuple[int, str] | None:
        """Add a link; returns the one to close, which may be the new one, and why."""
        if link.peer == self._identity:
            return link.id, "this peer itself"
        rival = self._by_peer.get(link.peer)
        if rival is None:
            if len(self._links) >= limits.MAX_LINKS:
                return link.id, "too many links"
            self._add(link)
            return None
        if self._stays(rival, link, now):
            return link.id, "a link to this peer exists"
        self.down(rival.id)
        self._add(link)
        return rival.id, "replaced by another link to this peer"

    def down(self, link: int) -> Link | None:
        """Forget a link; None when it is not known (any more)."""
        gone = self._links.pop(link, None)
        if gone is not None:
            del self._by_peer[gone.peer]
        return gone

    def get(self, link: int) -> Link | None:
        """The link of that id."""
        return self._links.get(link)

    def of(self, peer: bytes) -> Link | None:
        """The link to that peer."""
        return self._by_peer.get(peer)

    def all(self) -> list[Link]:
        """Every link, by id."""
        return [self._links[link] for link in sorted(self._links)]

    def each(self) -> Iterable[Link]:
        """Every link, in the order in which they came up."""
        return self._links.values()

    def peers(self) -> list[bytes]:
        """Every peer with a link, sorted."""
        return sorted(self._by_peer)

    def silent(self, now: float) -> list[Link]:
        """The links that are dead of silence."""
        return [link for link in self.all() if now - link.heard_at >= limits.SILENCE_S]

    def next_time(self) -> float | None:
        """When the next link dies of silence or wants its exchange resumed."""
        times = [link.heard_at + limits.SILENCE_S for link in self._links.values()]
        times += [link.resume_at for link in self._links.values() if link.resume_at is not None]
        return min(times, default=None)

    def _add(self, link: Link) -> None:
        self._links[link.id] = link
        self._by_peer[link.peer] = link

    def _stays(self, old: Link, new: Link, now: float) -> bool:
        if old.by_us == new.by_us or now - old.heard_at > limits.STALE_S:
            return False
        return old.by_us == (self._identity < old.peer)
