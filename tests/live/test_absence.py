"""A meshnetd that is gone for a minute: gossip calls its host dead, and the traffic of its workloads goes on."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator

import pytest

from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.namespace import Child
from tests.lab.poll import poll
from tests.lab.traffic import listening, rate_of
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(500)]

ABSENT_S = 60.0
AGE_S = 100.0  # of the sessions at the death: they become due for new keys while nobody is there to make them
LASTS_S = 190  # the traffic, from before the death until after the return
MISSED_S = 3 * 16.0
BACK_S = 3 * 10.0
RATE = 20
DATAGRAMS = ("-u", "-b", "200k", "-l", "500")  # 50 a second: a receiver that is not run for 3 s can hold them
STREAM = ("-b", "5M")


@pytest.fixture(scope="module")
def mesh() -> Iterator[tuple[list[Host], list[Workload]]]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2", "h3")]
        workloads = found(hosts)
        all_answer(workloads)
        yield hosts, workloads


def begin(sender: Workload, receiver: Workload, port: int, *options: str) -> Child:
    """An iperf3 run of LASTS_S."""
    server = receiver.spawn(["iperf3", "-s", "-1", "-p", str(port)], name="iperf-server")
    poll(lambda: listening(server.pid, port), 10, "iperf3's server")
    argv = ["iperf3", "-J", "-c", receiver.address, "-p", str(port), "-t", str(LASTS_S), *options]
    return sender.spawn(argv, name="iperf-client")


def state_of(host: Host, name: str) -> tuple[bool, str]:
    """Whether gossip reaches the peer from the host, and what its session is."""
    [peer] = [peer for peer in host.daemon.status()["peers"] if peer["name"] == name]
    return peer["reachable"], peer["state"]


def youngest(host: Host) -> float:
    """Seconds since the last session of the host was made."""
    return min(float(peer["session_age_s"] or 0.0) for peer in host.daemon.status()["peers"])


def test_a_minute_without_meshnetd_costs_no_frame_and_no_connection(
    mesh: tuple[list[Host], list[Workload]],
) -> None:
    (absent, *others), (one, two, three) = mesh
    forwarder = absent.daemon.forwarder().pid
    pairs = [(one, two), (two, one), (one, three), (three, one)]
    flows = [Flow(sender, to.address, rate=RATE, seconds=LASTS_S) for sender, to in pairs]
    runs = [begin(two, one, 5301, *DATAGRAMS), begin(one, three, 5302, *DATAGRAMS), begin(three, one, 5303, *STREAM)]
    begun = time.monotonic()
    for flow in flows:
        flow.answered(RATE)
    poll(lambda: youngest(absent) >= AGE_S, AGE_S + 10, "sessions that are soon due for new keys")
    absent.daemon.kill("meshnetd", sign=signal.SIGKILL)
    died = time.monotonic()
    for host in others:
        poll(lambda host=host: not state_of(host, "h1")[0], MISSED_S, f"{host.name} misses h1")  # type: ignore[misc]
    print(f"missed by both others after {time.monotonic() - died:.1f} s")
    while time.monotonic() < died + ABSENT_S:
        flows[0].answered(RATE)
        assert [state_of(host, "h1") for host in others] == [(False, "up")] * 2
    absent.daemon.start()
    assert absent.daemon.forwarder().pid == forwarder
    for host in others:
        poll(lambda host=host: state_of(host, "h1") == (True, "up"), BACK_S, f"{host.name} reaches h1")  # type: ignore[misc]
    print(f"back at both after {time.monotonic() - died:.1f} s")
    assert time.monotonic() < begun + LASTS_S - 2, "the traffic ended before the return"
    outcomes = [flow.outcome() for flow in flows]
    assert [(outcome.sent, outcome.received) for outcome in outcomes] == [(RATE * LASTS_S, RATE * LASTS_S)] * 4
    reports = [json.loads(run.finish(LASTS_S)) for run in runs]
    assert all("error" not in report for report in reports)
    assert [report["end"]["sum"]["lost_packets"] for report in reports[:2]] == [0, 0]
    assert rate_of(reports[2]).bits_per_second > 4e6
