"""The micro runner finds files with cases and times them."""

from __future__ import annotations

import sys
import types

import pytest

from bench.micro import runner


def test_cases_of_a_module_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    module = types.ModuleType("bench.micro.sample")
    module.__dict__["cases"] = lambda: {"append": lambda: calls.append(1)}
    monkeypatch.setitem(sys.modules, "bench.micro.sample", module)
    monkeypatch.setattr(runner, "time_case", lambda case: case() or 12.0)
    assert runner.run(["sample"]) == {"sample.append": 12.0}
    assert calls == [1]


def test_time_is_per_call(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "REPEAT", 1)
    assert 0 < runner.time_case(lambda: None) < 1e6


def test_the_runner_is_no_case() -> None:
    assert not set(runner.OURS) & set(runner.modules())
