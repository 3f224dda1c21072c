"""Whether an initiation of a peer is a new one, though nobody's clock can be trusted. PURE.

Flow: ``judge`` looks at the stamp, the ephemeral key and whether the sender echoed a challenge; ``accept`` remembers
one that is taken. Who is STALE is given a cookie and comes back with it as its challenge, inside the encrypted offer:
a recording cannot.
Rules
- FRESH: a stamp greater than the greatest taken and at most AHEAD_NS ahead of our clock. A stamp further ahead is not
  believed, else one initiation made under a wrong clock could be repeated for ever, and later true ones not taken.
- PROVED: any other stamp, with the challenge. It never raises the remembered stamp. It lowers one from beyond AHEAD_NS,
  which can only come from a time when our own clock was wrong.
- REPEATED: the ephemeral key is among the last taken. A challenge is valid for minutes, so this stops its repetition.
Reference: docs/wire.md; CVE-2021-46873 for what a clock set ahead does to stamps alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from crypto.tai64n import stamp as stamp_of

__all__ = ["AHEAD_NS", "EPHEMERALS_KEPT", "Freshness", "Verdict"]

AHEAD_NS: Final = 24 * 3600 * 10**9
EPHEMERALS_KEPT: Final = 4
"""A peer makes one session in two minutes, so four cover the four minutes in which a challenge is valid."""


class Verdict(Enum):
    """What an initiation is."""

    FRESH = auto()
    PROVED = auto()
    STALE = auto()
    REPEATED = auto()


@dataclass(slots=True)
class Freshness:
    """What was taken from one peer: the greatest stamp (12 bytes), the last ephemeral keys (32 bytes each)."""

    stamp: bytes
    ephemerals: tuple[bytes, ...] = ()

    def judge(self, stamp: bytes, ephemeral: bytes, challenged: bool, wall_ns: int) -> Verdict:
        """Of an initiation with this stamp and key; ``challenged``: its challenge is one that we gave its address."""
        if ephemeral in self.ephemerals:
            return Verdict.REPEATED
        if self.stamp < stamp <= stamp_of(wall_ns + AHEAD_NS):
            return Verdict.FRESH
        return Verdict.PROVED if challenged else Verdict.STALE

    def accept(self, verdict: Verdict, stamp: bytes, ephemeral: bytes, wall_ns: int) -> None:
        """Remembers an initiation that was judged FRESH or PROVED."""
        self.ephemerals = (*self.ephemerals, ephemeral)[-EPHEMERALS_KEPT:]
        if verdict is Verdict.FRESH:
            self.stamp = stamp
        elif self.stamp > stamp_of(wall_ns + AHEAD_NS):
            # A sender's stamps only grow and this one is proved to be new, so none recorded before is greater.
            self.stamp = min(self.stamp, stamp)
