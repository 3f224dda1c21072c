"""A steady flow of pings that runs beside the test, and what became of it.

Rule: times are the wall clock's, as ping writes them with each answer, so that the end of a flow can be compared with
when something was done. What counts is the answers: both ways were open then.

Flow: `with Flow(one, two.address, rate=100) as flow: …; flow.answered(10)`; `flow.last()`, `flow.outcome()`.

Reference: ping(8) -D, -i.
"""

from __future__ import annotations

import re
import signal
import time
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType

from tests.lab.errors import LabError
from tests.lab.namespace import Namespace
from tests.lab.poll import poll
from tests.lab.traffic import ping_count

PATIENCE_S = 1
_ANSWER = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*icmp_seq=\d+ .*time=([\d.]+) ms", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """How many requests and answers there were, the longest time between two answers, and the round trips."""

    sent: int
    received: int
    longest_gap_s: float
    p50_ms: float
    p99_ms: float

    @property
    def lost(self) -> float:
        """The fraction of requests without an answer."""
        return 1 - self.received / self.sent if self.sent else 1.0


def answers_in(text: str) -> list[tuple[float, float]]:
    """(wall time in seconds, round trip in milliseconds) of every answer in what `ping -D` wrote."""
    return [(float(at), float(took)) for at, took in _ANSWER.findall(text)]


def outcome_of(text: str) -> Outcome:
    """The outcome in what `ping -D` wrote until its end; `LabError` without its summary."""
    count, answers = ping_count(text), answers_in(text)
    gaps = [after - before for (before, _), (after, _) in pairwise(answers)]
    times = sorted(took for _, took in answers) or [0.0]
    return Outcome(
        count.sent, count.received, max(gaps, default=0.0), times[len(times) // 2], times[len(times) * 99 // 100]
    )


class Flow:
    """Pings from `sender` to `address` at `rate` per second, `seconds` long or until stopped."""

    def __init__(self, sender: Namespace, address: str, *, rate: float = 50, seconds: float = 0.0) -> None:
        count = ["-c", str(round(rate * seconds))] if seconds else []
        argv = ["ping", "-D", "-n", "-i", f"{1 / rate:.4f}", "-W", str(PATIENCE_S), *count, address]
        self._seconds = seconds
        self._child = sender.spawn(argv, name="flow")

    def __enter__(self) -> Flow:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.stop(signal.SIGINT)

    def answers(self) -> list[tuple[float, float]]:
        """(wall time, round trip in ms) of every answer so far."""
        return answers_in(self._child.output())

    def answered(self, count: int, deadline: float = 15.0) -> None:
        """Wait until `count` more answers have come."""
        before = len(self.answers())
        poll(lambda: len(self.answers()) >= before + count, deadline, f"{count} more answers to {self._child.command}")

    def last(self) -> float:
        """The wall time of the last answer so far; `LabError` when there was none."""
        answers = self.answers()
        if not answers:
            raise LabError(f"no answer to {self._child.command}")
        return answers[-1][0]

    def silent(self, seconds: float, deadline: float) -> None:
        """Wait until no answer has come for `seconds`."""
        poll(lambda: time.time() - self.last() > seconds, deadline, f"{seconds:g} s without an answer")

    def outcome(self) -> Outcome:
        """Its end: awaited when it has one, else made by Ctrl-C."""
        if self._seconds:
            self._child.process.wait(self._seconds + 30)
        else:
            self._child.stop(signal.SIGINT)
        return outcome_of(self._child.output())
