"""Faults planted in the replay window; the comparison with its model, which guards it, must find each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crypto.replay import WINDOW_RECORDS, ReplayWindow
from tests.unit.crypto.test_replay import arrivals, disagreement

honest_check = ReplayWindow.check
honest_accept = ReplayWindow.accept


def accept_without_a_mark(window: ReplayWindow, counter: int) -> bool:
    """It knows the highest counter and forgets every other one."""
    if not window.check(counter):
        return False
    window.highest = max(window.highest, counter)
    return True


def accept_that_forgets_on_a_jump(window: ReplayWindow, counter: int) -> bool:
    """A step into another block clears the whole ring."""
    before = window.highest
    taken = honest_accept(window, counter)
    if taken and counter >> 6 > (before >> 6) + 1:
        for at in range(len(window._blocks)):
            window._blocks[at] = 0
        window._blocks[(counter >> 6) & (len(window._blocks) - 1)] = 1 << (counter & 63)
    return taken


def accept_that_clears_nothing(window: ReplayWindow, counter: int) -> bool:
    """A block that is entered anew keeps the marks of its last turn."""
    if not window.check(counter):
        return False
    window.highest = max(window.highest, counter)
    window._blocks[(counter >> 6) & (len(window._blocks) - 1)] |= 1 << (counter & 63)
    return True


def check_without_an_end(window: ReplayWindow, counter: int) -> bool:
    """What is too old to be known is taken for new."""
    if 0 < counter <= window.highest - WINDOW_RECORDS:
        return True
    return honest_check(window, counter)


def check_one_too_far(window: ReplayWindow, counter: int) -> bool:
    """The window reaches one record further than its ring remembers."""
    return (window.highest - counter == WINDOW_RECORDS and counter > 0) or honest_check(window, counter)


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("accept", accept_without_a_mark),
        ("accept", accept_that_forgets_on_a_jump),
        ("accept", accept_that_clears_nothing),
        ("check", check_without_an_end),
        ("check", check_one_too_far),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_window_that_forgets_is_noticed(
    monkeypatch: pytest.MonkeyPatch, method: str, fault: Callable[[ReplayWindow, int], bool]
) -> None:
    monkeypatch.setattr(ReplayWindow, method, fault)
    assert any(disagreement(arrivals(seed)) is not None for seed in range(5))


def test_without_a_fault_the_same_lives_agree() -> None:
    assert all(disagreement(arrivals(seed)) is None for seed in range(5))
