"""TCP goodput from one workload to the other, by iperf3; the receiver's figure in Gb/s."""

from __future__ import annotations

from collections.abc import Mapping

from bench.run import Probe
from tests.lab.hosts import Workload
from tests.lab.traffic import iperf

GIGA = 1e9


def units(streams: list[int]) -> dict[str, str]:
    """The figures of this case and their unit."""
    return {f"tcp×{count}": "Gb/s" for count in streams}


def probe(seconds: int, streams: list[int]) -> Probe:
    """One run per number of streams, `seconds` each."""

    def run(client: Workload, server: Workload) -> Mapping[str, float]:
        return {
            f"tcp×{count}": iperf(client, server, server.address, seconds, "-P", str(count)).bits_per_second / GIGA
            for count in streams
        }

    return run
