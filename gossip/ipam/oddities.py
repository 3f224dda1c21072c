"""What is odd about networks and addresses, in words for people.

Purpose: an operator sees what needs a hand: space of hosts that are gone, ranges given twice, addresses in doubt.
Rule: only what lasts is odd: each line names the peer and the network, and is gone when its reason is. Nothing here
changes anything.
Flow: the daemon asks `Node.check`.
Reference: docs/addresses.md.
"""

from __future__ import annotations

from gossip.ipam.addresses import Addresses
from gossip.ipam.ranges import show
from gossip.ipam.ring import Ring
from gossip.networks.networks import Directory
from gossip.people.roster import Roster
from gossip.reclaiming.consents import Consents
from gossip.reclaiming.fences import Fences


def oddities(
    directory: Directory, roster: Roster, fences: Fences, addresses: Addresses, consents: Consents
) -> list[str]:
    """Each oddity in a line."""
    lines: list[str] = []
    for number, ring in sorted(directory.rings.items()):
        name = f"network {directory.networks[number].name}"
        lines += _of_ring(name, ring, roster, fences)
        lines += _of_leases(name, number, directory, addresses)
    numbers = directory.numbers
    if numbers.ring is not None:
        lines += [f"network numbers: {fork}" for fork in numbers.ring.forks]
    registrar = numbers.registrar()
    if registrar is None:
        lines.append("network numbers: it is not known who gives them out; no network can be founded now")
    elif _away(registrar, roster, fences):
        why = _away(registrar, roster, fences)
        lines.append(f"network numbers: {roster.name(registrar)}, which gives them out, {why}; an admin can reclaim it")
    for owner, body in directory.waiting():
        where = ", ".join(text for text, _ in body.addresses)
        network = directory.networks.get(body.network)
        name = f"network {body.network}" if network is None else f"network {network.name}"
        why = "that is not its own"
        if network is None:
            why = "no such network is known here; if it was removed, detach the endpoint there"
        lines.append(f"{name}: an endpoint of {roster.name(owner)} with {where} does not count: {why}")
    for peer, promise in consents.promises():
        askers = ", ".join(roster.name(asker) for asker, _ in promise.runs)
        lines.append(f"{roster.name(peer)} is being reclaimed by {askers}: what it gives away now is not heeded")
    return lines


def _of_ring(name: str, ring: Ring, roster: Roster, fences: Fences) -> list[str]:
    tiles = ring.tiles()
    lines = [f"{name}: {fork}" for fork in ring.forks]
    unknown = [pool for pool in ring.pools if ring.tile(pool.start) is None]
    lines += [f"{name}: who owns {show(pool.start)}/{pool.length} is not known here yet" for pool in unknown]
    lost: dict[bytes, int] = {}
    for tile in tiles:
        lost[tile.owner] = lost.get(tile.owner, 0) + tile.end - tile.start
    for owner, size in sorted(lost.items()):
        why = _away(owner, roster, fences)
        if why:
            lines.append(f"{name}: {roster.name(owner)}, which {why}, owns {size} addresses; an admin can reclaim them")
    return lines


def _of_leases(name: str, number: int, directory: Directory, addresses: Addresses) -> list[str]:
    lines: list[str] = []
    book = addresses.allocator.book(number)
    for address in addresses.outside(number):
        loan, endpoint = addresses.loan(number, address), book.by_address.get(address)
        if endpoint is not None and (loan is None or loan.number != book.by_id[endpoint].number):
            lines.append(f"{name}: {show(address)} is in use here, but is neither this host's nor lent to it")
    return lines


def _away(peer: bytes, roster: Roster, fences: Fences) -> str:
    if roster.left(peer):
        return "left"
    if roster.barred(peer):
        return "does not count as a member"
    return "was reclaimed before and did not come back" if fences.fenced_out(peer) else ""
