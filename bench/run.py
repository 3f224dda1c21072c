"""Measuring peers side by side: interleaved rounds, medians, ratios of one run.

Rule: a figure alone says little on a machine shared with others; what counts is the ratio of two peers
measured in the same round. Every round measures each peer once, in an order that turns by one place per round
(A B C, B C A, …), so that no peer is always the one after the warm cache or the noisy neighbour.

Flow: `measure(wire, peers, probe, rounds)` builds one lab, brings all peers up, warms each, runs the rounds
and returns a `Table`. `probe` gets the two workloads of a peer and returns {figure name: value}.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.machine import steal_ticks
from bench.peers.adapter import Peer
from tests.lab.hosts import Workload
from tests.lab.lab import Lab
from tests.lab.wire import Wire

Probe = Callable[[Workload, Workload], Mapping[str, float]]


@dataclass
class Table:
    """The samples of one wire. `samples[peer][figure]` holds one value per round, in order of the rounds."""

    wire: str
    loss: float
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    settings: dict[str, Mapping[str, object]] = field(default_factory=dict)
    steal_percent: float = 0.0
    datagrams_lost: int = 0

    def ratios(self, peer: str, base: str, figure: str) -> list[float]:
        """`peer` over `base`, round by round."""
        pairs = zip(self.samples[peer][figure], self.samples[base][figure], strict=True)
        return [one / other for one, other in pairs if other]


def median(values: Sequence[float]) -> float:
    """The median, or 0 of nothing."""
    return statistics.median(values) if values else 0.0


def order_of_round(names: Sequence[str], number: int) -> list[str]:
    """The order of the peers in round `number` (from 0): turned by one place per round."""
    turn = number % len(names)
    return [*names[turn:], *names[:turn]]


def measure(wire: Wire, peers: Sequence[Peer], probe: Probe, warm: Probe, rounds: int, *, loss: float = 0.0) -> Table:
    """Bring all peers up on one lab and measure them in `rounds` interleaved rounds. `loss` is a fraction."""
    table = Table(str(wire), loss)
    with Lab(wire) as lab:
        hosts = [lab.host("h1"), lab.host("h2")]
        ends: dict[str, list[Workload]] = {}
        try:
            for peer in peers:
                say(f"{wire}: {peer.name} up")
                ends[peer.name] = peer.up(hosts)
                table.settings[peer.name] = peer.settings
                table.samples[peer.name] = {}
                warm(*ends[peer.name])
            if loss:
                lab.switch.lose(loss)
            before = steal_ticks()
            for number in range(rounds):
                for name in order_of_round(list(ends), number):
                    figures = probe(*ends[name])
                    for figure, value in figures.items():
                        table.samples[name].setdefault(figure, []).append(value)
                    said = ", ".join(f"{figure} {value:.3g}" for figure, value in figures.items())
                    say(f"{wire}: round {number + 1}/{rounds} {name}: {said}")
            table.steal_percent = steal_ticks().percent_since(before)
            if loss:
                table.datagrams_lost = lab.switch.lost().dropped
        finally:
            for peer in peers:
                if peer.name in ends:
                    peer.down()
    return table


def say(line: str) -> None:
    """Progress, on stderr: stdout is for results."""
    print(line, file=sys.stderr, flush=True)
