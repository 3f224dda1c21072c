"""Virtual time: a heap of calls to make, in order of time and then of being asked for."""

from __future__ import annotations

import heapq
from collections.abc import Callable

MAX_CALLS = 2_000_000


class Clock:
    """`now` moves only in `run`. A run that never comes to its end is an error, not a hang."""

    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._asked = 0
        self._made = 0

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Make the call at that time, at the earliest now."""
        self._asked += 1
        heapq.heappush(self._heap, (max(time, self.now), self._asked, call))

    def after(self, delay: float, call: Callable[[], None]) -> None:
        """Make the call `delay` seconds from now."""
        self.at(self.now + delay, call)

    def run(self, until: float) -> None:
        """Make every call due up to that time."""
        while self._heap and self._heap[0][0] <= until:
            self.now, _, call = heapq.heappop(self._heap)
            self._made += 1
            if self._made > MAX_CALLS:
                raise AssertionError("the simulation does not come to rest")
            call()
        self.now = until
