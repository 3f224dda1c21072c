"""A mesh's life from a seed in which addresses are claimed, lent, given, taken over from the dead and settled.

Rule: as in `tests.sim.life`, with small pools, hosts that die for good and, in some lives, streams that lose, double
and reorder messages. At rest whoever died returns, or is reclaimed and never comes back.
"""

from __future__ import annotations

from gossip.errors import Refusal
from tests.sim.address_invariants import check_addresses, check_addresses_at_rest, engaged
from tests.sim.address_world import AddressWorld, fences_held, hurried
from tests.sim.host import Host
from tests.sim.invariants import InvariantBroken
from tests.sim.life import QUIET_S
from tests.sim.people import mac_of

SIZE = 5
STEPS = 70
STEP_S = 0.7
CRASH_CHANCE = 0.004
DISORDER = (0.03, 0.05, 0.1)
RECLAIM_TRIES = 3
SETTLED_S = 60.0


def live(seed: int, size: int = SIZE, steps: int = STEPS) -> AddressWorld:
    """Run one life; raises InvariantBroken."""
    with hurried():
        world = begin(seed, size, steps * STEP_S / 4)
        leaver = world.rng.choice(world.hosts)
        leaves_at = world.rng.randrange(steps // 2, 2 * steps)
        for step in range(steps):
            world.clock.run(world.clock.now + world.rng.uniform(0, 2 * STEP_S))
            if step >= leaves_at and leaver.up and not leaver.left and all(host.joined for host in world.hosts):
                leave(leaver)
            world.act()
            check_addresses(world)
        rest(world)
    return world


def begin(seed: int, size: int, within_s: float) -> AddressWorld:
    """A mesh whose hosts come up one after the other, with faults."""
    world = AddressWorld(seed, size)
    world.crash_chance, world.harsh = CRASH_CHANCE, True
    if world.rng.random() < 1 / 3:
        world.network.disorder(*DISORDER)
    world.hosts[0].start()
    for host in world.hosts[1:]:
        world.clock.after(world.rng.uniform(0, within_s), host.begin)
    return world


def leave(host: Host) -> None:
    """Leave for good; what a crash left attached of a host that meant to go is detached when it is back."""
    going = dict.fromkeys(host.attached)
    host.leave()
    host.ending.update({} if host.left else going)


def rest(world: AddressWorld) -> None:
    """No fault happens any more; who died returns or is reclaimed; then all must agree and nothing be lost."""
    world.crash_chance = 0.0
    world.network.partition({})
    world.network.disorder(0.0, 0.0, 0.0)
    admins = [host for host in world.hosts[:1] + world.hosts[1::2] if not (host.left or host.dead) and host.joined]
    known = all(len(admin.node.peers()) == len(world.hosts) for admin in admins)
    for host in world.hosts:
        if host.dead and admins and known and world.rng.random() < 0.5:
            host.lost = True
        else:
            host.dead = False
            host.begin()
    world.clock.run(world.clock.now + QUIET_S)
    if admins:
        admin = world.rng.choice(admins)
        gone = [host for host in world.hosts if host.lost or host.left]  # who left may have been given more on the way
        if any(_owns(admin, host) for host in gone):
            take_over(world, admin, gone)
    reconcile(world)
    until = world.clock.now + SETTLED_S
    while world.clock.now < until and any(engaged(host) for host in world.hosts if not (host.left or host.lost)):
        world.clock.run(world.clock.now + 1.0)  # editions follow each other at their pace
    check_addresses_at_rest(world)


def take_over(world: AddressWorld, admin: Host, lost: list[Host]) -> None:
    """In a mesh at rest a reclaim of hosts that are gone for good succeeds, and leaves them nothing.

    It is forced exactly where a host left before anything of it was heard: then nobody knows whom it let in.
    """
    for _ in range(RECLAIM_TRIES):
        owners = [host.identity for host in lost if _owns(admin, host)]
        if not owners:
            return
        done, heard = len(admin.reclaimed), [view.identity for view in admin.node.peers()]
        admin.reclaim(owners, forced=any(owner not in heard for owner in owners))
        world.clock.run(world.clock.now + QUIET_S / 2)
        if len(admin.reclaimed) == done:
            raise InvariantBroken(f"{admin.name} was never answered about its reclaim")
        if isinstance(admin.reclaimed[-1], Refusal):
            raise InvariantBroken(f"at rest {admin.name} may not reclaim {lost[0].name}: {admin.reclaimed[-1]}")
    raise InvariantBroken(f"{lost[0].name} still owns something after {RECLAIM_TRIES} reclaims")


def _owns(witness: Host, host: Host) -> bool:
    networks = [0, *(body.number for body in witness.node.networks())]
    return any(each.owner == host.identity for number in networks for each in witness.node.ranges(number))


def reconcile(world: AddressWorld) -> None:
    """Announce what a crash left leased but unannounced, detach what is left on removed networks.

    What a reclaim took is given up, and nothing else is.
    """
    for host in world.hosts:
        if host.left or host.lost:
            continue
        networks = [body.number for body in host.node.networks()]
        fenced = any(body.peer == host.identity for body in fences_held(host.node))
        for endpoint, lease in sorted(host.attached.items()):
            if endpoint in host.ending or lease.network not in networks:
                host.detach(endpoint)
                continue
            held = host.node._addresses.allocator.held(lease.network, endpoint)
            if held is None and fenced:
                del host.attached[endpoint]
                host.apply(host.node.drop_endpoint(lease.network, mac_of(endpoint), host.now))
            elif held is None:
                raise InvariantBroken(f"{host.name} lost the lease {lease}")
            else:
                host.attach(endpoint, lease.network)
    world.clock.run(world.clock.now + 5.0)
