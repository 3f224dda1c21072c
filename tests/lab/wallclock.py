"""A wall clock that is so many seconds off, inside a Python process: what `clock.py` puts into a host's daemons.

Rule: `time.time`, `time.time_ns` and `datetime.now` are off by the seconds that a file says, looked at again every
LOOK_S; monotonic clocks stay true. It must be installed before anything imports a name from these modules, so the
interpreter does it at its start (`site` of the standard library: sitecustomize).

Reference: Python's documentation of `site`.
"""

from __future__ import annotations

import datetime
import time
from pathlib import Path

LOOK_S = 0.25
NANOSECONDS = 1_000_000_000


class Offset:
    """The seconds in a file; what was read last while it cannot be read."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds = 0
        self._looked = float("-inf")

    def seconds(self) -> int:
        """How far off the clock is to be now."""
        now = time.monotonic()
        if now - self._looked >= LOOK_S:
            self._looked = now
            try:
                self._seconds = int(self._file.read_text())
            except (OSError, ValueError):
                pass
        return self._seconds


def install(file: Path) -> None:
    """From now on this process's wall clock is off by what `file` says."""
    offset, true_time, true_time_ns = Offset(file), time.time, time.time_ns

    class Datetime(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Datetime:
            return cls.fromtimestamp(time.time(), tz)

    time.time = lambda: true_time() + offset.seconds()
    time.time_ns = lambda: true_time_ns() + offset.seconds() * NANOSECONDS
    datetime.datetime = Datetime  # type: ignore[misc]
