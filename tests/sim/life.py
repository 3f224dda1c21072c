"""A mesh's whole life from a seed: birth, faults, rest, with the invariants checked all along."""

from __future__ import annotations

from gossip.errors import Refusal
from tests.sim.invariants import check_always, check_rest
from tests.sim.world import World

SIZE = 5
STEPS = 60
STEP_S = 0.7
QUIET_S = 75.0  # the longest dial pause, the silence of a dead link, and some rounds of anti-entropy
CRASH_CHANCE = 0.004


def live(seed: int, size: int = SIZE, steps: int = STEPS) -> World:
    """Run one life; raises InvariantBroken."""
    world = World(seed, size)
    world.hosts[0].start()
    world.crash_chance, world.harsh = CRASH_CHANCE, True
    for host in world.hosts[1:]:
        world.clock.after(world.rng.uniform(0, steps * STEP_S / 2), host.begin)
    leaver = world.hosts[0] if world.rng.random() < 0.5 else world.rng.choice(world.hosts)
    leaves_at = world.rng.randrange(steps // 2, steps + steps // 2)
    for step in range(steps):
        world.clock.run(world.clock.now + world.rng.uniform(0, 2 * STEP_S))
        if step >= leaves_at and leaver.up and not leaver.left and all(host.joined for host in world.hosts):
            leaver.leave()
        world.act()
        check_always(world)
    world.crash_chance = 0.0
    world.network.partition({})
    for host in world.hosts:
        host.begin()
    world.clock.run(world.clock.now + QUIET_S)
    _reconcile(world)
    check_always(world)
    check_rest(world)
    return world


def _reconcile(world: World) -> None:
    """Announce what a crash left leased but unannounced, as a host does on start."""
    for host in world.hosts:
        for endpoint, lease in sorted(host.attached.items()):
            known = [body.number for body in host.node.networks()]
            if lease.network not in known:
                del host.attached[endpoint]  # the network went while this host was down
                continue
            try:
                host.attach(endpoint, lease.network)
            except Refusal as refusal:
                raise AssertionError(f"{host.name} may not announce what it leased: {refusal}") from refusal
    world.clock.run(world.clock.now + 5.0)
