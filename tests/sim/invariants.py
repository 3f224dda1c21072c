"""What must hold of a simulated mesh: at every moment, and when it has come to rest."""

from __future__ import annotations

from itertools import pairwise

from gossip.ipam.ranges import network_of, parse_interface
from tests.sim.world import NETWORK, Host, World


class InvariantBroken(AssertionError):
    """A mesh is in a state it must never be in."""


def check_always(world: World) -> None:
    """No address has two owners by their own belief, and none is leased twice; hosts that are down count too."""
    owners: list[tuple[int, int, str]] = []
    leased: dict[int, str] = {}
    for host in world.hosts:
        node = host.node if host.up else host.load()
        owners += [(r.start, r.end, host.name) for r in node.ranges(1) if r.owner == host.identity]
        for lease in node.leases():
            address = parse_interface(lease.address)[0]
            if address in leased:
                raise InvariantBroken(f"{lease.address} is leased by {leased[address]} and {host.name}")
            leased[address] = host.name
    owners.sort()
    for left, right in pairwise(owners):
        if left[1] > right[0]:
            raise InvariantBroken(f"{left[2]} and {right[2]} both own {right[0]:#x}")


def check_rest(world: World) -> None:
    """All views are equal, whole and what the host sides were told."""
    first = world.hosts[0]
    for host in world.hosts:
        if not host.up or not host.joined:
            raise InvariantBroken(f"{host.name} is not part of the mesh")
        if host.node.summary() != first.node.summary():
            raise InvariantBroken(f"{host.name} and {first.name} hold different statements")
        if host.node.endpoints() != first.node.endpoints() or host.node.ranges(1) != first.node.ranges(1):
            raise InvariantBroken(f"{host.name} and {first.name} understand the same statements differently")
        unreached = [view.body.name for view in host.node.peers() if not view.reachable]
        if unreached or len(host.node.peers()) != len(world.hosts):
            raise InvariantBroken(f"{host.name} does not reach {unreached} of {len(host.node.peers())} peers")
        _check_told(host)
    _check_tiling(first)
    _check_endpoints(world)


def _check_told(host: Host) -> None:
    others = [(owner, body) for owner, body in host.node.endpoints() if owner != host.identity]
    if [(key[0], body) for key, body in sorted(host.told.items())] != others:
        raise InvariantBroken(f"{host.name} was told of other endpoints than it knows")


def _check_tiling(host: Host) -> None:
    pool = network_of(NETWORK.pools[0])
    at = pool.start
    for each in host.node.ranges(1):
        if each.start != at:
            raise InvariantBroken(f"the ranges do not tile the pool at {at:#x}")
        at = each.end
    if at != pool.end:
        raise InvariantBroken("the ranges end before the pool")


def _check_endpoints(world: World) -> None:
    seen = {(owner, body.name) for owner, body in world.hosts[0].node.endpoints()}
    for host in world.hosts:
        for endpoint in host.attached:
            if (host.identity, endpoint.hex()) not in seen:
                raise InvariantBroken(f"an endpoint of {host.name} is not known to the mesh")
