"""Whether a planted fault is noticed by the check that guards its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import pytest

from gossip.events import Output, Put
from gossip.node import Node
from tests.sim.address_life import live as live_addresses
from tests.sim.address_world import hurried
from tests.sim.invariants import InvariantBroken
from tests.sim.life import live
from tests.sim.revival import revive

SEEDS = range(50)


def store_late(
    monkeypatch: pytest.MonkeyPatch, chosen: Callable[[Node, Put], bool], methods: Sequence[str] = ("receive",)
) -> None:
    """Plant that these writes of these methods' steps are durable only with the node's next timer."""
    late: dict[int, list[Put]] = {}
    handle_timer = Node.handle_timer

    def early(method: Callable[..., Output]) -> Callable[..., Output]:
        def step(node: Node, *args: object) -> Output:
            output = method(node, *args)
            held = [put for put in output.persist if chosen(node, put)]
            late.setdefault(id(node), []).extend(held)
            return replace(output, persist=[put for put in output.persist if put not in held])

        return step

    def then_stored(node: Node, now: float) -> Output:
        output = handle_timer(node, now)
        return replace(output, persist=[*late.pop(id(node), []), *output.persist])

    for name in methods:
        monkeypatch.setattr(Node, name, early(getattr(Node, name)))
    monkeypatch.setattr(Node, "handle_timer", then_stored)


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
