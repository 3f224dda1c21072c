"""This peer's acts on networks and addresses: found, donate, share, allocate, hand back.

Purpose: the rules of design §6 between what the mesh says (directory) and what this host leased (allocator).
Rule: only own tiles are leased or given, and never a tile's part that holds a lease or is lent; another peer's address
is leased only on a loan of it that answers this host's own standing request. A grant names the deed by which the donor
owned the range. Each act adds to one `Output`, so that its writes are durable before anyone hears of it; a refused act
adds nothing.
Flow: `gossip.node` -> here -> `replica.publish` and the allocator's Puts.
Reference: design §6; docs/addresses.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Lease, Output, RangeView
from gossip.ipam.allocator import Allocator, Held
from gossip.ipam.ranges import address_of, block_around, network_of, parse_interface, show
from gossip.ipam.ring import Ring, Tile
from gossip.ipam.space import Space
from gossip.ipam.spare import heir, spare_block
from gossip.networks.networks import Directory
from gossip.networks.numbers import NUMBERS
from gossip.people.roster import Roster
from gossip.state.address_bodies import (
    DEFAULT_NETWORK,
    GRANT,
    NETWORK,
    NUMBER_POOL,
    REQUEST,
    EndpointBody,
    Grant,
    LoanBody,
    NetworkBody,
    RequestBody,
    grant_id,
    request_key,
)
from gossip.state.bodies import decode_body, encode_body
from gossip.state.replica import Replica


class Addresses:
    """What this host does with networks and addresses."""

    def __init__(self, replica: Replica, directory: Directory, roster: Roster) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._identity = replica.identity
        self.allocator = Allocator()
        self.freed: dict[tuple[int, int], None] = {}
        """Addresses whose lease ended here, until `gossip.ipam.loans` looked whether they were borrowed."""

    def load(self, rows: Iterable[tuple[str, bytes, bytes]]) -> None:
        """Take the stored rows of leases in; a damaged one is counted and skipped."""
        for space, key, value in rows:
            if Allocator.owns_row(space, key):
                try:
                    self.allocator.load(space, key, value)
                except (ValueError, msgspec.MsgspecError):
                    self._replica.gate.count("stored_row_damaged")

    def found(self, out: Output, body: NetworkBody) -> None:
        """Publish the mesh's default network with its founding grants, and open the number pool; raises Refusal."""
        encode_body(NETWORK, body)
        what = f"network {body.name} was not founded"
        if not self._roster.founder(self._identity):
            raise Refusal(what, "this peer did not found the mesh", "found it on the peer that did", "not-founder")
        if body.number != DEFAULT_NETWORK:
            raise Refusal(what, "it is not the default network", "create it: its number is claimed", "invalid")
        known = self._directory.networks.get(body.number)
        if known is not None and known != body:
            raise Refusal(what, f"its number is that of network {known.name}", "choose another", "taken")
        self.publish(out, body)
        self.open_numbers(out)

    def publish(self, out: Output, body: NetworkBody) -> None:
        """Say a network that is this peer's to found, and own its pools."""
        self._replica.publish(out, (NETWORK, body.key), encode_body(NETWORK, body))
        for pool in map(network_of, body.pools):
            self.grant(out, Grant(body.number, pool.start, pool.end, self._identity, 0, b""))

    def open_numbers(self, out: Output) -> None:
        """Own the pool of network numbers, as the mesh's founder does from the beginning."""
        self.grant(out, Grant(NUMBER_POOL, NUMBERS.start, NUMBERS.end, self._identity, 0, b""))

    def donate(self, out: Output, network: int, to: bytes) -> None:
        """Grant a block to a peer that owns none; raises Refusal."""
        what = "no addresses were given"
        ring = self._ring(network, what)
        if ring.owned(to):
            return
        block = spare_block(self._space(network, ring), ring, self._identity, to)
        if block is None or self.full():
            fix = "ask another peer, or free addresses here"
            raise Refusal(what, "this peer has too few free addresses to share", fix, "no-space")
        self._hand_over(out, network, *block, to)

    def share(self, out: Output, network: int, to: bytes, free: int, nonce: bytes) -> None:
        """Answer a request for any addresses by half of a free block; or say nothing.

        `free`: how many addresses the asker has; who has no more than that gives none.
        """
        ring = self._directory.rings.get(network)
        if ring is None or self.full():
            return
        space = self._space(network, ring)
        block = spare_block(space, ring, self._identity, to)
        if block is not None and space.free > free:
            self._hand_over(out, network, *block, to, nonce)

    def share_around(self, out: Output, network: int, to: bytes, address: int, nonce: bytes) -> bool:
        """Answer a request for a free own address by the free block around it, if the asker has few tiles yet."""
        ring = self._directory.rings.get(network)
        if ring is None or self.full() or len(ring.owned(to)) >= limits.FEW_TILES:
            return False
        space = self._space(network, ring)
        piece = space.piece(address)
        if piece is None:
            return False
        start, end = block_around(address, piece[1], piece[2], limits.CLAIMED_BLOCK)
        if end - start == 1 or space.usable(start, end) >= space.free:
            return False
        self._hand_over(out, network, piece[0], start, end, to, nonce)
        return True

    def full(self, more: int = 1) -> bool:
        """Whether this peer has made so many grants that it may not make that many more."""
        entry = self._replica.view.owners.get(self._identity)
        said = 0 if entry is None else sum(kind == GRANT for kind, _ in entry.held)
        return said + more > limits.MAX_OWN_GRANTS

    def allocate(self, out: Output, network: int, endpoint: bytes, wanted: str | None) -> Lease | Refusal:
        """Lease an address; adds the writes to `out`."""
        what = "no address was leased"
        if not 0 < len(endpoint) <= limits.MAX_ENDPOINT_ID_B:
            return Refusal(what, "the endpoint's id is empty or too long", "use an id of up to 64 bytes", "invalid")
        try:
            ring = self._ring(network, what)
            address = self._choose(network, ring, endpoint, wanted)
        except Refusal as refusal:
            return refusal
        held = self.allocator.held(network, endpoint)
        loan = None if ring.owner(address) == self._identity else self.loan(network, address)
        if held is not None and held.address == address and (loan is None or loan.number == held.number):
            return Lease(network, f"{show(address)}/{held.length}", held.number)
        pool = ring.pool(address)
        assert pool is not None
        if loan is None:
            above = self._directory.number_above(network, address)
            lease, puts = self.allocator.lease(network, pool, endpoint, address, above)
        else:
            lease, puts = self.allocator.borrow(network, pool, endpoint, address, loan.number)
        out.persist += puts
        self._moved(network, held)
        return lease

    def release(self, out: Output, network: int, endpoint: bytes) -> None:
        """End the endpoint's lease; nothing when there is none."""
        held = self.allocator.held(network, endpoint)
        out.persist += self.allocator.release(network, endpoint)
        self._moved(network, held)

    def loan(self, network: int, address: int) -> LoanBody | None:
        """The loan of the address to this peer, if it counts."""
        loan = self._directory.lent(network, address)
        return loan if loan is not None and loan.to == self._identity else None

    def in_use(self, loan: LoanBody) -> bool:
        """Whether the borrower says a request for the address or an endpoint with it."""
        said = self._replica.view.get(loan.to, (REQUEST, request_key(loan.network, "", loan.address)))
        asked = said is not None and said.body is not None
        return asked or self._directory.says(loan.to, loan.network, int.from_bytes(loan.address, "big"))

    def borrows(self, request: RequestBody) -> bool:
        """Whether the own request holds an address that is leased here and another peer's."""
        if request.network == NUMBER_POOL or not request.start:
            return False
        address = int.from_bytes(request.start, "big")
        ring = self._directory.rings.get(request.network)
        foreign = ring is None or ring.owner(address) != self._identity
        return foreign and address in self.allocator.book(request.network).by_address

    def borrowed(self) -> int:
        """How many addresses in use here are not this peer's."""
        return sum(len(self.outside(network)) for network in sorted(self._directory.rings))

    def outside(self, network: int) -> list[int]:
        """The addresses in use here that are not this peer's."""
        ring = self._directory.rings.get(network)
        return [] if ring is None else sorted(self._space(network, ring).outside)

    def owns(self, network: int, text: str) -> bool:
        """Whether the address is in a range of this peer; not if it is none."""
        ring = self._directory.rings.get(network)
        try:
            return ring is not None and ring.owner(address_of(text)) == self._identity
        except ValueError:
            return False

    def check_endpoint(self, body: EndpointBody) -> None:
        """Raise Refusal unless every address of the endpoint is this peer's to use."""
        what = "the endpoint was not announced"
        ring = self._ring(body.network, what)
        for text, number in body.addresses:
            address = parse_interface(text)[0]
            loan = self.loan(body.network, address)
            lent = loan is not None and loan.number == number
            if ring.owner(address) != self._identity and not lent:
                raise Refusal(what, f"{text} is not in a range of this peer", "lease an address first", "foreign")

    def hand_back(self, out: Output, heirs: Sequence[bytes]) -> None:
        """End all leases and give each own range to a neighbour that stays, else to who gave it or the first heir.

        What is lent goes to who borrows it.
        """
        out.persist += self.allocator.release_all()
        self._hand_back_numbers(out, heirs)
        for number, ring in sorted(self._directory.rings.items()):
            for tile in ring.owned(self._identity):
                self._hand_back_tile(out, number, ring, tile, heirs)

    def ranges(self, network: int) -> list[RangeView]:
        """The tiles of a network, or of the number pool (0), neighbours of one owner joined."""
        ring = self._directory.numbers.ring if network == NUMBER_POOL else self._directory.rings.get(network)
        joined: list[RangeView] = []
        for tile in [] if ring is None else ring.tiles():
            if joined and joined[-1].end == tile.start and joined[-1].owner == tile.owner:
                joined[-1] = RangeView(joined[-1].start, tile.end, tile.owner)
            else:
                joined.append(RangeView(tile.start, tile.end, tile.owner))
        return joined

    def free(self, network: int) -> int:
        """How many addresses could be leased here now."""
        ring = self._directory.rings.get(network)
        return 0 if ring is None else self._space(network, ring).free

    def owned(self, network: int) -> int:
        """How many addresses this peer's ranges have for leasing, used ones included."""
        ring = self._directory.rings.get(network)
        return 0 if ring is None else self._space(network, ring).owned

    def _space(self, network: int, ring: Ring) -> Space:
        return self.allocator.space(network, ring, self._identity)

    def _hand_back_tile(self, out: Output, network: int, ring: Ring, tile: Tile, heirs: Sequence[bytes]) -> None:
        to = heir(ring, tile, heirs, self._roster.reachable)
        if to is None:
            return
        start = tile.start
        for address in sorted(self.allocator.book(network).lent):
            loan = self._directory.lent(network, address)
            if not tile.start <= address < tile.end or loan is None or loan.to not in heirs or not self.in_use(loan):
                continue
            if start < address:
                self._hand_over(out, network, tile, start, address, to)
            self._hand_over(out, network, tile, address, address + 1, loan.to)
            start = address + 1
        if start < tile.end:
            self._hand_over(out, network, tile, start, tile.end, to)

    def _hand_back_numbers(self, out: Output, heirs: Sequence[bytes]) -> None:
        """All numbers to one heir, the registrar if that is another: only who owns all free ones gives any out."""
        numbers = self._directory.numbers
        registrar = numbers.registrar()
        to = registrar if registrar in heirs else next(iter(heirs), None)
        if numbers.ring is None or to is None:
            return
        for tile in numbers.ring.owned(self._identity):
            grant = tile.deed.grant
            name = grant.name if tile.start in self._directory.networks else ""
            self.grant(out, Grant(NUMBER_POOL, tile.start, tile.end, to, grant.version + 1, tile.deed.id, name))

    def _ring(self, network: int, what: str) -> Ring:
        ring = self._directory.rings.get(network)
        if ring is None:
            raise Refusal(what, f"network {network} is not known here", "see the networks' list", "unknown-network")
        return ring

    def _choose(self, network: int, ring: Ring, endpoint: bytes, wanted: str | None) -> int:
        what = "no address was leased"
        held = self.allocator.held(network, endpoint)
        if wanted is None:
            if held is not None and self._may_use(network, ring, held):
                return held.address
            found = self._space(network, ring).find(self.allocator.book(network).last)
            if found is None:
                fix = "release addresses here, or attach on another host"
                raise Refusal(what, "every address of this peer's ranges is in use", fix, "no-space")
            return found
        address = self._parse(ring, wanted)
        holder = self.allocator.book(network).by_address.get(address)
        if holder not in (None, endpoint):
            raise Refusal(what, f"{wanted} is in use on this host", "choose another address", "taken")
        if held is not None and held.address == address and self._may_use(network, ring, held):
            return address
        self._check_free(network, ring, address, wanted)
        return address

    def _may_use(self, network: int, ring: Ring, held: Held) -> bool:
        loan = self.loan(network, held.address)
        return ring.owner(held.address) == self._identity or (loan is not None and loan.number == held.number)

    def _check_free(self, network: int, ring: Ring, address: int, wanted: str) -> None:
        """Raise Refusal unless the address can be leased: it is this peer's and not lent, or lent for its request."""
        what, choose = "no address was leased", "choose another address"
        owner, loan = ring.owner(address), self._directory.lent(network, address)
        if loan is not None and loan.to != self._identity:
            raise Refusal(what, f"{wanted} is lent to {self._peer(loan.to)}", choose, "taken")
        if owner == self._identity or (loan is not None and self._answers(loan)):
            return
        user = self._directory.holder(network, address)
        if user is not None and user[0] != self._identity:
            name = f" by its endpoint {user[1].name}" if user[1].name else ""
            raise Refusal(what, f"{wanted} is in use on {self._peer(user[0])}{name}", choose, "taken")
        whose = "nobody yet" if owner is None else self._peer(owner)
        fix = "attach there, or choose an address of this host's ranges"
        if owner is not None and self._roster.gone(owner):
            whose += ", which does not take part in the mesh any more"
            fix = "choose an address of this host's ranges, or let an admin reclaim that peer's"
        raise Refusal(what, f"{wanted} belongs to {whose}", fix, "foreign")

    def _answers(self, loan: LoanBody) -> bool:
        """Whether the loan answers the request for its address that this peer says."""
        slot = (REQUEST, request_key(loan.network, "", loan.address))
        said = self._replica.view.get(self._identity, slot)
        if said is None or said.body is None:
            return False
        request = decode_body(REQUEST, said.body)
        return isinstance(request, RequestBody) and request.nonce == loan.answers

    def _peer(self, peer: bytes) -> str:
        return "this host" if peer == self._identity else f"peer {self._roster.name(peer)}"

    def _moved(self, network: int, held: Held | None) -> None:
        if held is not None:
            self.freed[network, held.address] = None

    def _parse(self, ring: Ring, wanted: str) -> int:
        what = "no address was leased"
        try:
            address = address_of(wanted)
        except ValueError:
            raise Refusal(what, f"{wanted!r:.80} is no IP address", "write it as a.b.c.d", "bad-address") from None
        pool = ring.pool(address)
        if pool is None:
            pools = ", ".join(f"{show(each.start)}/{each.length}" for each in ring.pools)
            raise Refusal(what, f"{wanted} is outside the network", f"choose one of {pools}", "bad-address")
        if pool.reserved(address):
            raise Refusal(what, f"{wanted} is reserved in its pool", "choose another address", "bad-address")
        return address

    def _hand_over(
        self, out: Output, network: int, tile: Tile, start: int, end: int, to: bytes, nonce: bytes = b""
    ) -> None:
        version = tile.deed.grant.version + 1
        self.grant(out, Grant(network, start, end, to, version, tile.deed.id, answers=nonce))

    def grant(self, out: Output, grant: Grant) -> None:
        """Say a grant."""
        data = encode_body(GRANT, grant)
        self._replica.publish(out, (GRANT, grant_id(self._identity, data)), data)
