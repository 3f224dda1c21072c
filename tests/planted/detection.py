"""Whether a planted fault is noticed by the check that guards its rule."""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.address_life import live as live_addresses
from tests.sim.address_world import hurried
from tests.sim.invariants import InvariantBroken
from tests.sim.life import live
from tests.sim.revival import revive

SEEDS = range(50)


def first_red_seed(seeds: Iterable[int] = SEEDS) -> int | None:
    """The first seed whose simulated life breaks an invariant: the same lives tests/sim/test_sim.py runs."""
    for seed in seeds:
        try:
            live(seed)
        except InvariantBroken:
            return seed
    return None


def first_red_address_seed(seeds: Iterable[int] = SEEDS) -> int | None:
    """The first seed whose life of addresses breaks an invariant: those that tests/sim/test_address_lives.py runs."""
    for seed in seeds:
        try:
            live_addresses(seed)
        except InvariantBroken:
            return seed
    return None


def revival_is_red(*, restart: bool) -> bool:
    """Whether the story of the dead peer that comes back breaks an invariant (tests/sim/test_revival.py)."""
    with hurried():
        try:
            revive(restart)
        except InvariantBroken:
            return True
    return False
