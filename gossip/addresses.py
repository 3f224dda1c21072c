"""This peer's acts on networks and addresses: found, donate, share, allocate, hand back.

Purpose: the rules of design §6 between what the mesh says (directory) and what this host leased (allocator).
Rule: only own tiles are leased or given, and never a tile's part that holds a lease. A grant names the deed by which
the donor owned the range. Each act adds to one `Output`, so that its writes are durable before anyone hears of it; a
refused act adds nothing.
Flow: `gossip.node` -> here -> `replica.publish` and the allocator's Puts.
Reference: design §6; docs/addresses.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from gossip import limits
from gossip.bodies import (
    DEFAULT_NETWORK,
    GRANT,
    NETWORK,
    NUMBER_POOL,
    EndpointBody,
    Grant,
    NetworkBody,
    encode_body,
    grant_id,
)
from gossip.errors import Refusal
from gossip.events import Lease, Output, RangeView
from gossip.ipam.allocator import Allocator
from gossip.ipam.ranges import address_of, block_around, network_of, parse_interface, show
from gossip.ipam.ring import Ring, Tile
from gossip.networks import Directory
from gossip.numbers import NUMBERS
from gossip.replica import Replica
from gossip.roster import Roster


class Addresses:
    """What this host does with networks and addresses."""

    def __init__(self, replica: Replica, directory: Directory, roster: Roster) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._identity = replica.identity
        self.allocator = Allocator()

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
        block = self.allocator.spare_block(network, ring, ring.owned(self._identity))
        if block is None or self.full():
            fix = "ask another peer, or free addresses here"
            raise Refusal(what, "this peer has too few free addresses to share", fix, "no-space")
        self._hand_over(out, network, *block, to)

    def share(self, out: Output, network: int, to: bytes, start: int | None, free: int, nonce: bytes) -> None:
        """Answer a request by a grant: the free block around `start`, else half of a free block; or say nothing.

        `free`: how many addresses the asker has; who has no more than that gives none.
        """
        ring = self._directory.rings.get(network)
        if ring is None or self.full():
            return
        own = ring.owned(self._identity)
        if start is not None:
            gaps = self.allocator.gaps(network, own)
            block = next(((tile, left, right) for tile, left, right in gaps if left <= start < right), None)
            if block is None:
                return
            block = (block[0], *block_around(start, block[1], block[2], limits.CLAIMED_BLOCK))
        else:
            block = self.allocator.spare_block(network, ring, own)
            if block is None or self.allocator.free(network, ring, own) <= free:
                return
        self._hand_over(out, network, *block, to, nonce)

    def full(self) -> bool:
        """Whether this peer has made as many grants as it may."""
        entry = self._replica.view.owners.get(self._identity)
        return entry is not None and sum(kind == GRANT for kind, _ in entry.held) >= limits.MAX_OWN_GRANTS

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
        if held is not None and held.address == address:
            return Lease(network, f"{show(address)}/{held.length}", held.number)
        pool = ring.pool(address)
        assert pool is not None
        above = self._directory.number_above(network, address)
        lease, puts = self.allocator.lease(network, pool, endpoint, address, above)
        out.persist += puts
        return lease

    def check_endpoint(self, body: EndpointBody) -> None:
        """Raise Refusal unless every address of the endpoint is this peer's to use."""
        what = "the endpoint was not announced"
        ring = self._ring(body.network, what)
        for text, _ in body.addresses:
            if ring.owner(parse_interface(text)[0]) != self._identity:
                raise Refusal(what, f"{text} is not in a range of this peer", "lease an address first", "foreign")

    def hand_back(self, out: Output, heirs: Sequence[bytes]) -> None:
        """End all leases and give each own range to who gave it, if that peer stays, else to the first heir."""
        out.persist += self.allocator.release_all()
        self._hand_back_numbers(out, heirs)
        for number, ring in sorted(self._directory.rings.items()):
            for tile in ring.owned(self._identity):
                to = tile.deed.donor if tile.deed.donor in heirs else next(iter(heirs), None)
                if to is not None:
                    self._hand_over(out, number, tile, tile.start, tile.end, to)

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
        return 0 if ring is None else self.allocator.free(network, ring, ring.owned(self._identity))

    def owned(self, network: int) -> int:
        """How many addresses this peer's ranges have for leasing, used ones included."""
        ring = self._directory.rings.get(network)
        if ring is None:
            return 0
        pools = [(tile, ring.pool(tile.start)) for tile in ring.owned(self._identity)]
        return sum(pool.usable(tile.start, tile.end) for tile, pool in pools if pool is not None)

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
            if held is not None and ring.owner(held.address) == self._identity:
                return held.address
            found = self.allocator.find(network, ring, ring.owned(self._identity))
            if found is None:
                fix = "release addresses here, or attach on another host"
                raise Refusal(what, "every address of this peer's ranges is in use", fix, "no-space")
            return found
        address = self._parse(ring, wanted)
        owner = ring.owner(address)
        if owner != self._identity:
            whose = "nobody yet" if owner is None else f"peer {self._roster.name(owner)}"
            fix = "attach there, or choose an address of this host's ranges"
            raise Refusal(what, f"{wanted} belongs to {whose}", fix, "foreign")
        holder = self.allocator.book(network).by_address.get(address)
        if holder not in (None, endpoint):
            raise Refusal(what, f"{wanted} is in use on this host", "choose another address", "taken")
        return address

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
