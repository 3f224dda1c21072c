"""Meshes of real cores live through faults; `MESHNET_SEED` replays one of them."""

from __future__ import annotations

import os

import pytest

from tests.sim.corpus import CORPUS
from tests.sim.life import live
from tests.sim.world import World

CHOSEN = [int(os.environ["MESHNET_SEED"])] if "MESHNET_SEED" in os.environ else range(200)
SEEDS = list(dict.fromkeys([*CORPUS, *CHOSEN]))


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mesh_keeps_its_invariants(seed: int) -> None:
    live(seed)


def test_a_seed_replays_exactly() -> None:
    def trace(world: World) -> tuple[float, int, list[object]]:
        return world.clock.now, world.persists, [host.node.summary() for host in world.hosts]

    assert trace(live(7, steps=20)) == trace(live(7, steps=20))
    assert trace(live(7, steps=20)) != trace(live(8, steps=20))
