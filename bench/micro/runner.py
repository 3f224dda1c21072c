"""Runs the micro benchmarks: one file per hot module, each offering `cases()`.

Rule: a file `bench/micro/<module>.py` has a function `cases() -> dict[str, Callable[[], object]]`; each case
is one operation on prepared buffers. Time per call is the best of several repetitions, because noise only
ever adds.
"""

from __future__ import annotations

import importlib
import timeit
from collections.abc import Callable
from pathlib import Path

REPEAT = 5
OURS = ("__init__", "runner")


def modules() -> list[str]:
    """Names of the files in this directory that hold cases, sorted."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem not in OURS)


def time_case(case: Callable[[], object]) -> float:
    """Nanoseconds per call."""
    timer = timeit.Timer(case)
    loops, _ = timer.autorange()
    return min(timer.repeat(REPEAT, loops)) / loops * 1e9


def run(chosen: list[str] | None = None) -> dict[str, float]:
    """{"module.case": nanoseconds per call} for these modules, or all."""
    found = {}
    for name in chosen or modules():
        cases: dict[str, Callable[[], object]] = importlib.import_module(f"bench.micro.{name}").cases()
        for title, case in cases.items():
            found[f"{name}.{title}"] = time_case(case)
    return found
