"""Sessions live through faults of both processes, clocks, keys and the link; `MESHNET_SEED` replays one life."""

from __future__ import annotations

import os

import pytest

from tests.sim.handshake_life import live
from tests.sim.handshakes import World

SEEDS = [int(os.environ["MESHNET_SEED"])] if "MESHNET_SEED" in os.environ else list(range(200))


@pytest.mark.parametrize("seed", SEEDS)
def test_sessions_live_through_everything(seed: int) -> None:
    live(seed)


def test_a_seed_replays_exactly() -> None:
    def trace(world: World) -> tuple[float, list[bytes], list[int]]:
        return world.now, sorted(world.installed), [host.forwarder.got for host in world.hosts]

    assert trace(live(7, steps=6)) == trace(live(7, steps=6))
    assert trace(live(7, steps=6)) != trace(live(8, steps=6))
