"""64-byte UDP datagrams, sent as fast as iperf3 can; what arrived, in thousands a second.

The sender is faster than any overlay, so most of what it offers is lost before it: the figure is what was
delivered.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.run import Probe
from tests.lab.hosts import Workload
from tests.lab.traffic import iperf

SIZE = 64
KILO = 1e3
UNITS = {"delivered": "kpps"}


def probe(seconds: int) -> Probe:
    """One flood of `seconds`."""

    def run(client: Workload, server: Workload) -> Mapping[str, float]:
        rate = iperf(client, server, server.address, seconds, "-u", "-b", "0", "-l", str(SIZE))
        return {"delivered": rate.packets_per_second / KILO}

    return run
