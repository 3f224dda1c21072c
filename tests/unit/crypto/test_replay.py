"""The replay window against a plain model: a set of all counters ever accepted, and the highest of them."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crypto.replay import BLOCK_BITS, BLOCKS, WINDOW_RECORDS, ReplayWindow

LIMIT = 1 << 40


def disagreement(counters: Sequence[int]) -> str | None:
    """Where the window answers otherwise than the model for these arrivals, or None."""
    window = ReplayWindow()
    seen: set[int] = set()
    highest = 0
    for step, counter in enumerate(counters):
        expected = counter > 0 and counter not in seen and highest - counter < WINDOW_RECORDS
        for name, answer in (("check", window.check(counter)), ("accept", window.accept(counter))):
            if answer is not expected:
                return f"step {step}: {name}({counter}) is {answer}, highest {highest}"
        if expected:
            seen.add(counter)
            highest = max(highest, counter)
        if window.highest != highest:
            return f"step {step}: highest is {window.highest}, not {highest}"
    return None


def arrivals(seed: int) -> list[int]:
    """A life of a key: mostly in order, with reordering, duplicates, gaps, jumps and very old counters."""
    rng = random.Random(seed)
    counters, newest = [], 0
    for _ in range(2_000):
        step = rng.choice((1, 1, 1, 1, 2, 63, 64, 65, 500, rng.choice((1, 8_128, 8_192, 100_000))))
        newest += step
        counters.append(newest)
        places = (0, 1, step - 1, step, 64, WINDOW_RECORDS - 1, WINDOW_RECORDS, WINDOW_RECORDS + 1)
        counters.extend(newest - back for back in places if rng.random() < 0.2)
    return counters


def test_long_lives_agree_with_the_model() -> None:
    for seed in range(5):
        assert disagreement(arrivals(seed)) is None


@given(st.lists(st.one_of(st.integers(-3, 20_000), st.integers(-3, LIMIT))))
def test_any_arrivals_agree_with_the_model(counters: list[int]) -> None:
    assert disagreement(counters) is None


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(0, LIMIT))
def test_any_arrivals_around_any_place_agree_with_the_model(offsets: list[int], start: int) -> None:
    assert disagreement([start + 64 * offset for offset in offsets] + [start + offset for offset in offsets]) is None


def test_the_window_reaches_exactly_this_far() -> None:
    assert WINDOW_RECORDS == BLOCK_BITS * (BLOCKS - 1)
    window = ReplayWindow()
    assert window.accept(WINDOW_RECORDS + 10)
    assert window.accept(11) and not window.accept(10)


def test_a_check_changes_nothing() -> None:
    window = ReplayWindow()
    assert window.check(1 << 30) and window.highest == 0
    assert window.accept(5) and window.check(4) and window.accept(4)


def test_a_jump_over_the_whole_ring_forgets_what_is_out_of_reach_only() -> None:
    window = ReplayWindow()
    assert all(window.accept(counter) for counter in range(1, 200))
    far = 199 + BLOCKS * BLOCK_BITS + 7
    assert window.accept(far) and not window.accept(far)
    assert not any(window.accept(counter) for counter in range(200))
    assert window.accept(far - 1)
