"""The whole core of one peer, sans I/O: statements, links, reachability, networks and addresses composed.

Purpose: one object that the daemon and the simulation drive alike: calls and bytes in, `Output` out.
Rule: nothing here reads a clock, draws randomness of its own, or does I/O. Every method returns the writes, messages
and events of its step, to be applied in that order (`gossip.events`). No call from afar raises; a wrong call of this
host raises LocalError or Refusal and changes nothing.
Flow: host -> method here, or act (gossip.acting) -> the parts -> `_finish` -> Output -> host.
Reference: design §5, §6.
"""

from __future__ import annotations

from collections.abc import Iterable

from gossip import limits
from gossip.acting import Acting
from gossip.errors import LocalError, RemoteError
from gossip.events import CloseLink, EndpointSet, Heard, NetworkSeen, Output, PeerRevoked, PeerSeen
from gossip.spreading.codec import Beat, Delta, Digest, Owners, Proofs, Want, decode, encode
from gossip.state.address_bodies import DEFAULT_NETWORK
from gossip.state.bodies import PEER, PeerBody, encode_body


class Node(Acting):
    """One peer's gossip and addresses. `stored`: every row of `events.SPACES`, as (space, key, value)."""

    # --- own state ------------------------------------------------------------------------------------------------

    def start(self, body: PeerBody, now: float) -> Output:
        """Begin a new incarnation, say all own live state again, and tell everything known of the mesh."""
        data = encode_body(PEER, body)
        if self._replica.started:
            raise LocalError("the node was started already")
        out = Output()
        self._replica.clones.own(body.boot)
        self._replica.started = True
        self._contacts.begin(now)
        if self._replica.renew(out):
            self._replica.publish(out, (PEER, b""), data)
            self._contacts.say(out, now)
            self._asking.claims.begin(out)
            if len(body.chain) == 1 and DEFAULT_NETWORK in self._directory.networks:
                self._addresses.open_numbers(out)  # a mesh founded by an earlier version has no number pool yet
        for peer, known in sorted(self._roster.bodies.items()):
            if peer != self.identity and not self._roster.gone(peer):
                out.tell.append(PeerSeen(peer, known))
        out.tell += [PeerRevoked(peer, bar.by, bar.reason) for peer, bar in sorted(self._authority.bars.items())]
        self._tell_rotation(out)
        out.tell += [NetworkSeen(network) for network in self.networks()]
        out.tell += [EndpointSet(owner, end) for owner, end in self.endpoints() if owner != self.identity]
        for peer in sorted(self._roster.bodies):
            self._contacts.consider(peer, now)
        return self._finish(out, now)

    # --- others' state --------------------------------------------------------------------------------------------

    def absorb(self, statements: Iterable[bytes], now: float) -> Output:
        """Merge statements that came otherwise than by a link (a join's reply), with the same checks."""
        out = Output()
        self._replica.hear(out, statements, None, now)
        return self._finish(out, now)

    def export(self) -> list[bytes]:
        """Every live statement in wire form, peers first."""
        return [s.wire() for s in self._replica.view.statements() if s.body is not None]

    def link_up(self, link: int, peer: bytes, opened_by_us: bool, now: float) -> Output:
        """A link to an authenticated peer is open; `link` is the host's id for it, never used twice."""
        out = Output()
        self._contacts.up(out, link, peer, opened_by_us, now)
        return self._finish(out, now)

    def link_down(self, link: int, now: float) -> Output:
        """A link is closed; no state is deleted. Unknown ids are ignored."""
        self._contacts.lose(link, now)
        return self._finish(Output(), now)

    def receive(self, link: int, message: bytes, now: float) -> Output:
        """A message from a link. Never raises; a malformed one closes the link."""
        out = Output()
        entry = self._links.get(link)
        if entry is None:
            self._replica.gate.count("message_unknown_link")
            return out
        entry.heard_at = now
        try:
            parsed = decode(message)
        except RemoteError as error:
            self._replica.gate.count("message_malformed")
            self._contacts.lose(link, now)
            out.tell.append(CloseLink(link, str(error)))
            return self._finish(out, now)
        if isinstance(parsed, Beat):
            entry.pulse.heard(parsed, now)
            return out
        if isinstance(parsed, Delta):
            entry.outbox.heard(parsed.statements)
        answers, cut = self._answer(out, link, parsed, now)
        out.send += [(link, answer) for answer in answers]
        if cut and entry.resume_at is None:
            entry.resume_at = now + limits.RESUME_S
        return self._finish(out, now)

    # --- time -----------------------------------------------------------------------------------------------------

    def next_timer(self) -> tuple[float, str] | None:
        """When `handle_timer` wants to be called next, and what for; None before `start`."""
        if not self._replica.started:
            return None
        others = [(self._roster.survey_at(), "reach")]
        if not self._gone:
            others += [(self._asking.next_time(), "asking"), (self._replica.owed_at, "renew")]
            others += [(self._consents.next_time(), "consent"), (self._reclaims.next_time(), "reclaim")]
            others.append((self._register.next_time(), "register"))
        quiet = self._gone or self._authority.barred(self.identity)
        return min([*self._contacts.times(quiet), *((at, name) for at, name in others if at is not None)])

    def handle_timer(self, now: float) -> Output:
        """Do everything that is due."""
        out = Output()
        self._contacts.tick(out, now)
        return self._finish(out, now)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _answer(
        self, out: Output, link: int, message: Beat | Delta | Digest | Owners | Want | Proofs, now: float
    ) -> tuple[list[bytes], bool]:
        spread = self._replica.spread
        if isinstance(message, Delta):
            strangers = self._replica.hear(out, message.statements, link, now)
            return ([encode(Want(strangers[: limits.MAX_OWNERS_PER_MESSAGE]))] if strangers else []), False
        if isinstance(message, Digest):
            entry = self._links.get(link)
            if entry is not None and spread.agrees(message, self.identity):
                self._replica.doubt.agrees(entry.peer)
            return spread.compare(message), False
        if isinstance(message, Owners):
            return spread.reconcile(message)
        if isinstance(message, Want):
            return spread.give(message.owners)
        if isinstance(message, Proofs):
            self._replica.hear_proofs(out, message.pairs, link, now)
        return [], False

    def _finish(self, out: Output, now: float) -> Output:
        """Close a step: what the changes mean and make possible, then the own manifest, writes, messages and dials."""
        speaks = self._replica.started and not self._gone
        if speaks:
            self._replica.catch_up(out, now)
            self._contacts.say_due(out, now)
        self._interpret(out, now)
        if speaks:
            for _ in range(limits.MAX_ANSWERS_PER_STEP):
                if not self._act(out, now):
                    break
            self._replica.close_step(out)
            self._interpret(out, now)
        self._contacts.push(out, *self._replica.news(), now)
        self._shun(out, now)
        self._settle_doubt(out, now)
        changed = self._roster.survey(self._links.peers(), now)
        if changed:
            out.tell += changed
            self._sightings.surveyed(changed, now)
            self._contacts.review(now)
        if speaks and not self._authority.barred(self.identity):
            self._contacts.dial_due(out, now)
        return out

    def _act(self, out: Output, now: float) -> bool:
        """Let each part do what follows from what is known, and from what the one before it said."""
        acted = False
        for act in (self._consents.act, self._reclaims.act, self._asking.act, self._register.act):
            if act(out, now):
                acted = True
                self._interpret(out, now)
        return acted

    def _settle_doubt(self, out: Output, now: float) -> None:
        doubt = self._replica.doubt
        if doubt.alive and self._replica.started:
            others = any(peer != self.identity and not self._roster.gone(peer) for peer in self._roster.bodies)
            if doubt.settle(self._links.peers(), others, now):
                out.tell.append(Heard())

    def _shun(self, out: Output, now: float) -> None:
        """Close the links to peers that do not count; what bars them goes out on those links just before."""
        for link in self._links.all() if self._authority.bars else []:
            if self._authority.barred(link.peer):
                self._contacts.part(out, link, "the peer does not count as a member", now)
