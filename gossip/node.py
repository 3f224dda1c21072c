"""The whole core of one peer, sans I/O: statements, links, reachability, networks and addresses composed.

Purpose: one object that the daemon and the simulation drive alike: calls and bytes in, `Output` out.
Rule: nothing here reads a clock, draws randomness of its own, or does I/O. Every method returns the writes, messages
and events of its step, to be applied in that order (`gossip.events`). No call from afar raises; a wrong call of this
host raises LocalError or Refusal and changes nothing.
Flow: host -> method -> replica/links/roster/directory/allocator -> `_finish` -> Output -> host.
Reference: design §5, §6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from gossip import limits
from gossip.addresses import Addresses
from gossip.asking import Asking
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
from gossip.contacts import Contacts
from gossip.errors import LocalError, Refusal, RemoteError
from gossip.events import CloseLink, EndpointSet, Lease, NetworkSeen, Output, PeerSeen, PeerView, RangeView
from gossip.gate import Admit, Verify
from gossip.networks import Directory
from gossip.replica import Replica, load_all
from gossip.roster import Roster
from gossip.view import Change

if TYPE_CHECKING:
    from random import Random

_NEVER = float("-inf")


class Node:
    """One peer's gossip and addresses. `stored`: every row of `events.SPACES`, as (space, key, value)."""

    def __init__(
        self,
        *,
        mesh: bytes,
        identity: bytes,
        sign: Callable[[bytes], bytes],
        verify: Verify,
        admit: Admit,
        rng: Random,
        stored: Iterable[tuple[str, bytes, bytes]] = (),
    ) -> None:
        self.identity = identity
        self._replica = Replica(mesh, identity, sign, verify, admit)
        self._roster = Roster(identity)
        self._contacts = Contacts(self._replica, self._roster, rng)
        self._links = self._contacts.links
        self._directory = Directory(identity, self._replica.view.quarantined)
        self._addresses = Addresses(self._replica, self._directory, self._roster)
        self._asking = Asking(self._replica, self._directory, self._roster, self._addresses)
        self._gone = False
        rows = list(stored)
        load_all(self._replica, rows)
        self._addresses.load(rows)
        self._interpret(Output(), _NEVER)

    # --- own state ------------------------------------------------------------------------------------------------

    def start(self, body: PeerBody, now: float) -> Output:
        """Begin a new incarnation, say all own live state again, and tell everything known of the mesh."""
        data = encode_body(PEER, body)
        if self._replica.started:
            raise LocalError("the node was started already")
        out = Output()
        self._replica.started = True
        self._contacts.begin(now)
        if self._replica.renew(out):
            self._replica.publish(out, (PEER, b""), data)
            self._contacts.say(out, now)
            self._asking.claims.begin(out)
            if len(body.chain) == 1 and DEFAULT_NETWORK in self._directory.networks:
                self._addresses.open_numbers(out)  # a mesh founded by an earlier version has no number pool yet
        for peer, known in sorted(self._roster.bodies.items()):
            if peer != self.identity and not self._roster.left(peer):
                out.tell.append(PeerSeen(peer, known))
        out.tell += [NetworkSeen(network) for network in self.networks()]
        out.tell += [EndpointSet(owner, end) for owner, end in self.endpoints() if owner != self.identity]
        for peer in sorted(self._roster.bodies):
            self._contacts.consider(peer, now)
        return self._finish(out, now)

    def update_peer(self, body: PeerBody, now: float) -> Output:
        """Say a new peer statement."""
        return self._say((PEER, b""), encode_body(PEER, body), now)

    def found_network(self, body: NetworkBody, now: float) -> Output:
        """Found the mesh's default network and the number pool; once more with the same body changes nothing.

        Raises Refusal when this peer did not found the mesh, or the default network is another.
        """
        self._speaks()
        out = Output()
        self._addresses.found(out, body)
        return self._finish(out, now)

    def create_network(
        self, name: str, pools: Sequence[str], mtu: int | None, now: float
    ) -> tuple[Output, NetworkBody | Refusal | None]:
        """Found a network, or find it founded. `pools` (): one derived from the name; `mtu` None: 1500.

        None as the answer: the registrar of the number pool was asked, and `NetworkSettled` tells within CLAIM_S.
        """
        self._speaks()
        out = Output()
        answer = self._asking.claims.create(out, name, pools, mtu, now)
        return self._finish(out, now), answer

    def remove_network(self, number: int, now: float) -> Output:
        """Remove a network from the mesh; raises Refusal naming who uses it, or whose it is to remove."""
        self._speaks()
        out = Output()
        self._asking.claims.remove(out, number)
        return self._finish(out, now)

    def set_endpoint(self, body: EndpointBody, now: float) -> Output:
        """Say an endpoint; raises Refusal for an unknown network or an address this peer does not own."""
        self._speaks()
        data = encode_body(ENDPOINT, body)
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
        self._speaks()
        out = Output()
        self._addresses.donate(out, network, to)
        return self._finish(out, now)

    def allocate(
        self, network: int, endpoint_id: bytes, now: float, address: str | None = None
    ) -> tuple[Output, Lease | Refusal | None]:
        """Lease an address ("a.b.c.d" or the next free one) to an endpoint; the same answer when asked again.

        None as the answer: another peer was asked for addresses, and `LeaseSettled` tells within CLAIM_S.
        """
        self._speaks()
        out = Output()
        answer = self._asking.shares.allocate(out, network, endpoint_id, address, now)
        return self._finish(out, now), answer

    def release(self, network: int, endpoint_id: bytes, now: float) -> Output:
        """End the endpoint's lease, or its wait for one; nothing when it has neither."""
        out = Output()
        self._asking.shares.cancel(out, network, endpoint_id)
        out.persist += self._addresses.allocator.release(network, endpoint_id)
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
        others = ((self._roster.survey_at(), "reach"), (asking, "asking"))
        return min([*self._contacts.times(self._gone), *((at, name) for at, name in others if at is not None)])

    def handle_timer(self, now: float) -> Output:
        """Do everything that is due."""
        out = Output()
        self._contacts.tick(out, now)
        return self._finish(out, now)

    # --- queries --------------------------------------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """What was refused or odd, by name."""
        return self._replica.counters

    @property
    def incarnation(self) -> int:
        """The own incarnation; 0 before `start`."""
        return self._replica.incarnation

    def peers(self) -> list[PeerView]:
        """Every peer known, this one included, by identity."""
        return self._roster.views()

    def networks(self) -> list[NetworkBody]:
        """Every network known, by number."""
        return [body for _, body in sorted(self._directory.networks.items())]

    def endpoints(self, network: int | None = None) -> list[tuple[bytes, EndpointBody]]:
        """The endpoints that count, own ones included, by owner and MAC."""
        return self._directory.endpoints(network)

    def ranges(self, network: int) -> list[RangeView]:
        """Who owns what of a network, in address order, neighbours of one owner joined; empty when unknown.

        Network 0 is the number pool.
        """
        return self._addresses.ranges(network)

    def registrar(self) -> bytes | None:
        """The peer that gives out network numbers; None while that is not known."""
        return self._directory.numbers.registrar()

    def names(self) -> list[tuple[str, int, bytes]]:
        """The names of networks in force, as (name, number, owner), by number; the default network's is not claimed."""
        return [(c.name, number, c.tile.owner) for number, c in sorted(self._directory.numbers.claims().items())]

    def leases(self) -> list[Lease]:
        """The own leases, by network and address."""
        return self._addresses.allocator.leases()

    def free(self, network: int) -> int:
        """How many addresses could be leased here now."""
        return self._addresses.free(network)

    def links(self) -> list[tuple[int, bytes]]:
        """The live links as (link id, peer), by id."""
        return [(link.id, link.peer) for link in self._links.all()]

    def summary(self) -> list[tuple[bytes, str, bytes, bytes]]:
        """(owner, kind, key, digest) of every statement held: equal at two peers whose views are equal."""
        return [(s.owner, s.kind, s.key, s.digest) for s in self._replica.view.statements()]

    # --- inside ---------------------------------------------------------------------------------------------------

    def _speaks(self) -> None:
        if not self._replica.started:
            raise LocalError("the node was not started")
        if self._gone:
            raise Refusal("nothing was done", "this peer has left the mesh", "join again", "invalid")
        if self._replica.exhausted:
            raise Refusal("nothing was done", "this peer's identity is used up", "leave and join anew", "exhausted")

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
            self._contacts.say_due(out, now)
        self._interpret(out, now)
        if speaks:
            for _ in range(limits.MAX_ANSWERS_PER_STEP):
                if not self._asking.act(out, now):
                    break
                self._interpret(out, now)
            self._replica.close_step(out)
            self._interpret(out, now)
        self._replica.flush(out, [link.id for link in self._links.all()])
        out.tell += self._roster.survey(self._links.peers(), now)
        if speaks:
            self._contacts.dial_due(out, now)
        return out

    def _interpret(self, out: Output, now: float) -> None:
        changes, self._replica.changes = self._replica.changes, []
        self._replica.persist(out, changes)
        for change in changes:
            out.tell += self._roster.apply(change)
            self._directory.apply(change)
            self._asking.apply(change)
            self._follow(change, now)
        for owner in self._replica.suspects:
            self._directory.suspect(owner)
        self._replica.suspects = {}
        out.tell += self._directory.refresh()

    def _follow(self, change: Change, now: float) -> None:
        kind = change.slot[0]
        if kind == PEER and self._roster.founder(change.owner):
            self._directory.founder(change.owner)
        moved = kind == PEER and (change.old is None or change.new is None or change.old.body != change.new.body)
        if moved or kind == LEFT:
            self._contacts.consider(change.owner, now)

    def _heirs(self) -> list[bytes]:
        return [
            view.identity
            for view in sorted(self.peers(), key=lambda view: (not view.reachable, view.identity))
            if view.identity != self.identity and not view.left
        ]
