"""A peer whose address changes is followed at once, and nobody else can draw its traffic to himself."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab import onpath
from tests.lab.barrier import Barrier
from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.pcap import Datagram
from tests.lab.spoof import PORT, mac
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

ELSEWHERE = "198.18.0.77"
REBOUND = 40_123
RATE = 50
BACK_S = 3 * 1.0
PROBE_MAX = 128  # bytes of a datagram that carries a path probe and nothing else
RECORD = 4

MOVED = f"""
table ip moved {{
 chain out {{
  type filter hook output priority -300
  udp sport {PORT} %s
 }}
 chain in {{
  type filter hook prerouting priority -300
  %s
 }}
}}
"""


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]
    stranger: Host


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name, ipv6=False) for name in ("h1", "h2")]
        stranger = lab.host("h3", ipv6=False)
        yield Mesh(lab, hosts, found(hosts), stranger)


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    all_answer(running.workloads)
    return running


@contextmanager
def moved(host: Host, outgoing: str, incoming: str) -> Iterator[None]:
    """The host's datagrams leave with other headers, without its daemons knowing: as behind a NAT, or moved."""
    host.run(["nft", "-f", "-"], input=MOVED % (outgoing, incoming))
    try:
        yield
    finally:
        host.run(["nft", "delete", "table", "ip", "moved"])


def followed(mesh: Mesh, outgoing: str, incoming: str) -> None:
    """A flow from the host that moves goes on, without longer silence than is promised; and so does the way back."""
    one, two = mesh.workloads
    with Flow(two, one.address, rate=RATE) as flow:
        flow.answered(RATE)
        with moved(mesh.hosts[1], outgoing, incoming):
            flow.answered(2 * RATE)
        flow.answered(2 * RATE)
        outcome = flow.outcome()
    assert outcome.longest_gap_s < BACK_S


@pytest.mark.slow
def test_a_peer_whose_address_changes_is_followed_and_back(mesh: Mesh) -> None:
    host = mesh.hosts[1]
    host.ip(f"address add {ELSEWHERE}/24 dev eth0")
    try:
        here = f"ip daddr {host.ipv4} udp dport {PORT} drop; "
        there = f"ip daddr {ELSEWHERE} udp dport {PORT} ip daddr set {host.ipv4}"
        followed(mesh, f"ip saddr set {ELSEWHERE}", here + there)
    finally:
        host.ip(f"address del {ELSEWHERE}/24 dev eth0")


def test_a_nat_that_binds_another_port_is_followed_and_back(mesh: Mesh) -> None:
    old = f"udp dport {PORT} drop; "
    followed(mesh, f"udp sport set {REBOUND}", old + f"udp dport {REBOUND} udp dport set {PORT}")


def test_copies_from_another_address_draw_no_traffic_there(mesh: Mesh) -> None:
    """The copier is on the path: what h2 sends reaches h1 through it alone, so every copy is the newest there is."""
    (h1, h2), (one, two), stranger = mesh.hosts, mesh.workloads, mesh.stranger
    wall = Barrier(mesh.lab.switch)
    ports = [mesh.lab.switch.ports[host.name, "eth0"] for host in (h2, h1)]
    ends = [h2.ipv4 or "", h1.ipv4 or "", str(PORT), mac(stranger).hex(), stranger.ipv4 or ""]
    argv = [sys.executable, "-I", str(Path(onpath.__file__)), "copy", *ports, *ends]
    copier = mesh.lab.switch.namespace.spawn(argv, name="copier")
    copier.wait_for("ready")
    try:
        with mesh.lab.capture(h2, stranger) as capture:
            wall.one_way(h2, h1, udp=PORT)
            with Flow(one, two.address, rate=RATE) as flow:
                flow.answered(4 * RATE)
    finally:
        wall.lift()
        copier.stop()
    to_stranger = from_victim(capture.datagrams("h3", port=PORT), h1, stranger)
    to_peer = from_victim(capture.datagrams("h2", port=PORT), h1, h2)
    assert len(to_peer) > 3 * RATE
    assert all(len(payload) <= PROBE_MAX for payload in to_stranger), "bulk went to an address that never answered"
    assert len(to_stranger) < RATE


def from_victim(datagrams: list[Datagram], source: Host, target: Host) -> list[bytes]:
    return [
        one.payload
        for one in datagrams
        if (one.source, one.destination) == (source.ipv4, target.ipv4) and one.payload[:1] == bytes([RECORD])
    ]
