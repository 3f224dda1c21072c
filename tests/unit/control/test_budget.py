"""A budget of actions per second, with a clock of the test's own."""

from __future__ import annotations

from meshnet.control.budget import Budget


def test_a_burst_and_then_the_rate() -> None:
    budget = Budget(8, 3)
    assert [budget.take(5.0) for _ in range(4)] == [True, True, True, False]
    assert not budget.take(5.0625)
    assert budget.take(5.125) and not budget.take(5.125)


def test_rest_fills_up_to_the_burst_and_a_clock_may_stand_still() -> None:
    budget = Budget(10, 2)
    assert budget.take(0.0) and budget.take(0.0)
    assert [budget.take(1000.0) for _ in range(3)] == [True, True, False]
    assert not budget.take(999.0)
