"""Single addresses lent from one peer's range to another, and what this peer borrows.

Purpose: an address in another's range can be had without its range changing hands, and nobody else has it meanwhile.
Rule: the owner of the range says a loan, for a request and once for each; the borrower begins to use the address when
it holds the loan that answers the request it says. It says that request as long as it has the lease; with neither that
nor an endpoint with the address (or once it is no member) the loan counts as returned, is kept for this borrower
LOAN_KEPT_S more and then withdrawn; at once when the borrower left. What is lent or kept is in use for the allocator.
A lease in a range that is neither own nor lent with that number has lapsed: it is given up, with a word to the
operator; but not before LAPSE_S while an endpoint has it, for the loan may come later than the grant that made it one,
and not while the owner has left, for its grant is on its way. A loan for no request (a quarantined address) is held by
a request with the nonce HOLDING, which nobody answers.
Flow: `gossip.ipam.asking` -> `apply` each change, `answer` requests with an address, `act` in every step.
Reference: design §6; docs/addresses.md.
"""

from __future__ import annotations

from gossip import limits
from gossip.events import Output, Trouble
from gossip.ipam.addresses import Addresses
from gossip.ipam.ranges import show
from gossip.ipam.requests import Requests
from gossip.networks.networks import Directory
from gossip.people.roster import Roster
from gossip.state.address_bodies import (
    ENDPOINT,
    GRANT,
    LOAN,
    NUMBER_POOL,
    REQUEST,
    LoanBody,
    RequestBody,
    loan_key,
)
from gossip.state.bodies import AUTHORITY, LEFT, PEER, decode_body, encode_body
from gossip.state.body import least_bytes
from gossip.state.replica import Replica
from gossip.state.view import Change

Spot = tuple[int, int]  # network, address

HOLDING = bytes(limits.NONCE_B)
"""The nonce of a request that holds what is lent already."""


class Loans:
    """What this peer lends, and what it borrows."""

    def __init__(
        self, replica: Replica, directory: Directory, roster: Roster, addresses: Addresses, requests: Requests
    ) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._addresses = addresses
        self._requests = requests
        self._identity = replica.identity
        self._lent: dict[Spot, LoanBody] = {}
        self._of: dict[bytes, dict[Spot, None]] = {}
        self._look: dict[Spot, None] = {}  # own loans to look at
        self._idle_since: dict[Spot, float] = {}
        self._stirred = True  # something was said that own leases on loan depend on
        self._lapsing: dict[Spot, float] = {}  # when it is given up

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind, key = change.slot
        if kind == LOAN and change.owner == self._identity:
            self._apply_own(key, change)
        elif kind in AUTHORITY or kind == GRANT:
            self._look.update(dict.fromkeys(self._lent))
        elif kind in (REQUEST, ENDPOINT, LEFT, PEER):
            self._look.update(self._of.get(change.owner, {}))
        if kind in (LOAN, GRANT, LEFT) or (kind in (REQUEST, ENDPOINT) and change.owner == self._identity):
            self._stirred = True

    def answer(self, out: Output, asker: bytes, request: RequestBody) -> None:
        """Give the asker the block around the address it names, or lend it the address; or nothing."""
        network, address = request.network, int.from_bytes(request.start, "big")
        ring = self._directory.rings.get(network)
        pool = None if ring is None else ring.pool(address)
        if ring is None or pool is None or ring.owner(address) != self._identity or pool.reserved(address):
            return
        loan = self._lent.get((network, address))
        if loan is not None:
            if loan.to == asker and request.nonce not in (loan.answers, HOLDING):
                self._lend_anew(out, loan, request.nonce)
            return
        used = address in self._addresses.allocator.book(network).by_address
        if used or request.nonce == HOLDING or self._directory.says(self._identity, network, address):
            return
        if self._addresses.share_around(out, network, asker, address, request.nonce):
            return
        if len(self._lent) < limits.MAX_LENT:
            self._lend_anew(out, LoanBody(network, least_bytes(address), asker, 0), request.nonce)

    def lend(self, out: Output, network: int, address: int, to: bytes, number: int, nonce: bytes = b"") -> None:
        """Say that an own address is lent, with that number; nothing is checked."""
        body = LoanBody(network, least_bytes(address), to, number, nonce)
        self._replica.publish(out, (LOAN, body.key), encode_body(LOAN, body))

    def take_back(self, out: Output, network: int, address: int) -> None:
        """End an own loan at once; nothing when there is none."""
        if (network, address) in self._lent:
            self._replica.publish(out, (LOAN, loan_key(network, address)), None)

    def lent(self) -> dict[Spot, LoanBody]:
        """The own loans, by network and address; those that are kept for their borrower only as well."""
        return {spot: self._lent[spot] for spot in sorted(self._lent)}

    def act(self, out: Output, now: float) -> bool:
        """Take back what nobody uses, give up what lapsed, end requests without use; whether anything was said."""
        before, freed = self._replica.seq, self._addresses.freed
        due = [spot for spot, since in self._idle_since.items() if now >= since + limits.LOAN_KEPT_S]
        for spot in sorted({**self._look, **dict.fromkeys(due)}):
            self._judge(out, spot, now)
        self._look = {}
        if self._stirred or freed or any(now >= at for at in self._lapsing.values()):
            freed.clear()
            self._stirred = False
            self._review_requests(out)
            lapsing, self._lapsing = self._lapsing, {}
            for network in sorted(self._directory.rings):
                for address in self._addresses.outside(network):
                    self._review_lease(out, (network, address), lapsing.get((network, address)), now)
        return self._replica.seq != before

    def next_time(self) -> float | None:
        """When a loan is kept no longer, or a lapsed lease is given up."""
        kept = min(self._idle_since.values(), default=None)
        times = [*self._lapsing.values(), *([] if kept is None else [kept + limits.LOAN_KEPT_S])]
        return min(times, default=None)

    # --- lending ------------------------------------------------------------------------------------------------------

    def _apply_own(self, key: bytes, change: Change) -> None:
        body = None if change.new is None or change.new.body is None else decode_body(LOAN, change.new.body)
        spot = (int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big"))
        old = self._lent.pop(spot, None)
        if old is not None:
            self._of[old.to].pop(spot, None)
        if isinstance(body, LoanBody):
            self._lent[spot] = body
            self._of.setdefault(body.to, {})[spot] = None
            self._look[spot] = None
            self._addresses.allocator.lend(*spot)
        else:
            self._idle_since.pop(spot, None)
            self._addresses.allocator.take_back(*spot)

    def _lend_anew(self, out: Output, loan: LoanBody, nonce: bytes) -> None:
        network, address = loan.network, int.from_bytes(loan.address, "big")
        above = self._directory.number_above(network, address)
        number, put = self._addresses.allocator.number(network, above)
        out.persist.append(put)
        self.lend(out, network, address, loan.to, number, nonce)

    def _judge(self, out: Output, spot: Spot, now: float) -> None:
        loan, ring = self._lent.get(spot), self._directory.rings.get(spot[0])
        if loan is None:
            return
        foreign = ring is not None and ring.owner(spot[1]) != self._identity
        if foreign or self._roster.left(loan.to):
            self.take_back(out, *spot)
        elif self._addresses.in_use(loan) and not self._roster.barred(loan.to):
            self._idle_since.pop(spot, None)
        elif now >= self._idle_since.setdefault(spot, now) + limits.LOAN_KEPT_S:
            del self._idle_since[spot]
            self.take_back(out, *spot)

    # --- borrowing ----------------------------------------------------------------------------------------------------

    def _review_requests(self, out: Output) -> None:
        for key, request in sorted(self._requests.own.items()):
            idle = key not in self._requests.awaited and request.network != NUMBER_POOL
            if idle and not self._addresses.borrows(request):
                self._requests.withdraw(out, key)

    def _review_lease(self, out: Output, spot: Spot, until: float | None, now: float) -> None:
        """Hold what is lent to this peer, give up what is not; `until`: when, if it has lapsed already."""
        network, address = spot
        book, ring = self._addresses.allocator.book(network), self._directory.rings[network]
        endpoint = book.by_address.get(address)
        owner = ring.owner(address)
        if endpoint is None or owner is None:
            return
        loan = self._addresses.loan(network, address)
        said = self._directory.says(self._identity, network, address)
        until = now + limits.LAPSE_S if until is None else until
        if loan is not None and loan.number == book.by_id[endpoint].number:
            if not said:
                self._requests.hold(out, owner, network, least_bytes(address), HOLDING)
        elif self._roster.left(owner):
            return
        elif said and now < until:
            self._lapsing[spot] = until
        else:
            self._addresses.release(out, network, endpoint)
            whose = self._roster.name(owner)
            out.tell.append(Trouble(f"{show(address)} of network {network} was in use here; it is peer {whose}'s now"))
