"""How long traffic stands still when a process of one host is killed under load, in milliseconds.

A bulk TCP stream and 100 pings a second run between two workloads; a process of the first host gets SIGKILL, and the
gap is the longest time between two answered pings.  `meshnetd` is started again with `meshnet start` and adopts the
forwarder; a `forwarder` is started by meshnetd, and every session is made anew.
"""

from __future__ import annotations

import re
import signal
from itertools import pairwise

from bench.machine import steal_ticks
from bench.run import Table, say
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.traffic import IPERF_PORT, listening
from tests.lab.wire import Wire

UNITS = {"gap": "ms"}
ROLES = ("meshnetd", "forwarder")
INTERVAL_S = 0.01
STREAM_S = 8
SETTLE_S = 30.0
_ANSWER = re.compile(r"^\[(\d+\.\d+)\] .*icmp_seq=", re.MULTILINE)


def measure(wire: Wire, rounds: int) -> Table:
    """Kill each process of the first host once per round."""
    table = Table(str(wire), 0.0, samples={role: {"gap": []} for role in ROLES}, settings={role: {} for role in ROLES})
    before = steal_ticks()
    with Lab(wire) as lab:
        hosts = [lab.host("h1"), lab.host("h2")]
        one, two = found(hosts)
        for number in range(rounds):
            for role in ROLES:
                all_answer([one, two], SETTLE_S)
                gap = gap_of(hosts[0], one, two, role)
                table.samples[role]["gap"].append(gap)
                say(f"{wire}: round {number + 1}/{rounds} {role}: gap {gap:.0f} ms")
    table.steal_percent = steal_ticks().percent_since(before)
    return table


def gap_of(host: Host, one: Workload, two: Workload, role: str) -> float:
    """The longest silence, in ms, around the death of the host's `role`."""
    server = two.spawn(["iperf3", "-s", "-1"], name="iperf-server")
    poll(lambda: listening(server.pid, IPERF_PORT), 10.0, "iperf3's server")
    stream = one.spawn(["iperf3", "-c", two.address, "-t", str(STREAM_S)], name="iperf-client")
    count = int((STREAM_S - 2) / INTERVAL_S)
    ping = one.spawn(["ping", "-D", "-i", str(INTERVAL_S), "-c", str(count), "-W", "1", two.address], name="ping")
    try:
        poll(lambda: len(_ANSWER.findall(ping.output())) > 100, 10.0, "the first second of pings")
        host.daemon.kill(role)
        if role == "meshnetd":
            host.daemon.start()
        text = ping.finish(STREAM_S + 20)
        stream.finish(STREAM_S + 20)
    finally:
        for child in (ping, stream, server):
            child.stop(signal.SIGKILL)
    times = [float(at) for at in _ANSWER.findall(text)]
    return max(after - earlier for earlier, after in pairwise(times)) * 1000
