"""This peer's contact with others: its links, their heartbeats and exchanges, whom it dials.

Purpose: everything about links that needs no look into statements, apart from saying which links there are.
Rule: a link's end deletes no state. The own links statement changes at most once in LINKS_PACE_S.
Flow: `gossip.node` -> `up`, `lose`, `tick` -> messages, Dial and CloseLink events.
Reference: design §5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gossip import limits
from gossip.bodies import LINKS, LinksBody, encode_body
from gossip.codec import Beat, encode
from gossip.dials import Dialer
from gossip.events import CloseLink, Dial, Output
from gossip.links import Link, LinkTable
from gossip.replica import Replica
from gossip.roster import Roster

if TYPE_CHECKING:
    from random import Random

_NEVER = float("-inf")
_BEAT = encode(Beat())


class Contacts:
    """Links and dials of one peer."""

    def __init__(self, replica: Replica, roster: Roster, rng: Random) -> None:
        self._replica = replica
        self._roster = roster
        self._rng = rng
        self._dialer = Dialer(rng)
        self._beat_at = self._digest_at = float("inf")
        self._said_at = _NEVER
        self._dirty = False
        self.links = LinkTable(replica.identity)

    def begin(self, now: float) -> None:
        """The peer has started: heartbeats and anti-entropy begin."""
        self._beat_at = now + limits.HEARTBEAT_S
        self._digest_at = now + limits.DIGEST_S

    def up(self, out: Output, link: int, peer: bytes, opened_by_us: bool, now: float) -> None:
        """A link is open."""
        closed = self.links.up(Link(link, peer, opened_by_us, now, now), now)
        if closed is not None:
            out.tell.append(CloseLink(*closed))
        if self.links.get(link) is not None:
            self._dialer.linked(peer, now)
            self._changed()
            if opened_by_us:
                out.send.append((link, self._replica.spread.digest()))

    def lose(self, link: int, now: float) -> None:
        """A link is gone; unknown ids are ignored."""
        gone = self.links.down(link)
        if gone is not None:
            self._dialer.unlinked(gone.peer, now)
            self._changed()

    def consider(self, peer: bytes, now: float) -> None:
        """What is known of the peer changed: whether and when to dial it."""
        body = self._roster.bodies.get(peer)
        if peer == self._replica.identity or body is None or self._roster.left(peer) or not body.addresses:
            self._dialer.forget(peer)
        else:
            self._dialer.know(peer, now)

    def tick(self, out: Output, now: float) -> None:
        """Close what is silent, send heartbeats and digests that are due."""
        for link in self.links.silent(now):
            self.lose(link.id, now)
            out.tell.append(CloseLink(link.id, "silent for too long"))
        if now >= self._beat_at:
            self._beat_at = now + limits.HEARTBEAT_S
            out.send += [(link.id, _BEAT) for link in self.links.all()]
        live = self.links.all()
        asked = {link.id: None for link in live if link.resume_at is not None and now >= link.resume_at}
        if now >= self._digest_at:
            self._digest_at = now + limits.DIGEST_S
            if live:
                asked[self._rng.choice(live).id] = None
        for link in live:
            if link.id in asked:
                link.resume_at = None
                out.send.append((link.id, self._replica.spread.digest()))

    def say_due(self, out: Output, now: float) -> None:
        """Say the own links if they changed and it is time."""
        if self._dirty and now >= self._said_at + limits.LINKS_PACE_S:
            self.say(out, now)

    def say(self, out: Output, now: float) -> None:
        """Say the own links."""
        self._dirty = False
        self._said_at = now
        self._replica.publish(out, (LINKS, b""), encode_body(LINKS, LinksBody(self.links.peers())))

    def dial_due(self, out: Output, now: float) -> None:
        """Dial whom it is time to dial."""
        for peer in self._dialer.due(now):
            body = self._roster.bodies[peer]
            out.tell.append(Dial(peer, body.static, list(body.addresses)))

    def times(self, gone: bool) -> list[tuple[float, str]]:
        """When `tick` and the rest want to be called, and what for; a peer that left dials and says nothing."""
        times = [(self._beat_at, "heartbeat"), (self._digest_at, "digest")]
        others = (
            (self.links.next_time(), "link"),
            (None if gone else self._dialer.next_time(), "dial"),
            (self._said_at + limits.LINKS_PACE_S if self._dirty and not gone else None, "links"),
        )
        return [*times, *((at, name) for at, name in others if at is not None)]

    def _changed(self) -> None:
        self._dirty = True
        self._roster.stir()
