"""How much of each network each peer owns, uses and has lent.

Purpose: the operator's view of address space: who has room, who is full, what lies with peers that are away.
Rule: computed from the rings and endpoint statements as this host knows them; of its own use it knows the leases.
What may never be leased (gossip.ipam.ranges) is not counted.
Flow: the daemon asks `Node.utilisation`.
Reference: docs/addresses.md.
"""

from __future__ import annotations

from gossip.events import Share
from gossip.ipam.allocator import Allocator
from gossip.ipam.ranges import address_of, parse_interface
from gossip.ipam.ring import Ring
from gossip.networks.networks import Directory
from gossip.people.roster import Roster


def shares_of(own: bytes, directory: Directory, roster: Roster, allocator: Allocator) -> list[Share]:
    """Every owner's share of every network, by network and peer."""
    return [
        share
        for network, ring in sorted(directory.rings.items())
        for share in _network(own, network, ring, directory, roster, allocator)
    ]


def _network(
    own: bytes, network: int, ring: Ring, directory: Directory, roster: Roster, allocator: Allocator
) -> list[Share]:
    owned: dict[bytes, int] = {}
    for tile in ring.tiles():
        pool = ring.pool(tile.start)
        owned[tile.owner] = owned.get(tile.owner, 0) + (0 if pool is None else pool.usable(tile.start, tile.end))
    used: dict[bytes, dict[int, None]] = {}
    for peer, body in directory.endpoints(network):
        if peer != own:
            used.setdefault(peer, {}).update(dict.fromkeys(parse_interface(text)[0] for text, _ in body.addresses))
    leases = (lease for lease in allocator.leases() if lease.network == network)
    used[own] = dict.fromkeys(address_of(lease.address.split("/")[0]) for lease in leases)
    lent: dict[bytes, int] = {}
    for address, _ in directory.loans(network):
        owner = ring.owner(address)
        if owner is not None:
            lent[owner] = lent.get(owner, 0) + 1
    return [
        Share(
            network=network,
            peer=peer,
            owned=owned[peer],
            used=sum(ring.owner(address) == peer for address in used.get(peer, {})),
            lent=lent.get(peer, 0),
            reachable=peer == own or roster.reachable(peer),
            left=roster.left(peer),
        )
        for peer in sorted(owned)
    ]
