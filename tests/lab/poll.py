"""Waiting for an answer instead of for a while.

Rule: nothing in the lab sleeps and hopes. Whoever needs something to be so asks again and again until it is,
and fails with a sentence that names what was missing. The pause between two questions grows, so that a long
wait costs no CPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from tests.lab.errors import CommandFailed, NotInTime

FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.25

T = TypeVar("T")


def poll(question: Callable[[], T | None], deadline: float, what: str) -> T:
    """Ask `question` until it answers something true; return that answer.

    `deadline` is in seconds from now. A `CommandFailed` or `OSError` counts as "not yet"; its text ends up in
    the `NotInTime` that is raised once the deadline has passed.
    """
    end = time.monotonic() + deadline
    pause = FIRST_PAUSE_S
    last = ""
    while True:
        try:
            answer = question()
            if answer:
                return answer
        except (CommandFailed, OSError) as error:
            last = f": {error}"
        left = end - time.monotonic()
        if left <= 0:
            raise NotInTime(f"not within {deadline:g} s: {what}{last}")
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, LONGEST_PAUSE_S)
