"""The stamps of our own initiations: each is greater than any before, of this run or an earlier one. PURE.

Purpose: a peer takes an initiation only if its stamp is new, so one that repeats a stamp of an earlier run would be
refused, and a clock that was set back must not lead there.
Flow: ``take`` gives a stamp up to the durable reservation, and none beyond it. What is to be made durable then is told
once by ``reservation``; ``reserved`` says that it is. A reservation reaches AHEAD_S beyond the stamp it is for and is
renewed when half of that is left, so an initiation waits for the disk about once per start.
Rule: a stamp is used only if it is not greater than what was reserved before (persist before tell).
Reference: docs/wire.md; crypto/tai64n.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from crypto.tai64n import STAMP_SIZE, later

__all__ = ["AHEAD_S", "Stamps"]

AHEAD_S: Final = 600
_SECONDS: Final = slice(0, 8)
_SECONDS_END: Final = 1 << 63


class Stamps:
    """``reserved`` (12 bytes) is the greatest stamp that earlier runs may have used; what is none counts as none."""

    def __init__(self, reserved: bytes, wall_ns: Callable[[], int]) -> None:
        whole = len(reserved) == STAMP_SIZE and int.from_bytes(reserved[_SECONDS]) < _SECONDS_END
        self._last = self._reserved = reserved if whole else bytes(STAMP_SIZE)
        self._wall_ns = wall_ns
        self._wanted = b""
        self._asked = b""

    def take(self) -> bytes | None:
        """The stamp (12 bytes) for an initiation that leaves now, or None until more is reserved."""
        stamp = later(self._last, self._wall_ns())
        usable = stamp <= self._reserved
        if not usable or _beyond(stamp, AHEAD_S // 2) > self._reserved:
            self._wanted = _beyond(stamp, AHEAD_S)
        if not usable:
            return None
        self._last = stamp
        return stamp

    def reservation(self) -> bytes | None:
        """What is to be made durable now (12 bytes), told once; one at a time is under way."""
        if self._asked or self._wanted <= self._reserved:
            return None
        self._asked = self._wanted
        return self._asked

    def reserved(self, until: bytes) -> None:
        """All stamps up to ``until`` are reserved."""
        self._asked = b""
        self._reserved = max(self._reserved, until)


def _beyond(stamp: bytes, seconds: int) -> bytes:
    return (int.from_bytes(stamp[_SECONDS]) + seconds).to_bytes(8) + stamp[8:]
