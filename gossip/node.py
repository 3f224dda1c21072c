"""The whole core of one peer, sans I/O: statements, links, reachability, networks and addresses composed.

Purpose: one object that the daemon and the simulation drive alike: calls and bytes in, `Output` out.
Rule: nothing here reads a clock, draws randomness of its own, or does I/O. Every method returns the writes, messages
and events of its step, to be applied in that order (`gossip.events`). No call from afar raises; a wrong call of this
host raises LocalError or Refusal and changes nothing.
Flow: host -> method -> replica/links/roster/directory/allocator -> `_finish` -> Output -> host.
Reference: design §5, §6.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gossip import limits
from gossip.bodies import (
    DEFAULT_NETWORK,
    ENDPOINT,
    LEFT,
    PEER,
    EndpointBody,
    LeftBody,
    NetworkBody,
    PeerBody,
    encode_body,
    endpoint_key,
)
from gossip.codec import Beat, Delta, Digest, Owners, Proofs, Want, decode, encode
from gossip.errors import LocalError, Refusal, RemoteError
from gossip.events import CloseLink, EndpointSet, Heard, Lease, NetworkSeen, Output, PeerRevoked, PeerSeen
from gossip.knowledge import Knowledge


class Node(Knowledge):
    """One peer's gossip and addresses. `stored`: every row of `events.SPACES`, as (space, key, value)."""

    _gone = False  # left in this life

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

    def update_peer(self, body: PeerBody, now: float) -> Output:
        """Say a new peer statement."""
        data = encode_body(PEER, body)
        self._replica.clones.own(body.boot)
        return self._say((PEER, b""), data, now)

    def found_network(self, body: NetworkBody, now: float) -> Output:
        """Found the mesh's default network and the number pool; once more with the same body changes nothing.

        Raises Refusal when this peer did not found the mesh, or the default network is another.
        """
        self._gives("the network was not founded", now)
        out = Output()
        self._addresses.found(out, body)
        return self._finish(out, now)

    def create_network(
        self, name: str, pools: Sequence[str], mtu: int | None, now: float
    ) -> tuple[Output, NetworkBody | Refusal | None]:
        """Found a network, or find it founded. `pools` (): one derived from the name; `mtu` None: 1500.

        None as the answer: the registrar of the number pool was asked, and `NetworkSettled` tells within CLAIM_S.
        """
        self._gives(f"network {name!r:.80} was not founded", now)
        out = Output()
        answer = self._asking.claims.create(out, name, pools, mtu, now)
        return self._finish(out, now), answer

    def remove_network(self, number: int, now: float) -> Output:
        """Remove a network from the mesh; raises Refusal naming who uses it, or whose it is to remove."""
        self._counts(f"network {number} was not removed")
        out = Output()
        self._asking.claims.remove(out, number)
        return self._finish(out, now)

    def set_endpoint(self, body: EndpointBody, now: float) -> Output:
        """Say an endpoint; raises Refusal for an unknown network or an address this peer does not own.

        What was said before can be said again by a peer that does not count: it is heeded once that peer counts again.
        """
        data = encode_body(ENDPOINT, body)
        held = self._replica.view.get(self.identity, (ENDPOINT, body.key))
        if held is None or held.body != data:
            self._counts("the endpoint was not announced")
        self._addresses.check_endpoint(body)
        return self._say((ENDPOINT, body.key), data, now)

    def drop_endpoint(self, network: int, mac: bytes, now: float) -> Output:
        """Withdraw an endpoint; nothing when it is not said."""
        slot = (ENDPOINT, endpoint_key(network, mac))
        held = self._replica.view.get(self.identity, slot)
        return Output() if held is None or held.body is None else self._say(slot, None, now)

    def leave(self, now: float) -> Output:
        """Leave for good: leases end, ranges go to a peer that stays, and a statement that says so lasts for ever."""
        self._speaks()
        out = Output()
        self._asking.end(out)
        self._addresses.hand_back(out, self._heirs())
        self._replica.publish(out, (LEFT, b""), encode_body(LEFT, LeftBody()))
        self._gone = True
        return self._finish(out, now)

    # --- addresses ------------------------------------------------------------------------------------------------

    def donate(self, network: int, to: bytes, now: float) -> Output:
        """Give `to` about half of a free block; nothing when it owns a range already. Raises Refusal."""
        self._gives("no addresses were given", now)
        if self._authority.barred(to):
            raise Refusal(
                "no addresses were given", "that peer does not count as a member", "let it join anew", "revoked"
            )
        out = Output()
        self._asking.shares.donate(out, network, to, now)
        return self._finish(out, now)

    def allocate(
        self, network: int, endpoint_id: bytes, now: float, address: str | None = None
    ) -> tuple[Output, Lease | Refusal | None]:
        """Lease an address ("a.b.c.d" or the next free one) to an endpoint; the same answer when asked again.

        None as the answer: another peer was asked for addresses, and `LeaseSettled` tells within CLAIM_S.
        """
        again = address is None and self._addresses.allocator.held(network, endpoint_id) is not None
        if again:
            self._counts("no address was leased")
        else:
            self._gives("no address was leased", now)
        out = Output()
        answer = self._asking.shares.allocate(out, network, endpoint_id, address, now)
        return self._finish(out, now), answer

    def release(self, network: int, endpoint_id: bytes, now: float) -> Output:
        """End the endpoint's lease, or its wait for one; nothing when it has neither."""
        out = Output()
        self._asking.shares.cancel(out, network, endpoint_id)
        out.persist += self._addresses.allocator.release(network, endpoint_id)
        return self._finish(out, now)

    # --- what an admin does ---------------------------------------------------------------------------------------

    def revoke(self, identity: bytes, from_serial: int, reason: str, now: float) -> Output:
        """Revoke an identity for good, and what it issued from that serial on.

        Raises Refusal (code "role") unless this peer has the role `admin`, and for an admin that stands nearer to the
        founder; LocalError for an impossible identity, serial or reason (120 printable characters).
        """
        self._speaks()
        out = Output()
        self._acts.revoke(out, identity, from_serial, reason)
        return self._finish(out, now)

    def allow(self, identity: bytes | None, on: bool, now: float) -> Output:
        """Put an identity on the allow-list or take it off; None: have a list, or have none.

        What other admins said as well stays in force. Raises Refusal: code "role" unless this peer has the role
        `admin`, "foreign" for taking back what others said and this peer did not.
        """
        self._speaks()
        out = Output()
        self._acts.allow(out, identity, on)
        return self._finish(out, now)

    def announce_secret(self, generation: int, commitment: bytes, phase: int, now: float) -> Output:
        """Announce a mesh secret by its commitment (32 B), or its next phase (`bodies.INSTALL`, SWITCH, DROP).

        Raises Refusal: code "role" unless this peer has the role `admin`, "taken" or "invalid" when what is announced
        already is newer, another, or further.
        """
        self._speaks()
        out = Output()
        self._acts.announce(out, generation, commitment, phase)
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
        asking = None if self._gone else self._asking.next_time()
        anew = None if self._gone else self._replica.owed_at
        others = ((self._roster.survey_at(), "reach"), (asking, "asking"), (anew, "renew"))
        quiet = self._gone or self._authority.barred(self.identity)
        return min([*self._contacts.times(quiet), *((at, name) for at, name in others if at is not None)])

    def handle_timer(self, now: float) -> Output:
        """Do everything that is due."""
        out = Output()
        self._contacts.tick(out, now)
        return self._finish(out, now)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _speaks(self) -> None:
        if not self._replica.started:
            raise LocalError("the node was not started")
        if self._gone:
            raise Refusal("nothing was done", "this peer has left the mesh", "join again", "invalid")
        if self._replica.exhausted:
            raise Refusal("nothing was done", "this peer's identity is used up", "leave and join anew", "exhausted")

    def _counts(self, what: str) -> None:
        """Raise Refusal when nobody would heed it."""
        self._speaks()
        bar = self._authority.bars.get(self.identity)
        if bar is not None:
            by = f", said {self._roster.name(bar.by)}" if bar.by else ""
            why = f"this host does not count as a member any more{by}: {bar.reason or 'revoked'}"
            raise Refusal(what, why, "leave for good and join anew, or ask an admin", "revoked")

    def _gives(self, what: str, now: float) -> None:
        """Raise Refusal when nothing new may be taken or given away here."""
        self._counts(what)
        if self.cloned(now):
            why = "another host speaks with this host's identity, and may give out the same"
            raise Refusal(what, why, "wipe one of the two and let it join anew", "cloned")
        if self._replica.doubt.alive:
            why = "this host's state is an older copy, and it has not heard yet what it had given away since"
            raise Refusal(what, why, "wait until this host reaches the others; see `meshnet status`", "rolled-back")

    def _say(self, slot: tuple[str, bytes], body: bytes | None, now: float) -> Output:
        self._speaks()
        out = Output()
        self._replica.publish(out, slot, body)
        return self._finish(out, now)

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
                if not self._asking.act(out, now):
                    break
                self._interpret(out, now)
            self._replica.close_step(out)
            self._interpret(out, now)
        self._contacts.push(out, *self._replica.news(), now)
        self._shun(out, now)
        self._settle_doubt(out, now)
        changed = self._roster.survey(self._links.peers(), now)
        if changed:
            out.tell += changed
            self._contacts.review(now)
        if speaks and not self._authority.barred(self.identity):
            self._contacts.dial_due(out, now)
        return out

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
