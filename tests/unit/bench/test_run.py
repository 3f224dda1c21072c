"""Interleaving, medians and ratios."""

from __future__ import annotations

from bench.run import Table, median, order_of_round


def test_every_peer_takes_every_place_in_turn() -> None:
    rounds = [order_of_round(["a", "b", "c"], number) for number in range(4)]
    assert rounds == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"], ["a", "b", "c"]]


def test_ratios_are_of_the_same_round() -> None:
    table = Table("nic", 0.0, samples={"a": {"x": [2.0, 9.0, 1.0]}, "b": {"x": [1.0, 3.0, 0.0]}})
    assert table.ratios("a", "b", "x") == [2.0, 3.0]


def test_the_median_of_nothing_is_nothing() -> None:
    assert median([]) == 0.0
    assert median([3.0, 1.0, 2.0]) == 2.0
