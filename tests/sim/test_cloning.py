"""Two hosts started from one disk find out by themselves, wherever in the mesh they are linked."""

from __future__ import annotations

import os

import pytest

from gossip import limits
from gossip.errors import Refusal
from tests.sim.host import Host
from tests.sim.world import World

SEEDS = [int(os.environ["MESHNET_SEED"])] if "MESHNET_SEED" in os.environ else list(range(20))
SIZE = 5
NOTICED_S = 10.0
STEP_S = 0.25
HOUR_S = 3600.0


def twins(seed: int, apart_s: float) -> tuple[World, Host, Host]:
    """A mesh at rest of four, then h3 again and, `apart_s` later, a copy of it."""
    world = World(seed, SIZE)
    one, two = world.hosts[3:]
    for host in world.hosts[:4]:
        host.begin()
    world.clock.run(20.0)
    one.crash(silently=seed % 2 == 0)
    two.identity, two.name, two.joined, two.life = one.identity, one.name, True, 100
    two.store = dict(one.store)
    one.begin()
    world.clock.run(20.0 + apart_s)
    two.begin()
    return world, one, two


def until_both_know(world: World, one: Host, two: Host) -> tuple[float, float]:
    """How long both were linked until both knew, and how long that took in all; the two take links from each other."""
    linked, since = 0.0, world.clock.now
    while not (one.clones_told and two.clones_told) and linked <= NOTICED_S:
        world.clock.run(world.clock.now + STEP_S)
        linked += STEP_S if one.node.links() and two.node.links() else 0.0
        assert world.clock.now < since + 60, "they are never linked"
    return linked, world.clock.now - since


@pytest.mark.parametrize("seed", SEEDS)
def test_both_notice_within_ten_seconds_of_links_and_nobody_else_does(seed: int) -> None:
    world, one, two = twins(seed, (0.0, 0.3, 8.0, 60.0)[seed % 4])
    linked, took = until_both_know(world, one, two)
    assert linked <= NOTICED_S and took <= 2 * NOTICED_S
    for host in (one, two):
        assert host.clones_told == 1 and host.node.cloned(world.clock.now)
        with pytest.raises(Refusal) as refusal:
            host.node.allocate(1, b"new", world.clock.now)
        assert refusal.value.code == "cloned"
    assert [host.clones_told for host in world.hosts[:3]] == [0, 0, 0]


def test_over_an_hour_their_incarnations_grow_at_the_pace_of_clones_and_they_stay_aware() -> None:
    world, one, two = twins(1, 5.0)
    until_both_know(world, one, two)
    world.clock.run(world.clock.now + 20.0)
    before = max(one.node.incarnation, two.node.incarnation)
    for _ in range(12):
        world.clock.run(world.clock.now + HOUR_S / 12)
        assert one.node.cloned(world.clock.now) and two.node.cloned(world.clock.now)
    grown = max(one.node.incarnation, two.node.incarnation) - before
    assert 2 <= grown <= 2 * HOUR_S / limits.CLONED_PACE_S + 2
    assert one.clones_told == two.clones_told == 1
