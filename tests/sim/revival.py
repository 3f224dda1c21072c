"""A dead peer comes back in the middle of its reclaim, where the one who reclaims it does not see it.

Four hosts: h0 reclaims h2, which is down. h3 agrees; h1 is slow, for it just restarts. Meanwhile h0 and h1 are cut off
from h3, and h2 returns on h3's side, which asks it for addresses. Then h1 agrees too, and h0 takes over.
Rule: h3 promised, so it may use nothing that h2 gives it after that, though it does not know that h0 went on; also not
after a restart.
"""

from __future__ import annotations

from gossip import limits
from gossip.ipam.ranges import show
from gossip.state.address_bodies import GRANT, LOAN, Grant, LoanBody
from gossip.state.bodies import decode_body
from tests.sim.address_invariants import check_addresses
from tests.sim.address_life import rest
from tests.sim.address_world import AddressWorld, settled
from tests.sim.invariants import InvariantBroken

STEP_S = 0.05


TRY_S = 8.0
"""How long one attempt of the reclaim stands here: h3, cut off, cannot answer a second one."""


def revive(restart: bool) -> AddressWorld:
    """The story, with a restart of h3 after h2 gave it something, or without; raises InvariantBroken."""
    world = settled(4, ["10.0.0.0/24"])
    asker, slow, dead, promiser = world.hosts
    theirs = [a for r in asker.node.ranges(1) if r.owner == dead.identity for a in range(r.start, r.end)]
    contested = [show(address) for address in theirs[2:6]]
    dead.dead = True
    dead.crash(silently=False)
    _pass(world, 10.0)
    slow.crash()
    limits.RECLAIM_TRY_S = TRY_S  # `hurried` puts it back
    asker.reclaim([dead.identity])
    _pass(world, 0.5)
    world.network.partition({0: 0, 1: 0, 2: 1, 3: 1})
    dead.dead = False
    dead.begin()
    _pass(world, 0.3)
    _ask(world, contested[0])
    if restart:
        promiser.crash()
        promiser.begin()
        _pass(world, 0.1)
    slow.begin()
    until = world.clock.now + limits.RECLAIM_S
    while not asker.reclaimed and world.clock.now < until:
        _pass(world, STEP_S)
    if not asker.reclaimed:
        raise InvariantBroken("the reclaim did not come to its end")
    for number, address in enumerate(contested):
        promiser.attach(b"again %d" % number, 1, address)
        asker.attach(b"mine %d" % number, 1, address)
    _pass(world, 3.0)
    rest(world)
    return world


def _ask(world: AddressWorld, wanted: str) -> None:
    """h3 asks h2 for an address until it holds what h2 gives it."""
    dead, promiser = world.hosts[2:]
    until = world.clock.now + TRY_S / 2
    while world.clock.now < until:
        if (1, b"wanted") not in promiser.waiting:
            promiser.attach(b"wanted", 1, wanted)
        _pass(world, limits.CLAIM_S / 2)
        said = promiser.node._replica.view.owners[dead.identity].in_order()
        bodies = [decode_body(s.kind, s.body) for s in said if s.kind in (GRANT, LOAN) and s.body is not None]
        if any(isinstance(body, (Grant, LoanBody)) and body.to == promiser.identity for body in bodies):
            return
    raise InvariantBroken("who came back gave nothing")


def _pass(world: AddressWorld, seconds: float) -> None:
    until = world.clock.now + seconds
    while world.clock.now < until:
        world.clock.run(world.clock.now + STEP_S)
        check_addresses(world)
