"""The peers of the mesh: who they say they are, who left, whom the graph of links reaches.

Purpose: the meaning of peer, links and left statements, kept in step with the view.
Rule: a peer is known by its own statement. It left when its `left` statement is not older than its peer statement. The
mesh's founder is the one whose certificate chain is a single, self-signed certificate. Reachability is computed at most
once per `REACH_PACE_S`, and is advice.
Flow: `apply(change)` -> events; `survey(...)` -> Reachable events.
Reference: design §3, §5.
"""

from __future__ import annotations

from gossip import limits
from gossip.bodies import LEFT, LINKS, PEER, LinksBody, PeerBody, decode_body
from gossip.events import Event, PeerLeft, PeerSeen, PeerView, Reachable
from gossip.reach import reached
from gossip.view import Change


class Roster:
    """Bodies, leavings and link assertions of every peer, this one included."""

    def __init__(self, identity: bytes) -> None:
        self._identity = identity
        self.bodies: dict[bytes, PeerBody] = {}
        self._incarnations: dict[bytes, int] = {}
        self._left: dict[bytes, int] = {}
        self._asserted: dict[bytes, list[bytes]] = {}
        self._reached: dict[bytes, None] = {identity: None}
        self._surveyed_at = float("-inf")
        self._dirty = True

    def apply(self, change: Change) -> list[Event]:
        """Follow one change of the view."""
        owner, kind = change.owner, change.slot[0]
        body = None if change.new is None or change.new.body is None else change.new.body
        was_gone = self.left(owner)
        events: list[Event] = []
        if kind == PEER and body is not None and change.new is not None:
            events = self._apply_peer(owner, body, change.new.incarnation, was_gone)
        elif kind == LEFT and body is not None and change.new is not None:
            self._left[owner] = change.new.incarnation
            if self.left(owner) and not was_gone and owner != self._identity:
                events.append(PeerLeft(owner))
        elif kind == LINKS:
            self._asserted.pop(owner, None)
            links = None if body is None else decode_body(LINKS, body)
            if isinstance(links, LinksBody):
                self._asserted[owner] = links.peers
            self._dirty = True
        return events

    def left(self, peer: bytes) -> bool:
        """Whether the peer left and did not come back anew."""
        return self._left.get(peer, -1) >= self._incarnations.get(peer, 0)

    def name(self, peer: bytes) -> str:
        """What people call the peer; the beginning of its identity while its statement is not known."""
        body = self.bodies.get(peer)
        return peer.hex()[:16] if body is None else body.name

    def founder(self, peer: bytes) -> bool:
        """Whether the peer founded the mesh."""
        body = self.bodies.get(peer)
        return body is not None and len(body.chain) == 1

    def reachable(self, peer: bytes) -> bool:
        """Whether the last survey reached the peer."""
        return peer in self._reached

    def stir(self) -> None:
        """The own links changed."""
        self._dirty = True

    def survey_at(self) -> float | None:
        """When reachability wants computing; None when nothing changed."""
        return self._surveyed_at + limits.REACH_PACE_S if self._dirty else None

    def survey(self, linked: list[bytes], now: float) -> list[Event]:
        """Compute reachability if it is due; returns what changed."""
        due = self.survey_at()
        if due is None or now < due:
            return []
        self._dirty = False
        self._surveyed_at = now
        before, self._reached = self._reached, reached(self._identity, linked, self._asserted)
        changed = sorted(peer for peer in {**before, **self._reached} if (peer in before) != self.reachable(peer))
        return [Reachable(peer, self.reachable(peer)) for peer in changed]

    def views(self) -> list[PeerView]:
        """Every peer known, sorted by identity."""
        return [
            PeerView(peer, body, self.reachable(peer), self.left(peer), self._incarnations[peer])
            for peer, body in sorted(self.bodies.items())
        ]

    def _apply_peer(self, owner: bytes, data: bytes, incarnation: int, was_gone: bool) -> list[Event]:
        body = decode_body(PEER, data)
        assert isinstance(body, PeerBody)
        fresh = self.bodies.get(owner) != body or (was_gone and self._left.get(owner, -1) < incarnation)
        self.bodies[owner] = body
        self._incarnations[owner] = incarnation
        return [PeerSeen(owner, body)] if fresh and owner != self._identity else []
