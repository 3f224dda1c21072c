"""What the flood's bench measures by itself: a process's CPU, and a unit for every figure."""

from __future__ import annotations

import os
import time

from bench.__main__ import parser
from bench.cases.flood import CASES, NONE, UNITS, cpu
from tests.lab.flood import KINDS


def test_a_busy_process_has_used_cpu() -> None:
    before = cpu(os.getpid())
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert 0.05 < cpu(os.getpid()) - before < 5


def test_every_kind_is_compared_with_none() -> None:
    assert (NONE, *KINDS) == CASES and parser().parse_args(["flood"]).case == "flood"
    assert {"lost", "begin", "sent"} <= set(UNITS)
