"""This peer's contact with others: its links, their heartbeats, news and exchanges, whom it dials.

Purpose: everything about links that needs no look into statements, apart from saying which links there are.
Rule: a link's end deletes no state. The own links statement changes at most once in LINKS_PACE_S, for costs of links
alone once in COST_WAIT_S and more in a large mesh; news leave at once, and what follows within PUSH_PACE_S together.
Links beyond KEPT_LINKS are closed one by one where the far end has enough too, and the slower, the larger the mesh is
and the fewer they are: two statements that everybody hears cost more than a link that is one too many.
Flow: `gossip.node` -> `up`, `lose`, `push`, `tick` -> messages, Dial and CloseLink events.
Reference: design §5; docs/gossip.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from gossip import limits
from gossip.events import CloseLink, Dial, Output
from gossip.people.roster import Roster
from gossip.spreading.codec import encode
from gossip.spreading.dials import Dialer, ring
from gossip.spreading.links import Link, LinkTable
from gossip.state.bodies import LINKS, LinksBody, decode_body, encode_body
from gossip.state.owners import Proof
from gossip.state.replica import News, Replica

if TYPE_CHECKING:
    from random import Random

_NEVER = float("-inf")


class Contacts:
    """Links and dials of one peer."""

    def __init__(self, replica: Replica, roster: Roster, rng: Random) -> None:
        self._replica = replica
        self._roster = roster
        self._rng = rng
        self._dialer = Dialer(replica.identity, rng, roster.reachable, replica.view.owners.identities)
        self._beat_at = self._digest_at = float("inf")
        self._said_at = self._greeted_at = self._push_at = self._corrected_at = _NEVER
        self._say_at: float | None = None
        self._cost_at: float | None = None  # when costs that nobody was told of may be said
        self._trim_at: float | None = None
        self._waiting = False
        self.links = LinkTable(replica.identity)

    def begin(self, now: float) -> None:
        """The peer has started: heartbeats and anti-entropy begin."""
        self._beat_at = now + limits.HEARTBEAT_S
        self._digest_at = now + limits.DIGEST_S

    def up(self, out: Output, link: int, peer: bytes, opened_by_us: bool, now: float) -> None:
        """A link is open. Who opened it begins the exchange: at once, or later when another has just begun one."""
        closed = self.links.up(Link(link, peer, opened_by_us, now, now), now)
        if closed is not None:
            out.tell.append(CloseLink(*closed))
        entry = self.links.get(link)
        if entry is None:
            return
        self._dialer.linked(peer, now)
        self._changed(now + limits.LINKS_WAIT_S)
        if opened_by_us and now >= self._greeted_at + limits.GREET_S:
            self._greeted_at = now
            out.send.append((link, self._replica.spread.digest()))
        elif opened_by_us:
            entry.resume_at = now + limits.GREET_S * self._rng.uniform(0.5, 1.5)

    def lose(self, link: int, now: float) -> None:
        """A link is gone; unknown ids are ignored."""
        gone = self.links.down(link)
        if gone is not None:
            self._dialer.unlinked(gone.peer, now)
            self._changed(now)

    def consider(self, peer: bytes, now: float) -> None:
        """What is known of the peer changed: whether and when to dial it."""
        body = self._roster.bodies.get(peer)
        if peer == self._replica.identity or body is None or self._roster.gone(peer) or not body.addresses:
            self._dialer.forget(peer)
        else:
            self._dialer.know(peer, now)

    def review(self, now: float) -> None:
        """Whom the graph of links reaches changed."""
        self._dialer.review(now)

    def tick(self, out: Output, now: float) -> None:
        """Close what is silent or too much, send heartbeats and digests that are due."""
        for link in self.links.silent(now):
            self.part(out, link, "silent for too long", now)
        if now >= self._beat_at:
            self._beat_at = now + limits.HEARTBEAT_S
            out.send += [(link.id, encode(link.pulse.beat(now))) for link in self.links.all()]
            self._weigh(now)
            self._dialer.settle(now)
            self._trim(out, now)
        live = self.links.all()
        asked = {link.id: None for link in live if link.resume_at is not None and now >= link.resume_at}
        if now >= self._digest_at:
            self._digest_at = now + limits.DIGEST_S * self._rng.uniform(0.8, 1.2)
            self._replica.view.rest()
            self._replica.pace.forget(now)
            if live:
                asked[self._rng.choice(live).id] = None
        for link in live:
            if link.id in asked:
                link.resume_at = None
                self._greeted_at = now
                out.send.append((link.id, self._replica.spread.digest()))

    # --- news -----------------------------------------------------------------------------------------------------

    def heard(self, link: Link, wires: Sequence[bytes]) -> None:
        """A link brought these statements."""
        link.outbox.heard(wires)

    def push(self, out: Output, news: Iterable[News], proofs: Iterable[tuple[Proof, int | None]], now: float) -> None:
        """Send what is new on every link but the one it came from, or let it wait."""
        for statement, origin in news:
            for link in self.links.each():
                if link.id != origin and not link.outbox.put(statement) and link.resume_at is None:
                    link.resume_at = now + limits.RESUME_S
            self._waiting = True
        for proof, origin in proofs:
            for link in self.links.each():
                if link.id != origin:
                    link.outbox.put_proof(proof)
            self._waiting = True
        if self._waiting and now >= self._push_at:
            self._empty(out, now)

    def _empty(self, out: Output, now: float) -> None:
        self._waiting = sent = False
        for link in self.links.all():
            if link.outbox:
                sent = True
                out.send += [(link.id, message) for message in link.outbox.take()]
                self._waiting = self._waiting or bool(link.outbox)
        if sent:
            # PUSH_AHEAD times at once, if nothing left for that long before; then once per PUSH_PACE_S.
            self._push_at = max(self._push_at, now - (limits.PUSH_AHEAD - 1) * limits.PUSH_PACE_S) + limits.PUSH_PACE_S

    def part(self, out: Output, link: Link, reason: str, now: float) -> None:
        """End a link, after what waits for it."""
        out.send += [(link.id, message) for message in link.outbox.take()]
        self.lose(link.id, now)
        out.tell.append(CloseLink(link.id, reason))

    # --- own links ------------------------------------------------------------------------------------------------

    def say_due(self, out: Output, now: float) -> None:
        """Say the own links if they changed and it is time."""
        if self._say_at is not None and now >= self._say_at:
            self.say(out, now)

    def say(self, out: Output, now: float) -> None:
        """Say the own links."""
        self._say_at = self._cost_at = None
        self._said_at = now
        links = sorted(self.links.each(), key=lambda link: link.peer)
        for link in links:
            cost = link.pulse.cost()
            if link.pulse.said not in (0, cost):
                self._corrected_at = now
            link.pulse.said = cost
        costs = [link.pulse.said for link in links]
        body = LinksBody([link.peer for link in links], costs if any(costs) else [])
        self._replica.publish(out, (LINKS, b""), encode_body(LINKS, body))

    def dial_due(self, out: Output, now: float) -> None:
        """Dial whom it is time to dial."""
        for peer in self._dialer.due(now):
            body = self._roster.bodies[peer]
            out.tell.append(Dial(peer, body.static, list(body.addresses)))

    def times(self, gone: bool) -> list[tuple[float, str]]:
        """When `tick` and the rest want to be called, and what for; a peer that left dials and says nothing."""
        times = [(self._beat_at, "heartbeat"), (self._digest_at, "digest")]
        if self._waiting:
            times.append((self._push_at, "push"))
        others = (
            (self.links.next_time(), "link"),
            (None if gone else self._dialer.next_time(), "dial"),
            (None if gone else self._say_at, "links"),
        )
        return [*times, *((at, name) for at, name in others if at is not None)]

    # --- inside ---------------------------------------------------------------------------------------------------

    def _weigh(self, now: float) -> None:
        """Say the links anew if the costs are no longer what was said; rarely, as it is no news of who is alive.

        The more peers there are, the rarer: what each says of costs reaches all.
        """
        changed = [link.pulse.said for link in self.links.each() if link.pulse.cost() != link.pulse.said]
        share = limits.COST_SHARE_S * self._crowd()
        fresh = 0 in changed or now >= self._corrected_at + max(limits.COST_PACE_S, share)
        if not changed or not fresh or now < self._said_at + limits.COST_WAIT_S:
            return
        if self._cost_at is None:
            self._cost_at = now + share * self._rng.random()
        if now >= self._cost_at:
            self._say_at = now

    def _trim(self, out: Output, now: float) -> None:
        """Close a link beyond KEPT_LINKS whose far end has enough, the one with most links; no link of the circle."""
        surplus = len(self.links) - limits.KEPT_LINKS
        if surplus <= 0:
            self._trim_at = None
            return
        gap = max(limits.TRIM_S, limits.TRIM_SHARE_S * self._crowd() / surplus**2)
        if self._trim_at is None:
            self._trim_at = now + gap * self._rng.random()
        if now < self._trim_at:
            return
        own = self._replica.identity
        spare = [
            link
            for link in self.links.each()
            if now >= link.up_at + limits.TRIM_AFTER_S
            and self._degree(link.peer) > limits.TARGET_LINKS
            and not self._dialer.in_ring(link.peer)
            and not self._wanted_by(link.peer, own)
        ]
        if not spare:
            return
        self._trim_at = now + gap * self._rng.uniform(1.0, 2.0)
        chosen = max(spare, key=lambda link: (self._degree(link.peer), link.peer))
        self.part(out, chosen, "both ends have links enough", now)

    def _crowd(self) -> int:
        """How many peers there are beyond SMALL_MESH: what can wait goes by that."""
        return max(0, len(self._roster.bodies) - limits.SMALL_MESH)

    def _wanted_by(self, peer: bytes, own: bytes) -> bool:
        """Whether the circle's wish for this link is the far end's."""
        reached = [each for each in self._roster.bodies if each == own or self._roster.reachable(each)]
        return own in ring(peer, (each for each in reached if each != peer), limits.RING_LINKS)

    def _degree(self, peer: bytes) -> int:
        """How many links the peer says it has."""
        said = self._replica.view.get(peer, (LINKS, b""))
        body = None if said is None or said.body is None else decode_body(LINKS, said.body)
        return len(body.peers) if isinstance(body, LinksBody) else 0

    def _changed(self, at: float) -> None:
        at = max(at, self._said_at + limits.LINKS_PACE_S)
        self._say_at = at if self._say_at is None else min(self._say_at, at)
        self._roster.stir()
