"""TCP ping-pong of 64 bytes between workloads; half round trips in microseconds."""

from __future__ import annotations

from collections.abc import Mapping

from bench.run import Probe
from tests.lab.hosts import Workload
from tests.lab.traffic import pingpong

UNITS = {"p50": "µs one way", "p99": "µs one way"}


def probe(seconds: int) -> Probe:
    """One ping-pong of `seconds`."""

    def run(client: Workload, server: Workload) -> Mapping[str, float]:
        found = pingpong(client, server, server.address, seconds)
        return {"p50": found["p50_us"], "p99": found["p99_us"]}

    return run
