"""How far away the far end of a link is, told by the heartbeats that go to and fro anyway.

Purpose: a cost for each link that is true within a factor of four and hardly ever changes.
Rule: a heartbeat says when it was sent, when the last one heard was, and how long ago that came; what is left of the
time since that one of ours was sent is the round trip. Times are milliseconds modulo `BEAT_TURN_MS` of a clock
that only its own host reads. The median of the last `RTT_SAMPLES` counts, so a peer that stood still once changes
nothing. A cost is a step: n means at most 2^(n-1) ms, 0 not known. One that is in force gives way only to a median
beyond twice, or below a quarter of, what it means.
Flow: `gossip.spreading.contacts` -> `beat` -> the far end -> `heard` -> `cost` -> the `links` statement.
Reference: docs/wire.md (Beat); docs/gossip.md.
"""

from __future__ import annotations

from statistics import median

from gossip import limits
from gossip.spreading.codec import Beat


class Pulse:
    """Heartbeats of one link. `said`: the cost that this peer last said of it."""

    __slots__ = ("_far", "_samples", "said")

    def __init__(self) -> None:
        self._far: tuple[int, float] | None = None  # what the far end's last one said, and when it came
        self._samples: list[float] = []
        self.said = 0

    def beat(self, now: float) -> Beat:
        """The heartbeat to send now."""
        sent = int(now * 1000) % limits.BEAT_TURN_MS
        if self._far is None:
            return Beat(sent)
        held = int((now - self._far[1]) * 1000)
        return Beat(sent, self._far[0], held) if 0 <= held < limits.BEAT_TURN_MS else Beat(sent)

    def heard(self, beat: Beat, now: float) -> None:
        """A heartbeat came. What cannot be a round trip is not counted."""
        if beat.sent is not None:
            self._far = beat.sent, now
        if beat.echo is None or beat.held is None:
            return
        trip = (now * 1000 - beat.echo - beat.held) % limits.BEAT_TURN_MS
        if trip <= limits.MAX_RTT_MS:
            self._samples = [*self._samples[1 - limits.RTT_SAMPLES :], trip]

    def cost(self) -> int:
        """The cost as of now: what was said, while that is not far off; 0 while there are too few samples."""
        if len(self._samples) < limits.RTT_LEAST:
            return self.said
        trip = median(self._samples)
        if self.said and step_ms(self.said) / 4 <= trip <= step_ms(self.said) * 2:
            return self.said
        return next(step for step in range(1, limits.MAX_COST + 1) if trip <= step_ms(step))


def step_ms(cost: int) -> int:
    """What a cost means, in ms of a round trip."""
    return limits.UNKNOWN_RTT_MS if cost == 0 else 1 << (cost - 1)
