"""The peers of the mesh: who they say they are, who left, whom the graph of links reaches.

Purpose: the meaning of peer, links and left statements, kept in step with the view.
Rule: a peer is known by its own statement. It left when its `left` statement is not older than its peer statement. The
mesh's founder is the one whose certificate chain is a single, self-signed certificate. Reachability is computed at most
once per `REACH_PACE_S`, and is advice; what a peer asserts that does not count (`gossip.people.authority`) does not
enter it. Who does not count is not seen.
Flow: `apply(change)` -> events; `survey(...)` -> Reachable events.
Reference: design §3, §5.
"""

from __future__ import annotations

from collections.abc import Callable

from gossip import limits
from gossip.events import Event, PeerLeft, PeerSeen, PeerView, Reachable
from gossip.people.peer_bodies import PeerBodies
from gossip.people.reach import Reach
from gossip.people.routes import Route, Routes
from gossip.state.bodies import LEFT, LINKS, PEER, LinksBody, decode_body
from gossip.state.view import Change, View


class Roster:
    """Bodies, leavings and link assertions of every peer, this one included."""

    def __init__(self, identity: bytes, barred: Callable[[bytes], bool], view: View) -> None:
        self._identity = identity
        self.barred = barred
        """Whether the peer is known, or revoked, and does not count as a member."""
        self.bodies = PeerBodies(view)
        self._left: dict[bytes, int] = {}
        self._reach = Reach(identity, barred, view.owners.identities)
        self._routes = Routes(identity, self._reach)
        self._surveyed_at = float("-inf")

    def apply(self, change: Change) -> list[Event]:
        """Follow one change of the view."""
        owner, kind = change.owner, change.slot[0]
        body = None if change.new is None or change.new.body is None else change.new.body
        was_gone = self.left(owner)
        events: list[Event] = []
        if kind == PEER and body is not None and change.new is not None:
            moved = change.old is None or change.old.body != body
            events = self._apply_peer(owner, moved, change.new.incarnation, was_gone)
        elif kind == LEFT and body is not None and change.new is not None:
            self._left[owner] = change.new.incarnation
            if self.left(owner) and not was_gone and owner != self._identity:
                events.append(PeerLeft(owner))
        elif kind == LINKS:
            links = None if body is None else decode_body(LINKS, body)
            self._reach.hear(owner, *((links.peers, links.costs) if isinstance(links, LinksBody) else (None,)))
        return events

    def left(self, peer: bytes) -> bool:
        """Whether the peer left and did not come back anew."""
        return self._left.get(peer, -1) >= self.bodies.incarnation(peer)

    def gone(self, peer: bytes) -> bool:
        """Whether nothing is to be expected of the peer: it left, or does not count."""
        return self.left(peer) or self.barred(peer)

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
        return peer in self._reach

    def route(self, peer: bytes) -> Route | None:
        """The route to a peer over the links that count; None when there is none, and to this peer."""
        return self._routes.to(peer)

    def stir(self) -> None:
        """The own links changed."""
        self._reach.judge()

    def survey_at(self) -> float | None:
        """When reachability wants computing; None when nothing changed."""
        return self._surveyed_at + limits.REACH_PACE_S if self._reach.dirty else None

    def survey(self, linked: list[bytes], now: float) -> list[Event]:
        """Compute reachability if it is due; returns what changed."""
        due = self.survey_at()
        if due is None or now < due:
            return []
        self._surveyed_at = now
        return [Reachable(peer, reachable) for peer, reachable in self._reach.survey(linked)]

    def views(self) -> list[PeerView]:
        """Every peer known, sorted by identity."""
        return [self._view(peer) for peer in sorted(self.bodies)]

    def one(self, peer: bytes) -> PeerView | None:
        """One peer; None when it is unknown."""
        return self._view(peer) if peer in self.bodies else None

    def _view(self, peer: bytes) -> PeerView:
        return PeerView(
            peer,
            self.bodies[peer],
            self.reachable(peer),
            self.left(peer),
            self.bodies.incarnation(peer),
            revoked=self.barred(peer),
        )

    def _apply_peer(self, owner: bytes, moved: bool, incarnation: int, was_gone: bool) -> list[Event]:
        fresh = moved or (was_gone and self._left.get(owner, -1) < incarnation)
        self.bodies.heard(owner, incarnation)
        if not fresh or owner == self._identity or self.barred(owner):
            return []
        return [PeerSeen(owner, self.bodies[owner])]
