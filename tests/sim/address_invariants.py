"""What must hold of addresses in a simulated mesh: one user of each at every moment, and nothing lost at rest.

Rule: a peer that was reclaimed and has not heard of it yet is not asked what it believes, only whether somebody else
uses what it had in use. From the moment it holds the fence it is a host like any other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from gossip.ipam.ranges import network_of, parse_interface, show
from gossip.node import Node
from gossip.state.address_bodies import (
    ACK,
    CONSENT,
    LOAN,
    NUMBER_POOL,
    REQUEST,
    AckBody,
    LoanBody,
    NetworkBody,
    RequestBody,
)
from gossip.state.bodies import decode_body
from tests.sim.address_world import AddressWorld, fences_held
from tests.sim.host import Host
from tests.sim.invariants import InvariantBroken, check_late, check_rest


@dataclass(frozen=True)
class Beliefs:
    """What every host believes at this moment, those that are down by what they have stored."""

    nodes: dict[int, Node]
    unaware: dict[int, None]
    """Hosts that were reclaimed and do not know it."""


def beliefs_of(world: AddressWorld) -> Beliefs:
    """Load who is down, and find who was reclaimed unawares."""
    nodes = {host.index: host.node if host.up else host.load() for host in world.hosts}
    fences = world.fences(nodes)
    unaware: dict[int, None] = {}
    for host in world.hosts:
        heard = {body.run for body in fences_held(nodes[host.index]) if body.peer == host.identity}
        if any(run not in heard for run in fences.get(host.identity, {})):
            unaware[host.index] = None
    return Beliefs(nodes, unaware)


def check_addresses(world: AddressWorld) -> None:
    """At every moment: one owner for an address, one lease on it, one holder of a name, an answer in time."""
    beliefs = beliefs_of(world)
    _check_owners(world, beliefs)
    _check_leases(world, beliefs)
    _check_holders(world, beliefs)
    for host in world.hosts:
        check_late(world, host)


def _check_owners(world: AddressWorld, beliefs: Beliefs) -> None:
    owned: list[tuple[int, int, int, str]] = []
    for host in world.hosts:
        node = beliefs.nodes[host.index]
        if host.index in beliefs.unaware or node._replica.doubt.alive:
            continue
        for network in [NUMBER_POOL, *(body.number for body in node.networks())]:
            owned += [(network, r.start, r.end, host.name) for r in node.ranges(network) if r.owner == host.identity]
    owned.sort()
    for left, right in pairwise(owned):
        if left[0] == right[0] and left[2] > right[1]:
            raise InvariantBroken(f"{left[3]} and {right[3]} both own {show(right[1])} of network {right[0]}")


def _check_leases(world: AddressWorld, beliefs: Beliefs) -> None:
    leased: dict[tuple[int, int], str] = {}
    quarantined = {
        (loan.network, int.from_bytes(loan.address, "big"), loan.to): None
        for host in world.hosts
        for lender, loan in loans_held(beliefs.nodes[host.index])
        if lender == host.identity and host.index not in beliefs.unaware
    }
    for host in world.hosts:
        for lease in beliefs.nodes[host.index].leases():
            place = (lease.network, parse_interface(lease.address)[0])
            if host.index in beliefs.unaware and (*place, host.identity) not in quarantined:
                continue
            if place in leased:
                raise InvariantBroken(f"{lease} is leased by {leased[place]} and {host.name}")
            leased[place] = host.name


def _check_holders(world: AddressWorld, beliefs: Beliefs) -> None:
    names: dict[str, str] = {}
    for host in world.hosts:
        if host.index in beliefs.unaware or beliefs.nodes[host.index]._replica.doubt.alive:
            continue
        for name in [name for name, _, owner in beliefs.nodes[host.index].names() if owner == host.identity]:
            if name in names:
                raise InvariantBroken(f"network {name} is held by {names[name]} and {host.name}")
            names[name] = host.name


def check_addresses_at_rest(world: AddressWorld) -> None:
    """All agree, nothing is asked for any more, and every address is free, in use, lent or reserved.

    What is odd is told of nobody but hosts that are gone for good, whose endpoints nobody can withdraw.
    """
    lost = [host.name for host in world.hosts if host.lost]
    check_addresses(world)
    check_rest(world)
    staying = [host for host in world.hosts if not (host.left or host.lost)]
    for body in staying[0].node.networks():
        _check_account(staying, body)
        _check_one_user(staying[0], body)
    for host in staying:
        _check_leases_stand(host)
        _check_nothing_open(host, [each.identity for each in world.hosts if each.lost])
        odd = [line for line in host.node.check() if not any(f"an endpoint of {name} " in line for name in lost)]
        if odd:
            raise InvariantBroken(f"{host.name} finds odd: {odd}")


def loans_held(node: Node) -> list[tuple[bytes, LoanBody]]:
    """The loans that a core holds as (lender, loan), whether they count or not."""
    bodies = [(owner, decode_body(LOAN, data)) for owner, kind, data in _said(node) if kind == LOAN]
    return [(owner, body) for owner, body in bodies if isinstance(body, LoanBody)]


def _said(node: Node) -> list[tuple[bytes, str, bytes]]:
    return [(s.owner, s.kind, s.body) for s in node._replica.view.statements() if s.body is not None]


def _owners(host: Host, network: int) -> dict[int, bytes]:
    """Who owns each address of a network with small pools."""
    return {address: each.owner for each in host.node.ranges(network) for address in range(each.start, each.end)}


def _check_account(hosts: list[Host], body: NetworkBody) -> None:
    """What can be leased, what is in use or lent in the own ranges, and what is reserved make up the pools."""
    pools = [network_of(text) for text in body.pools]
    usable = sum(pool.usable(pool.start, pool.end) for pool in pools)
    owners = _owners(hosts[0], body.number)
    count = 0
    for host in hosts:
        used = [parse_interface(lease.address)[0] for lease in host.node.leases() if lease.network == body.number]
        lent = [
            int.from_bytes(loan.address, "big")
            for owner, loan in loans_held(host.node)
            if owner == host.identity and loan.network == body.number
        ]
        taken = dict.fromkeys(address for address in [*used, *lent] if owners.get(address) == host.identity)
        count += host.node.free(body.number) + len(taken)
    if count != usable:
        raise InvariantBroken(f"{usable - count} of {usable} addresses of network {body.name} can never be leased")


def _check_one_user(host: Host, body: NetworkBody) -> None:
    seen: dict[int, bytes] = {}
    for owner, endpoint in host.node.endpoints(body.number):
        for address in [parse_interface(text)[0] for text, _ in endpoint.addresses]:
            if address in seen:
                raise InvariantBroken(f"two endpoints with {show(address)} count")
            seen[address] = owner


def _check_leases_stand(host: Host) -> None:
    """Every lease is on an own address, or on a loan by its owner with that very number."""
    known = [body.number for body in host.node.networks()]
    for lease in [lease for lease in host.node.leases() if lease.network in known]:
        address = parse_interface(lease.address)[0]
        owner = _owners(host, lease.network).get(address)
        loans = [
            loan.number
            for lender, loan in loans_held(host.node)
            if lender == owner
            and (loan.network, int.from_bytes(loan.address, "big"), loan.to) == (lease.network, address, host.identity)
        ]
        if owner != host.identity and lease.number not in loans:
            raise InvariantBroken(f"{host.name} uses {lease}, which is another's and not lent")


def engaged(host: Host) -> bool:
    """Whether the host is bound by a consent, or acknowledges an edition that waits for others."""
    return any(owner == host.identity and kind in (CONSENT, ACK) for owner, kind, _ in _said(host.node))


def _check_nothing_open(host: Host, lost: list[bytes]) -> None:
    """No consent binds, no edition waits for anybody but the lost; who asks for an address holds it on loan."""
    held = {(lease.network, parse_interface(lease.address)[0]) for lease in host.node.leases()}
    for owner, kind, data in _said(host.node):
        if owner != host.identity:
            continue
        ack = decode_body(ACK, data) if kind == ACK else None
        if kind == CONSENT or (isinstance(ack, AckBody) and ack.of not in lost):
            raise InvariantBroken(f"{host.name} still says {kind}")
        body = decode_body(REQUEST, data) if kind == REQUEST else None
        if isinstance(body, RequestBody) and (body.network, int.from_bytes(body.start, "big")) not in held:
            raise InvariantBroken(f"{host.name} still asks for what it does not hold: {body}")
