"""Counting handshakes: every figure is there, and a handshake between two hosts' decisions makes both sessions."""

from __future__ import annotations

import pytest

from bench.cases.handshakes import SUITES, UNITS, decisions, measure, messages


def test_hosts_that_shook_hands_do_so_again() -> None:
    for suite in SUITES:
        step = decisions(suite)
        for _ in range(3):
            step()


def test_every_figure_has_a_unit_and_a_value() -> None:
    table = measure(1, 0.02)
    assert list(table.samples) == [suite.value for suite in SUITES]
    for figures in table.samples.values():
        assert set(figures) == set(UNITS) and all(values[0] > 0 for values in figures.values())


def test_both_ends_cost_what_each_costs() -> None:
    found = messages(SUITES[0], 0.02)
    assert 1 / found["both ends"] == pytest.approx(1 / found["initiator"] + 1 / found["responder"])
