"""The gossip case of the bench, at a size that takes a moment."""

from __future__ import annotations

import pytest

from bench.cases import gossip
from bench.cases.gossip import GOALS, Plan, measure, table


def test_every_goal_has_a_figure_and_a_small_mesh_meets_those_of_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip, "CHANGES", 3)
    found = measure(Plan(size=12, cut_s=60.0))
    assert set(GOALS) <= set(found)
    late = [name for name, (_, goal) in GOALS.items() if name != "memory_b_per_peer" and found[name] > goal]
    assert not late and found["false_deaths"] == 0


def test_the_table_shows_each_size_and_says_what_was_not_measured() -> None:
    text = table([{"size": 100, "cold_s": 1.5}, {"size": 1000}])
    assert "1000" in text.splitlines()[0]
    [cold] = [line for line in text.splitlines() if line.startswith(GOALS["cold_s"][0])]
    assert cold.split()[-2:] == ["1.5", "–"]
