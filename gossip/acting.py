"""What this host does in the mesh: says who it is, founds networks, uses addresses, leaves, acts as an admin.

Purpose: every act of the host on the core, each one step with one `Output`.
Rule: an act is refused before anything changes, by Refusal with what, why and what to do; a wrong call raises
LocalError. A host that has left, does not count, has a clone or is in doubt of its own state gives nothing out.
Flow: host -> act -> the part whose matter it is -> `_finish` (gossip.node) -> Output.
Reference: design §5, §6.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from gossip.errors import LocalError, Refusal
from gossip.events import Lease, Output, ReclaimDone
from gossip.knowledge import Knowledge
from gossip.state.address_bodies import ENDPOINT, EndpointBody, NetworkBody, endpoint_key
from gossip.state.bodies import LEFT, PEER, LeftBody, PeerBody, encode_body


class Acting(Knowledge):
    """The acts of one peer; `_finish` closes each step."""

    _gone = False  # left in this life

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

    def hand_registrar(self, to: bytes, now: float) -> Output:
        """Let another peer give out network numbers from now on; raises Refusal."""
        self._gives("the registrar was not changed", now)
        out = Output()
        self._asking.claims.hand_on(out, to)
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
        self._register.end(out)
        self._reclaims.end(out)
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
        self, network: int, endpoint_id: bytes, now: float, address: str | None = None, *, in_use: bool = False
    ) -> tuple[Output, Lease | Refusal | None]:
        """Lease an address ("a.b.c.d" or the next free one) to an endpoint; the same answer when asked again.

        `in_use`: an interface of this host has that address already, so an own one is leased even while this host
        doubts what it gave away. None as the answer: another peer was asked for addresses, and `LeaseSettled` tells
        within CLAIM_S.
        """
        again = address is None and self._addresses.allocator.held(network, endpoint_id) is not None
        held = in_use and address is not None and self._addresses.owns(network, address)
        if again or (held and not self.cloned(now)):
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
        self._addresses.release(out, network, endpoint_id)
        return self._finish(out, now)

    def release_address(self, network: int, address: str, now: float) -> Output:
        """End the loan of an own address to a peer that is gone or was reclaimed, or that uses it no longer.

        Raises Refusal when the address is not lent by this host, or its borrower may be using it.
        """
        self._counts(f"{address:.80} was not released")
        out = Output()
        self._succession.release(out, network, address)
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

    def reclaim(self, peers: Sequence[bytes], forced: bool, now: float) -> tuple[Output, ReclaimDone | Refusal | None]:
        """Take over what these peers own, which are dead for good. `forced`: without those who cannot be reached.

        None as the answer: the other members were asked, and `ReclaimSettled` tells within RECLAIM_S.
        """
        self._gives("nothing was reclaimed", now)
        out = Output()
        answer = self._reclaims.begin(out, peers, forced, now)
        return self._finish(out, now), answer

    # --- inside ---------------------------------------------------------------------------------------------------

    @abstractmethod
    def _finish(self, out: Output, now: float) -> Output:
        """Close a step."""

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
