"""Hosts that have only IPv6 on the underlay, among themselves and with a host that has both families."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.traffic import deliver, listen
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

PORT = 6799
MTU, HEADERS = 1500, 28


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(Wire.NIC, record=True) as opened:
        for name, ipv4 in (("h1", False), ("h2", False), ("h3", True)):
            opened.host(name, ipv4=ipv4)
        yield opened


@pytest.fixture(scope="module")
def workloads(lab: Lab) -> list[Workload]:
    built = found(list(lab.hosts.values()))
    all_answer(built)
    return built


def test_workloads_reach_each_other(workloads: list[Workload]) -> None:
    all_answer(workloads, deadline=3.0)
    one, two, _ = workloads
    assert one.answers(two.address, size=MTU - HEADERS, whole=True)
    [got] = deliver(one, "tcp", two.address, bytes(100_000), [listen(two, "tcp", two.address)])
    assert (got.source, len(got.payload)) == (one.address, 100_000)


def test_all_of_it_went_by_ipv6_and_whole(lab: Lab, workloads: list[Workload]) -> None:
    one, two, _ = workloads
    with lab.capture(lab.hosts["h1"]) as capture:
        assert one.answers(two.address, size=MTU - HEADERS, whole=True)
    ours = capture.datagrams(port=PORT)
    assert ours
    assert {datagram.source for datagram in ours} <= {host.ipv6 for host in lab.hosts.values()}
    assert not [datagram for datagram in ours if datagram.fragment]
