"""An attacker on the path that forges as many datagrams as we send: traffic goes on, memory stays bounded.

Every record datagram from h2 to h1 is followed by a forged one in h2's name: another ciphertext, number of slices,
tail, a parity, a far counter, or the beginning of a long train that never comes whole.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import onpath
from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.memory import resident
from tests.lab.mesh import all_answer, found
from tests.lab.spoof import PORT
from tests.lab.traffic import iperf
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

SECONDS = 6
RATE = 200
LOST = 0.05  # a forged datagram comes after the true one, which is open by then
LEAST_BITS_PER_S = 1e6
MEMORY_MORE = 48 << 20  # three times what reassembly may hold in all


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=False) as lab:
        hosts = [lab.host(name, ipv6=False) for name in ("h1", "h2")]
        yield Mesh(lab, hosts, found(hosts))


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    all_answer(running.workloads)
    return running


@contextmanager
def forging(mesh: Mesh) -> Iterator[None]:
    """Forgeries all through the block; at least as many as would show something."""
    h1, h2 = mesh.hosts
    ends = [mesh.lab.switch.ports[h1.name, "eth0"], h2.ipv4 or "", h1.ipv4 or "", str(PORT), "7"]
    argv = [sys.executable, "-I", str(Path(onpath.__file__)), "forge", *ends]
    child = mesh.lab.switch.namespace.spawn(argv, name="forger")
    child.wait_for("ready")
    try:
        yield
    finally:
        child.stop()
    count = json.loads(child.output().splitlines()[-1])
    assert count["sent"] > SECONDS * RATE / 2, count


def test_single_datagrams_go_on_under_as_many_forgeries(mesh: Mesh) -> None:
    one, two = mesh.workloads
    forwarder = mesh.hosts[0].daemon.forwarder().pid
    before = drops(mesh.hosts[0])
    with forging(mesh):
        outcome = Flow(two, one.address, rate=RATE, seconds=SECONDS).outcome()
    assert outcome.lost <= LOST
    assert drops(mesh.hosts[0]) > before, "nothing forged arrived"
    assert mesh.hosts[0].daemon.forwarder().pid == forwarder


@pytest.mark.slow
def test_a_stream_of_long_trains_goes_on_and_memory_stays_bounded(mesh: Mesh) -> None:
    one, two = mesh.workloads
    forwarder = mesh.hosts[0].daemon.forwarder().pid
    before = resident(forwarder)
    with forging(mesh):
        rate = iperf(two, one, one.address, SECONDS)
        most = resident(forwarder)
    assert rate.bits_per_second > LEAST_BITS_PER_S
    assert max(most, resident(forwarder)) - before < MEMORY_MORE
    assert mesh.hosts[0].daemon.forwarder().pid == forwarder
    all_answer(mesh.workloads, deadline=5.0)


def drops(host: Host) -> int:
    return sum(host.daemon.status()["drops"].values())
