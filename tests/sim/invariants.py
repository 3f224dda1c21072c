"""What must hold of a simulated mesh: at every moment, and when it has come to rest."""

from __future__ import annotations

from itertools import pairwise

from gossip.ipam.ranges import network_of, parse_interface
from gossip.networks.numbers import NUMBERS
from gossip.node import Node
from gossip.state.address_bodies import NUMBER_POOL
from tests.sim.host import Host
from tests.sim.world import World

PATIENCE_S = 0.05


class InvariantBroken(AssertionError):
    """A mesh is in a state it must never be in."""


def check_always(world: World) -> None:
    """By the belief of each host of itself, also of those that are down: one owner, lease and holder of a name."""
    owners: list[tuple[int, int, int, str]] = []
    leased: dict[tuple[int, int], str] = {}
    names: dict[str, str] = {}
    for host in world.hosts:
        node = host.node if host.up else host.load()
        for network in _networks(node):
            owners += [(network, r.start, r.end, host.name) for r in node.ranges(network) if r.owner == host.identity]
        for lease in node.leases():
            place = (lease.network, parse_interface(lease.address)[0])
            if place in leased:
                raise InvariantBroken(f"{lease} is leased by {leased[place]} and {host.name}")
            leased[place] = host.name
        for name in [name for name, _, owner in node.names() if owner == host.identity]:
            if name in names:
                raise InvariantBroken(f"network {name} is held by {names[name]} and {host.name}")
            names[name] = host.name
        check_late(world, host)
    owners.sort()
    for left, right in pairwise(owners):
        if left[0] == right[0] and left[2] > right[1]:
            raise InvariantBroken(f"{left[3]} and {right[3]} both own {right[1]:#x} of network {right[0]}")


def check_late(world: World, host: Host) -> None:
    """A host is answered in time, forgets nobody it was told to turn away, and sees no clone where there is none."""
    if host.forgot:
        raise InvariantBroken(f"{host.name} was told that {host.forgot[0].hex()[:8]} is out, and forgot it")
    if host.clones_told:
        raise InvariantBroken(f"{host.name} believes in a clone of itself")
    late = [what for what, until in host.waiting.items() if host.up and world.clock.now > until + PATIENCE_S]
    if late:
        raise InvariantBroken(f"{host.name} was never answered about {late}")


def check_rest(world: World) -> None:
    """All views are equal, whole and what the host sides were told."""
    witness = next(host for host in world.hosts if not host.lost)
    out = [view.identity for view in witness.node.peers() if view.revoked]
    lost = [host.identity for host in world.hosts if host.lost]
    staying = [host for host in world.hosts if not (host.left or host.lost) and host.identity not in out]
    if not staying:
        raise InvariantBroken("nobody is left of the mesh")
    first = staying[0]
    for host in staying:
        if not host.up or not host.joined:
            raise InvariantBroken(f"{host.name} is not part of the mesh")
        if host.node.summary() != first.node.summary():
            raise InvariantBroken(f"{host.name} and {first.name} hold different statements")
        if _understanding(host.node) != _understanding(first.node):
            raise InvariantBroken(f"{host.name} and {first.name} understand the same statements differently")
        views = [v for v in host.node.peers() if not v.left and not v.revoked and v.identity not in lost]
        unreached = [view.body.name for view in views if not view.reachable]
        if unreached or len(views) != len(staying):
            raise InvariantBroken(f"{host.name} does not reach {unreached} of {len(views)} peers")
        _check_told(host)
        _check_barred(host)
    _check_tiling(first)
    _check_names(world, first, out)
    _check_endpoints(staying)


def _networks(node: Node) -> list[int]:
    return [NUMBER_POOL, *(body.number for body in node.networks())]


def _understanding(node: Node) -> list[object]:
    ranges = [(network, node.ranges(network)) for network in _networks(node)]
    judged = [(view.identity, view.revoked, node.roles(view.identity)) for view in node.peers()]
    acts = [node.revocations(), node.allowed(), node.rotation()]
    return [node.endpoints(), node.networks(), node.names(), node.registrar(), ranges, judged, acts]


def _check_told(host: Host) -> None:
    others = [(owner, body) for owner, body in host.node.endpoints() if owner != host.identity]
    told = [(key[0], body) for key, body in sorted(host.told.items()) if key[0] != host.identity]
    if told != others:
        raise InvariantBroken(f"{host.name} was told of other endpoints than it knows")


def _check_barred(host: Host) -> None:
    barred = [view.identity for view in host.node.peers() if view.revoked]
    if sorted(host.barred) != barred:
        raise InvariantBroken(f"{host.name} was told of other peers that are out than it knows")


def _check_tiling(host: Host) -> None:
    spans = [(NUMBER_POOL, NUMBERS.start, NUMBERS.end)]
    for body in host.node.networks():
        spans += [(body.number, pool.start, pool.end) for pool in map(network_of, body.pools)]
    for network, start, end in spans:
        at = start
        for each in [r for r in host.node.ranges(network) if r.start < end and start < r.end]:
            if max(each.start, start) != at:
                raise InvariantBroken(f"the ranges of network {network} do not tile the pool at {at:#x}")
            at = min(each.end, end)
        if at != end:
            raise InvariantBroken(f"the ranges of network {network} end before the pool")


def _check_names(world: World, host: Host, out: list[bytes]) -> None:
    """One network for a name, the one that everybody was answered with who asked for it; and somebody gives numbers.

    A network that only hosts knew of which were reclaimed and had not heard of it is gone with what they owned.
    """
    known = {body.name: body for body in host.node.networks()}
    if len(known) != len(host.node.networks()):
        raise InvariantBroken("two networks have one name")
    for each in world.hosts:
        for body in each.answered if each.identity not in out and not each.lost else []:
            meant = body.number in world.removed or world.unheard.gone_with_its_founder(body)
            if not meant and known.get(body.name) != body:
                raise InvariantBroken(f"{each.name} was answered with a network {body.name} that is not the mesh's")
    registrar = host.node.registrar()
    if registrar is None or any(view.identity == registrar and view.left for view in host.node.peers()):
        raise InvariantBroken("nobody gives out network numbers")


def _check_endpoints(hosts: list[Host]) -> None:
    seen = {(owner, body.name) for owner, body in hosts[0].node.endpoints()}
    for host in hosts:
        for endpoint in host.attached:
            if endpoint not in host.silent and (host.identity, endpoint.hex()) not in seen:
                raise InvariantBroken(f"an endpoint of {host.name} is not known to the mesh")
