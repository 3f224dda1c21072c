"""Whether a planted fault is noticed by the check that guards its rule."""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.invariants import InvariantBroken
from tests.sim.life import live

SEEDS = range(50)


def first_red_seed(seeds: Iterable[int] = SEEDS) -> int | None:
    """The first seed whose simulated life breaks an invariant: the same lives tests/sim/test_sim.py runs."""
    for seed in seeds:
        try:
            live(seed)
        except InvariantBroken:
            return seed
    return None
