"""Twenty real hosts on one machine: how soon all see all, and how soon those that are gone are missed by all others.

Every figure begins when the last command ended or the last process died, and ends when every daemon, asked over its own
socket, says what is so. `joined`: all joined at the first. `started`: both processes of all were killed, and all
started again. `killed`: five get SIGKILL for both processes, and their kernels tell. `silent`: the cables of five are
out, nobody is told. `returned`: the cables are back. `join` and `start` are the commands themselves, a few at a time,
for all hosts. Forty processes share the machine's processors, so these are upper bounds.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.machine import steal_ticks
from bench.run import Table, say
from tests.lab.crowd import Crowd
from tests.lab.lab import Lab
from tests.lab.wire import Wire

UNITS = {
    "joined": "s until all see all",
    "started": "s until all see all",
    "killed": "s until all others know",
    "silent": "s until all others know",
    "returned": "s until all see all",
    "join": "s for the commands",
    "start": "s for the commands",
}
HOSTS, DEAD = 20, 5
LONGEST_S = 120.0


def measure(wire: Wire, rounds: int) -> Table:
    """One lab a round: a mesh is joined only once."""
    case = f"{HOSTS} hosts"
    table = Table(str(wire), 0.0, samples={case: {figure: [] for figure in UNITS}}, settings={case: {"dead": DEAD}})
    before = steal_ticks()
    for number in range(rounds):
        with Lab(wire) as lab:
            figures = one_round(Crowd(lab, HOSTS))
        for figure, value in figures.items():
            table.samples[case][figure].append(value)
        said = ", ".join(f"{figure} {value:.2f} s" for figure, value in figures.items())
        say(f"{wire}: round {number + 1}/{rounds}: {said}")
    table.steal_percent = steal_ticks().percent_since(before)
    return table


def one_round(crowd: Crowd) -> Mapping[str, float]:
    """Every figure once. The first five, whom the others joined at, fall silent; the last five are killed."""
    hosts = crowd.hosts
    figures = {"join": crowd.join()}
    figures["joined"] = crowd.settled(hosts, LONGEST_S)
    crowd.kill(hosts)
    figures["start"] = crowd.start(hosts)
    figures["started"] = crowd.settled(hosts, LONGEST_S)
    crowd.kill(hosts[-DEAD:])
    figures["killed"] = crowd.settled(hosts[:-DEAD], LONGEST_S)
    crowd.start(hosts[-DEAD:])
    crowd.settled(hosts, LONGEST_S)
    crowd.cut(hosts[:DEAD])
    figures["silent"] = crowd.settled(hosts[DEAD:], LONGEST_S)
    crowd.plug(hosts[:DEAD])
    figures["returned"] = crowd.settled(hosts, LONGEST_S)
    return figures
