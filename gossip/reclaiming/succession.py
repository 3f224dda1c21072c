"""What follows when the ranges of dead peers are taken over: grants in their stead, heirs of loans, quarantine.

Purpose: one place that says what becomes of each address of a dead peer.
Rule: each tile goes to this host by a grant in the dead peer's stead, but an address it lent to a member goes to that
member, which uses it. What an endpoint of the dead peer uses stays lent to that peer with its number: should it return,
it goes on with it, and nobody else gets it meanwhile; so does what it lent to a peer that is reclaimed too. A number
keeps the name of a network that exists. All of it is one step, and refused before anything is said when this host could
not say it all.
Flow: gossip.reclaiming.reclaim -> `room`, `take_over`; the reclaimed one -> `give_up`, `lapse`; an operator ->
`release`.
Reference: design §6 (reclaim); docs/addresses.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Output, ReclaimDone, Trouble
from gossip.ipam.addresses import Addresses
from gossip.ipam.loans import Loans
from gossip.ipam.ranges import address_of, show
from gossip.ipam.ring import Tile
from gossip.networks.networks import Directory
from gossip.people.roster import Roster
from gossip.reclaiming.estates import Estate, Estates, Use
from gossip.reclaiming.fences import Fences, run_for
from gossip.state.address_bodies import FENCE, GRANT, NUMBER_POOL, Grant, LoanBody
from gossip.state.replica import Replica

_Piece = tuple[int, Tile, int, int, bytes]  # network, tile, start, end, to


class Succession:
    """Takes estates over for this host."""

    def __init__(
        self,
        replica: Replica,
        directory: Directory,
        roster: Roster,
        addresses: Addresses,
        loans: Loans,
        estates: Estates,
        fences: Fences,
    ) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._addresses = addresses
        self._loans = loans
        self._estates = estates
        self._fences = fences
        self._identity = replica.identity

    def room(self, what: str, peers: Sequence[bytes]) -> Refusal | None:
        """A refusal if this host cannot say as much as taking these estates over needs."""
        estates = [self._estates.of(peer) for peer in peers]
        grants = sum(len(self._pieces(each, peers)) for each in estates)
        fences = sum(1 + len(each.runs) for each in estates)
        loans = sum(len(_in_use(each)) + len(self._kept(each, peers)) for each in estates)
        entry = self._replica.view.owners.get(self._identity)
        said = [] if entry is None else [kind for kind, _ in entry.held]
        full = (
            said.count(GRANT) + grants > limits.MAX_OWN_GRANTS
            or said.count(FENCE) + fences > limits.MAX_OWN_FENCES
            or len(said) + grants + fences + loans > limits.MAX_STATEMENTS_PER_OWNER - limits.RECLAIM_RESERVE
        )
        why = "it is more than this host may say"
        return Refusal(what, why, "name fewer peers, or do it on another host", "exhausted") if full else None

    def grants(self, peer: bytes, peers: Sequence[bytes]) -> int:
        """How many grants in the peer's stead taking over from these peers makes."""
        return len(self._pieces(self._estates.of(peer), peers))

    def give_up(self, out: Output, heir: bytes) -> None:
        """This host was reclaimed, and has not heard yet what of its ranges that meant: all go to who said so."""
        for network, tile in self._estates.of(self._identity).tiles:
            self._grant(out, network, tile, (tile.start, tile.end), heir, b"")

    def lapse(self, out: Output) -> None:
        """This host was reclaimed: what it uses and is not lent to it may be somebody else's by now."""
        for network in sorted(self._directory.rings):
            book = self._addresses.allocator.book(network)
            for address in self._addresses.outside(network):
                endpoint, loan = book.by_address.get(address), self._addresses.loan(network, address)
                if endpoint is None or (loan is not None and loan.number == book.by_id[endpoint].number):
                    continue
                self._addresses.release(out, network, endpoint)
                text = f"{show(address)} of network {network} was in use here; it was taken over meanwhile"
                out.tell.append(Trouble(text))

    def take_over(self, out: Output, run: bytes, peers: Sequence[bytes]) -> ReclaimDone:
        """Say all of it; the fences were said before."""
        ranges: list[tuple[int, int, int]] = []
        quarantined: list[tuple[int, str]] = []
        estates = [(peer, self._estates.of(peer)) for peer in peers]
        for peer, estate in estates:
            for network, tile, start, end, to in self._pieces(estate, peers):
                self._grant(out, network, tile, (start, end), to, run_for(run, peer))
                if to == self._identity:
                    ranges.append((network, start, end))
            for loan in self._kept(estate, peers):
                address = int.from_bytes(loan.address, "big")
                self._loans.lend(out, loan.network, address, loan.to, loan.number)
                quarantined.append((loan.network, show(address)))
            for use in [] if self._roster.gone(peer) else _in_use(estate):
                self._loans.lend(out, use.network, use.address, peer, use.number)
                quarantined.append((use.network, show(use.address)))
        return ReclaimDone(run, list(peers), sorted(ranges), quarantined)

    def release(self, out: Output, network: int, text: str) -> None:
        """End the loan of an own address whose borrower is gone for good or uses it no longer; raises Refusal."""
        what = f"{text:.80} was not released"
        try:
            address = address_of(text)
        except ValueError:
            raise Refusal(what, "it is no IP address", "write it as a.b.c.d", "bad-address") from None
        loan = self._loans.lent().get((network, address))
        if loan is None:
            raise Refusal(what, "this host does not lend it", "see who owns and lends it", "foreign")
        gone = self._roster.gone(loan.to) or self._fences.fenced_out(loan.to)
        if not gone and self._addresses.in_use(loan):
            who = self._roster.name(loan.to)
            raise Refusal(what, f"{who} uses it", f"detach it there; if {who} is dead, reclaim it first", "in-use")
        self._loans.take_back(out, network, address)

    def _grant(self, out: Output, network: int, tile: Tile, span: tuple[int, int], to: bytes, run: bytes) -> None:
        version, name = tile.deed.grant.version + 1, ""
        if network == NUMBER_POOL:
            named = self._directory.numbers.claims().get(tile.start)
            name = named.name if named is not None and tile.start in self._directory.networks else ""
        self._addresses.grant(out, Grant(network, *span, to, version, tile.deed.id, name, run=run))

    def _dead(self, peer: bytes, peers: Sequence[bytes]) -> bool:
        return peer in peers or self._roster.gone(peer) or self._fences.fenced_out(peer)

    def _kept(self, estate: Estate, peers: Sequence[bytes]) -> list[LoanBody]:
        """What is lent to who is reclaimed as well, or was before: it may return."""
        return [loan for loan in estate.loans if self._dead(loan.to, peers) and not self._roster.gone(loan.to)]

    def _pieces(self, estate: Estate, peers: Sequence[bytes]) -> list[_Piece]:
        """Each tile, cut around what is lent to members."""
        heirs = {
            (loan.network, int.from_bytes(loan.address, "big")): loan.to
            for loan in estate.loans
            if loan.to != self._identity and not self._dead(loan.to, peers)
        }
        pieces: list[_Piece] = []
        for network, tile in estate.tiles:
            start = tile.start
            for address in sorted(a for n, a in heirs if n == network and tile.start <= a < tile.end):
                if start < address:
                    pieces.append((network, tile, start, address, self._identity))
                pieces.append((network, tile, address, address + 1, heirs[network, address]))
                start = address + 1
            if start < tile.end:
                pieces.append((network, tile, start, tile.end, self._identity))
        return pieces


def _in_use(estate: Estate) -> list[Use]:
    """The addresses in use that the peer did not lend, each with its greatest number."""
    lent = {(loan.network, int.from_bytes(loan.address, "big")): None for loan in estate.loans}
    found = {(use.network, use.address): use for use in estate.uses}  # the greatest number comes last
    return [use for place, use in sorted(found.items()) if place not in lent]
