"""A budget of actions per second: what costs work for a stranger is done only so often.

Rule: no clock; ``now`` is seconds on the monotonic clock and may stand still.
"""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """Allows ``per_second`` actions on average and ``burst`` at once; ``reserve`` of these only to the favoured."""

    def __init__(self, per_second: float, burst: int, reserve: int = 0) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._reserve = reserve
        self._left = float(burst)
        self._seen: float | None = None

    def take(self, now: float) -> bool:
        """Whether one more action is allowed now; if so it counts."""
        return self._take(now, 1 + self._reserve)

    def take_reserved(self, now: float) -> bool:
        """The same for whom the reserve is kept: what others may not have is left to them."""
        return self._take(now, 1)

    def _take(self, now: float, needed: int) -> bool:
        if self._seen is not None:
            self._left = min(self._burst, self._left + max(0.0, now - self._seen) * self._per_second)
        self._seen = now
        if self._left < needed:
            return False
        self._left -= 1
        return True
