"""Meshes live through loans, reclaims and registers.

`MESHNET_SEED` (the soak) lives a thousand longer lives, from that seed on: one that failed is replayed by its own seed.
"""

from __future__ import annotations

import os

import pytest

from tests.sim.address_life import STEPS, live
from tests.sim.address_world import AddressWorld
from tests.sim.corpus import ADDRESS_CORPUS

FIRST = int(os.environ.get("MESHNET_SEED", "0"))
SOAK = "MESHNET_SEED" in os.environ
SEEDS = range(FIRST, FIRST + 1000) if SOAK else list(dict.fromkeys([*ADDRESS_CORPUS, *range(100)]))


@pytest.mark.parametrize("seed", SEEDS)
def test_no_address_is_ever_anybodys_twice_and_none_is_lost(seed: int) -> None:
    live(seed, size=3 + seed % 5 if SOAK else 5, steps=300 if SOAK else STEPS)


def test_a_life_replays_exactly() -> None:
    def trace(world: AddressWorld) -> tuple[float, int, list[object]]:
        return world.clock.now, world.persists, [host.node.summary() for host in world.hosts]

    assert trace(live(3, steps=20)) == trace(live(3, steps=20))
    assert trace(live(3, steps=20)) != trace(live(4, steps=20))
