"""Recorded traffic sent again delivers nothing and moves nobody; two hosts that begin anew at once find each other."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.counts import ipv4_received
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.pcap import Datagram
from tests.lab.poll import poll
from tests.lab.spoof import PORT, Attacker
from tests.lab.traffic import iperf
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

LATER_S = 60.0
RATE = 4_000
LARGEST = 40_000  # datagrams replayed
BACK_S = 3 * 2.0
RESUMED_S = 3 * 5.0
START_S = 60.0
RECORD, INITIATION = 4, 1
PROBE_MAX = 128
STREAM_S = 1


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]
    attacker: Attacker


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name, ipv6=False) for name in ("h1", "h2")]
        attacker = Attacker(lab.host("h3", ipv6=False))
        yield Mesh(lab, hosts, found(hosts), attacker)


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    all_answer(running.workloads)
    return running


def recorded(mesh: Mesh) -> list[Datagram]:
    """Everything on UDP from a session's first handshake on: pings, a stream, whatever came between."""
    one, two = mesh.workloads
    with mesh.lab.capture(mesh.hosts[0]) as capture:
        mesh.hosts[1].daemon.kill("forwarder")
        poll(lambda: one.answers(two.address) and two.answers(one.address), BACK_S, "traffic in a new session")
        iperf(two, one, one.address, STREAM_S, "-b", "20M")
    seen = capture.datagrams(port=PORT)[:LARGEST]
    kinds = {datagram.payload[0] & 15 for datagram in seen if datagram.payload}
    assert {INITIATION, RECORD} <= kinds, "the capture lacks what is to be replayed"
    return seen


def replay(mesh: Mesh, datagrams: list[Datagram], *, own_source: bool) -> None:
    """Send to each host what the other sent it: from the attacker's address, or in the name of the true sender."""
    frames = []
    for victim, sender in (mesh.hosts, mesh.hosts[::-1]):
        pieces = [one.payload for one in datagrams if (one.source, one.destination) == (sender.ipv4, victim.ipv4)]
        assert pieces
        source = mesh.attacker.host.ipv4 if own_source else sender.ipv4
        frames += mesh.attacker.from_source(victim, (source or "", PORT), pieces)
    shot = mesh.attacker.shoot(frames, rate=RATE).result()
    assert shot.sent == len(frames)


def drops(mesh: Mesh) -> int:
    return sum(sum(host.daemon.status()["drops"].values()) for host in mesh.hosts)


def nothing_delivered(mesh: Mesh, datagrams: list[Datagram], *, own_source: bool) -> None:
    before, dropped = [ipv4_received(workload) for workload in mesh.workloads], drops(mesh)
    replay(mesh, datagrams, own_source=own_source)
    poll(lambda: drops(mesh) - dropped > len(datagrams) / 2, 10, "drops of what was replayed")
    assert [ipv4_received(workload) for workload in mesh.workloads] == before


def not_moved(mesh: Mesh) -> None:
    """Traffic goes between the hosts and not to the attacker, but for a probe or two."""
    one, two = mesh.workloads
    with mesh.lab.capture(*mesh.hosts, mesh.attacker.host) as capture:
        for _ in range(20):
            assert one.answers(two.address, size=1000) and two.answers(one.address, size=1000)
    there = [one for one in capture.datagrams("h3", port=PORT) if one.destination == mesh.attacker.host.ipv4]
    assert all(len(datagram.payload) <= PROBE_MAX for datagram in there)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_whole_capture_replayed_a_minute_later_from_elsewhere_delivers_nothing(mesh: Mesh) -> None:
    datagrams = recorded(mesh)
    end = time.monotonic() + LATER_S
    poll(lambda: time.monotonic() > end, LATER_S + 5, "the minute")
    nothing_delivered(mesh, datagrams, own_source=True)
    not_moved(mesh)
    nothing_delivered(mesh, datagrams, own_source=False)
    not_moved(mesh)


def test_a_capture_replayed_at_once_delivers_nothing(mesh: Mesh) -> None:
    datagrams = recorded(mesh)
    nothing_delivered(mesh, datagrams, own_source=True)
    not_moved(mesh)


def test_a_capture_replayed_into_a_new_forwarder_delivers_nothing(mesh: Mesh) -> None:
    """The forwarder is killed under load; the replay windows die with it, and so must the keys."""
    one, two = mesh.workloads
    datagrams = recorded(mesh)
    server = one.spawn(["iperf3", "-s", "-1"], name="iperf-server")
    client = two.spawn(["iperf3", "-c", one.address, "-t", "3", "-u", "-b", "20M"], name="iperf-client")
    for host in mesh.hosts:
        old = host.daemon.forwarder().pid
        host.daemon.kill("forwarder")
        poll(lambda: one.answers(two.address) and two.answers(one.address), BACK_S, "traffic with a new forwarder")
        assert host.daemon.forwarder().pid != old
    client.process.wait(30)
    client.stop()
    server.stop()
    for own_source in (True, False):
        nothing_delivered(mesh, datagrams, own_source=own_source)
    not_moved(mesh)


def test_two_hosts_that_begin_anew_at_once_find_each_other(mesh: Mesh) -> None:
    one, two = mesh.workloads
    for host in mesh.hosts:
        host.daemon.kill("meshnetd", "forwarder")
    assert not one.answers(two.address)
    starts = []
    for host in mesh.hosts:
        words = ["--run-dir", str(host.daemon.run_dir), "start", "--state-dir", str(host.daemon.state_dir)]
        starts.append(host.spawn([sys.executable, "-m", "meshnet", *words], name="start"))
    for child in starts:
        child.finish(START_S)
    poll(lambda: one.answers(two.address) and two.answers(one.address), RESUMED_S, "traffic of both begun anew")


def test_two_forwarders_that_die_at_once_are_replaced(mesh: Mesh) -> None:
    one, two = mesh.workloads
    for host in mesh.hosts:
        host.daemon.kill("forwarder")
    poll(lambda: one.answers(two.address) and two.answers(one.address), BACK_S, "traffic with two new forwarders")
