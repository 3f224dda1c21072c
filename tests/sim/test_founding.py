"""Founding one network on three hosts at once, with a crash at each write, and on both sides of a cut."""

from __future__ import annotations

import pytest

from gossip import limits
from gossip.state.address_bodies import NetworkBody
from tests.sim.invariants import check_always, check_rest
from tests.sim.life import QUIET_S
from tests.sim.world import World

WRITES = 18
WAYS = ("before", "after", "done")


def mesh(seed: int = 1) -> World:
    """Four hosts that know each other."""
    world = World(seed, 4)
    for host in world.hosts:
        host.begin()
    world.clock.run(15.0)
    check_rest(world)
    return world


def rest(world: World) -> None:
    """Let the mesh come to rest, and check it."""
    world.network.partition({})
    world.clock.run(world.clock.now + QUIET_S)
    check_always(world)
    check_rest(world)


def watch(world: World, until: float) -> None:
    """Run with the invariants checked all along."""
    while world.clock.now < until:
        world.clock.run(world.clock.now + 0.01)
        check_always(world)


def found_everywhere(world: World) -> None:
    """Every host that is up founds the same network in the same moment."""
    for host in world.hosts:
        if host.up:
            host.create("web", [])


def test_founded_everywhere_at_once_it_is_one_network() -> None:
    world = mesh()
    found_everywhere(world)
    watch(world, world.clock.now + 2 * limits.CLAIM_S)
    rest(world)
    answers = [body for host in world.hosts for body in host.answered]
    assert len(answers) == len(world.hosts)
    assert {body.name for body in answers} == {"web"} and all(body == answers[0] for body in answers)


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_each_write_leaves_one_founder(way: str) -> None:
    struck = 0
    for write in range(1, WRITES + 1):
        world = mesh()
        world.persists = 0
        world.strike_at = (write, way)
        found_everywhere(world)
        watch(world, world.clock.now + 2 * limits.CLAIM_S)
        struck += world.persists >= write
        world.clock.run(world.clock.now + 20.0)
        world.hosts[3].create("web", [])
        watch(world, world.clock.now + 2 * limits.CLAIM_S)
        assert world.hosts[3].answered or world.hosts[3].refused, "the host was answered"
        rest(world)
    assert struck == WRITES, "the scenario has fewer writes than are struck"


def test_across_a_cut_the_registrars_side_founds_and_the_other_is_told_whom_it_waits_for() -> None:
    world = mesh()
    world.network.partition({0: 0, 1: 0, 2: 1, 3: 1})
    for host in world.hosts[1:]:
        host.create("web", [])
    watch(world, world.clock.now + 2 * limits.CLAIM_S)
    assert [body.name for body in world.hosts[1].answered] == ["web"]
    for host in world.hosts[2:]:
        assert host.answered == []
        assert [(refusal.code, refusal.why.split(",")[0]) for refusal in host.refused] == [("unreachable", "h0")]
    rest(world)
    for host in world.hosts[2:]:
        host.create("web", [])
        assert isinstance(host.answered[-1], NetworkBody) and host.answered == world.hosts[1].answered


def test_with_one_host_dead_the_other_goes_on_allocating() -> None:
    world = World(5, 2)
    for host in world.hosts:
        host.begin()
    world.clock.run(15.0)
    world.hosts[0].crash()
    survivor = world.hosts[1]
    for number in range(40):
        survivor.attach(b"endpoint-%d" % number)
        watch(world, world.clock.now + 0.05)
    assert len(survivor.attached) == 40
