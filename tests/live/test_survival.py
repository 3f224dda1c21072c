"""What a mesh survives: the death of either process, a stop and a start, and ICMP errors at any time."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.processes import alive
from tests.lab.traffic import TALK, listening, ping_count
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

PORT = 6799
PINGS, INTERVAL_S = 60, 0.05
HOST_UNREACHABLE, PORT_UNREACHABLE = 1, 3
BACK_S = 2.0  # a forwarder's death may cost so much (design §2) …
RESUMED_S = 3 * 2.0  # gossip tells of the new forwarder, and the others make their sessions anew at once
ONE_PING_S = 1.0  # … and seeing the answer up to one ping's patience more


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]

    @property
    def names(self) -> list[str]:
        return [host.name for host in self.hosts]


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2", "h3")]
        yield Mesh(lab, hosts, found(hosts))


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    """The module's mesh, whole: a test that failed half-way must not fail the next one."""
    for host, workload in zip(running.hosts, running.workloads, strict=True):
        if len(host.daemon.processes()) < 2:
            host.daemon.start()
        if "mesh0" not in workload.run(["ip", "-o", "link"]).stdout:
            host.daemon.attach(workload)
    all_answer(running.workloads)
    return running


@contextmanager
def pinging(sender: Workload, receiver: Workload, *, lost: int) -> Iterator[None]:
    """Ping at 20 a second all through the block (3 s at least); of those at most `lost` may stay
    unanswered."""
    argv = ["ping", "-q", "-c", str(PINGS), "-i", str(INTERVAL_S), "-W", "1", receiver.address]
    child = sender.spawn(argv, name="ping")
    try:
        yield
        child.process.wait(PINGS * INTERVAL_S + 15)
    finally:
        child.stop(signal.SIGINT)
    count = ping_count(child.output())
    assert count.sent == PINGS
    assert count.sent - count.received <= lost


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_traffic_flows_while_meshnetd_dies_and_returns(mesh: Mesh, sign: signal.Signals) -> None:
    host, (one, two, _) = mesh.hosts[0], mesh.workloads
    forwarder = host.daemon.forwarder().pid
    boot = host.daemon.status()["forwarder"]["boot"]
    with pinging(one, two, lost=0):
        host.daemon.kill("meshnetd", sign=sign)
        assert host.daemon.forwarder().pid == forwarder
        assert two.answers(one.address)
        host.daemon.start()
    assert host.daemon.forwarder().pid == forwarder
    assert host.daemon.status()["forwarder"]["boot"] == boot
    assert sorted(peer["name"] for peer in host.daemon.status()["peers"]) == mesh.names[1:]
    poll(lambda: host.daemon.peers_up() == mesh.names[1:], 15, "all peers reachable again")


def test_a_start_that_fails_leaves_the_traffic_as_it_is(mesh: Mesh) -> None:
    host, (one, two, _) = mesh.hosts[0], mesh.workloads
    forwarder = host.daemon.forwarder().pid
    host.daemon.kill("meshnetd")
    taken = host.spawn([*TALK, "listen", "tcp", host.address, str(PORT), "--count", "99"], name="squatter")
    try:
        poll(lambda: listening(taken.pid, PORT), 10, "the squatter's listener")
        refused = host.daemon.cli("start", "--state-dir", str(host.daemon.state_dir), check=False)
        assert refused.returncode != 0 and str(PORT) in refused.stderr
        assert host.daemon.forwarder().pid == forwarder
        assert two.answers(one.address)
    finally:
        taken.stop()
    host.daemon.start()
    assert host.daemon.forwarder().pid == forwarder
    assert two.answers(one.address)


def test_a_restarted_meshnetd_knows_its_endpoints(mesh: Mesh) -> None:
    host, (one, _, _) = mesh.hosts[0], mesh.workloads
    before = host.daemon.status()["endpoints"]
    host.daemon.kill("meshnetd")
    host.daemon.start()
    assert host.daemon.status()["endpoints"] == before
    guest = host.workload("fresh")
    assert host.daemon.attach(guest) != one.address
    poll(lambda: guest.answers(mesh.workloads[1].address), 5, "a new workload's ping")
    host.daemon.detach(guest)


def test_traffic_is_back_soon_after_a_forwarder_died(mesh: Mesh) -> None:
    host, (one, two, three) = mesh.hosts[0], mesh.workloads
    old = host.daemon.forwarder().pid
    host.daemon.kill("forwarder")
    poll(lambda: one.answers(two.address), BACK_S + ONE_PING_S, "traffic with a new forwarder")
    poll(lambda: three.answers(one.address), BACK_S + ONE_PING_S, "traffic from the other side")
    assert host.daemon.forwarder().pid != old


def test_the_forwarder_holds_no_privilege(mesh: Mesh) -> None:
    for host in mesh.hosts:
        status = Path(f"/proc/{host.daemon.forwarder().pid}/status").read_text().splitlines()
        fields = {key: value.split() for key, _, value in (line.partition(":") for line in status)}
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(fields[kind][0], 16) == 0, kind
        assert fields["NoNewPrivs"] == ["1"]
        assert "0" not in fields["Uid"] + fields["Gid"]


def test_stop_ends_both_and_start_resumes_the_same_peer(mesh: Mesh) -> None:
    """`stop` takes the devices along, also the workloads' interfaces; they are attached anew."""
    host = mesh.hosts[2]
    one, _, three = mesh.workloads
    before = host.daemon.status()
    pids = [process.pid for process in host.daemon.processes()]
    assert len(pids) == 2
    host.daemon.stop()
    assert not any(alive(pid) for pid in pids)
    links = host.run(["ip", "-o", "link"]).stdout
    assert not re.search(r": m[ntv][0-9a-f]{8,10}[@:]", links), links
    host.daemon.start()
    after = host.daemon.status()
    assert after["peer"]["id"] == before["peer"]["id"]
    assert after["mesh"] == before["mesh"]
    host.daemon.attach(three)
    poll(lambda: one.answers(three.address), 10, "the workload attached anew")


def test_ctrl_c_in_the_foreground_ends_both_processes_and_their_devices(mesh: Mesh) -> None:
    host = mesh.hosts[2]
    host.daemon.stop()
    places = ["--run-dir", str(host.daemon.run_dir), "start", "--state-dir", str(host.daemon.state_dir), "--foreground"]
    child = host.spawn([sys.executable, "-m", "meshnet", *places], name="foreground")
    poll(lambda: host.daemon.cli("status", check=False).returncode == 0, 20, "the daemon in the foreground")
    assert len(host.daemon.processes()) == 2
    child.stop(signal.SIGINT)
    poll(lambda: not host.daemon.processes(), 10, "the end of both")
    links = host.run(["ip", "-o", "link"]).stdout
    assert "mn0" not in links and "mt0" not in links


def test_a_host_whose_two_processes_died_resumes_with_its_workloads(mesh: Mesh) -> None:
    host, (one, two, _) = mesh.hosts[1], mesh.workloads
    before = host.daemon.status()["endpoints"]
    host.daemon.kill("meshnetd", "forwarder")
    assert not one.answers(two.address)
    host.daemon.start()
    assert [endpoint["addresses"] for endpoint in host.daemon.status()["endpoints"]] == [
        endpoint["addresses"] for endpoint in before
    ]
    poll(lambda: one.answers(two.address) and two.answers(one.address), RESUMED_S, "traffic with h2 resumed")


def unreachables(mesh: Mesh, code: int) -> None:
    """Send both ends of h1 – h2 ICMP errors about datagrams between them, as a router on the way would."""
    h1, h2, h3 = mesh.hosts
    for target, other in ((h1, h2), (h2, h1)):
        words = [target.address, str(code), target.address, str(PORT), other.address, str(PORT)]
        h3.run([*TALK, "unreachable", *words])


@pytest.mark.parametrize("code", [HOST_UNREACHABLE, PORT_UNREACHABLE])
def test_icmp_errors_on_the_way_deafen_nobody(mesh: Mesh, code: int) -> None:
    one, two, _ = mesh.workloads
    with pinging(one, two, lost=0):
        for _ in range(20):
            unreachables(mesh, code)
    assert two.answers(one.address)


def test_port_unreachable_before_during_and_after_a_start_deafens_nobody(mesh: Mesh) -> None:
    """While one end is down, its kernel answers the other's datagrams with port unreachable."""
    one, two, _ = mesh.workloads
    for host, here, there in ((mesh.hosts[0], one, two), (mesh.hosts[1], two, one)):
        host.daemon.kill("meshnetd", "forwarder")
        # The other side goes on sending into the closed port: keepalives, records, handshakes.
        assert not there.answers(here.address)
        unreachables(mesh, PORT_UNREACHABLE)
        host.daemon.start()
        unreachables(mesh, PORT_UNREACHABLE)
        poll(lambda there=there, here=here: there.answers(here.address), RESUMED_S, "the other side's ping")  # type: ignore[misc]
        poll(lambda there=there, here=here: here.answers(there.address), RESUMED_S, "its own ping")  # type: ignore[misc]


def test_host_unreachable_deafens_nobody(mesh: Mesh) -> None:
    """With the cable out, neighbour discovery fails and the kernel itself says host unreachable."""
    one, two, _ = mesh.workloads
    for host in mesh.hosts[:2]:
        mesh.lab.switch.unplug(host)
        assert not one.answers(two.address, seconds=4)  # beyond the 3 s after which the kernel gives a neighbour up
        mesh.lab.switch.plug(host)
        poll(lambda: one.answers(two.address) and two.answers(one.address), 30, "traffic after the cable is back")
