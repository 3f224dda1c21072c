"""What a flood of handshakes costs a session beside it: loss, round trips, CPU; and how soon a host gets in meanwhile.

Twenty thousand initiations a second from spoofed sources hit the first host, in the kinds of tests/lab/flood.py; `none`
is the same without one. 500 pings a second cross its session with the second host. `lost` counts echo requests without
an answer; `meshnetd` and `forwarder` are the first host's processes. For `begin` both processes of the second host are
killed and started again while the flood goes on: the time from the end of `meshnet start` to the first answer.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.machine import steal_ticks
from bench.run import Table, order_of_round, say
from tests.lab.flood import KINDS, RATE, frames, record
from tests.lab.flow import Flow, Outcome
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.spoof import Attacker
from tests.lab.wire import Wire

UNITS = {
    "lost": "% of pings",
    "p50": "ms round trip",
    "p99": "ms round trip",
    "meshnetd": "% of a core",
    "forwarder": "% of a core",
    "begin": "s",
    "sent": "initiations/s",
}
NONE = "none"
CASES = (NONE, *KINDS)
PINGS_PER_S = 500
SETTLE_S = 30.0
LONGEST_S = 60.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def measure(wire: Wire, rounds: int, seconds: int) -> Table:
    """Each kind once per round, in turning order."""
    table = Table(str(wire), 0.0, samples={case: {} for case in CASES}, settings={case: {} for case in CASES})
    before = steal_ticks()
    with Lab(wire) as lab:
        hosts = [lab.host(name, ipv6=False) for name in ("h1", "h2", "h3")]
        workloads = found(hosts)[:2]
        all_answer(workloads, SETTLE_S)
        attacker = Attacker(hosts[2])
        attacker.pretend_all_behind(hosts[0])
        recorded = record(lab, hosts[0], hosts[1], workloads)
        for number in range(rounds):
            for case in order_of_round(CASES, number):
                all_answer(workloads, SETTLE_S)
                shots = [] if case == NONE else frames(case, attacker, hosts[0], recorded)
                figures = one_round(attacker, shots, hosts, workloads, seconds)
                for figure, value in figures.items():
                    table.samples[case].setdefault(figure, []).append(value)
                said = ", ".join(f"{figure} {value:.3g}" for figure, value in figures.items())
                say(f"{wire}: round {number + 1}/{rounds} {case}: {said}")
    table.steal_percent = steal_ticks().percent_since(before)
    return table


def one_round(
    attacker: Attacker, shots: Sequence[bytes], hosts: Sequence[Host], workloads: Sequence[Workload], seconds: int
) -> Mapping[str, float]:
    """The figures of one flood; of none, if there are no shots."""
    (victim, other, _), (one, two) = hosts, workloads
    roles = {"meshnetd": victim.daemon.meshnetd().pid, "forwarder": victim.daemon.forwarder().pid}
    shooting = attacker.shoot(shots, rate=RATE, seconds=seconds) if shots else None
    before, begun = {role: cpu(pid) for role, pid in roles.items()}, time.monotonic()
    outcome: Outcome = Flow(two, one.address, rate=PINGS_PER_S, seconds=seconds).outcome()
    passed = time.monotonic() - begun
    load = {role: 100 * (cpu(pid) - before[role]) / passed for role, pid in roles.items()}
    sent = shooting.result().rate if shooting is not None else 0.0
    begin = time_to_begin(attacker, shots, other, workloads)
    return {
        "lost": 100 * outcome.lost,
        "p50": outcome.p50_ms,
        "p99": outcome.p99_ms,
        **load,
        "begin": begin,
        "sent": sent,
    }


def time_to_begin(attacker: Attacker, shots: Sequence[bytes], other: Host, workloads: Sequence[Workload]) -> float:
    """Seconds from the start of the other host to its first answer, under the flood."""
    one, two = workloads
    shooting = attacker.shoot(shots, rate=RATE, seconds=LONGEST_S) if shots else None
    try:
        other.daemon.kill("meshnetd", "forwarder")
        other.daemon.start()
        begun = time.monotonic()
        poll(lambda: two.answers(one.address), SETTLE_S, "traffic of a host that was started meanwhile")
        return time.monotonic() - begun
    finally:
        if shooting is not None:
            shooting.stop()


def cpu(pid: int) -> float:
    """CPU seconds a process has used, its children not counted."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S
