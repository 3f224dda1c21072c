"""One mesh over real daemons: what a workload on one host may expect of those on the others.

Three hosts in a chain of introductions (h2 joined at h1, h3 at h2) and a fourth behind a route of 1300 bytes,
on the nic wire: every datagram is a real packet, as between real hosts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.daemons import token_in
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, attach
from tests.lab.poll import poll
from tests.lab.traffic import deliver, iperf, listen, send
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

PORT = 6799
MTU = 1500
HEADERS = 28  # IPv4 and ICMP
NARROW = 1300
MESSAGE = b"one message for whoever listens: " + bytes(range(64))
SECRET = b"canary " + bytes(range(200, 256)) + b"!"
CONTROL = b"in the clear, on purpose: " + bytes(range(100, 138))


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        h1, h2, h3 = (lab.host(name) for name in ("h1", "h2", "h3"))
        narrow = lab.host("h4", mtu=NARROW)
        launched = h1.daemon.launch()
        inviting = token_in(h1.daemon.cli("token", "create", "--role", "invite").stdout)
        h2.daemon.join(inviting)
        h3.daemon.join(token_in(h2.daemon.cli("token", "create").stdout))
        narrow.daemon.join(launched)
        hosts = [h1, h2, h3, narrow]
        workloads = [attach(host) for host in hosts]
        all_answer(workloads)
        yield Mesh(lab, hosts, workloads)


def test_every_workload_reaches_every_other(mesh: Mesh) -> None:
    all_answer(mesh.workloads, deadline=3.0)


def test_a_peer_that_knew_only_the_second_learns_the_first(mesh: Mesh) -> None:
    h1, _, h3, _ = mesh.hosts
    poll(lambda: h3.daemon.peers_up() == ["h1", "h2", "h4"], 10, "h3 sees h1, h2, h4")
    poll(lambda: h1.daemon.peers_up() == ["h2", "h3", "h4"], 10, "h1 sees h2, h3, h4")


@pytest.mark.parametrize("protocol", ["udp", "tcp"])
def test_messages_arrive_unchanged_from_the_address_they_were_sent_from(mesh: Mesh, protocol: str) -> None:
    one, _, three, _ = mesh.workloads
    for sender, receiver in ((one, three), (three, one)):
        ear = listen(receiver, protocol, receiver.address)
        [got] = deliver(sender, protocol, receiver.address, MESSAGE, [ear])
        assert (got.source, got.payload) == (sender.address, MESSAGE)


def broadcast_address(workload: Workload) -> str:
    said = workload.run(["ip", "-4", "-o", "address", "show", "dev", "mesh0"]).stdout
    found = re.search(r"inet (\S+)", said)
    assert found is not None, said
    return str(ipaddress.ip_interface(found.group(1)).network.broadcast_address)


@pytest.mark.parametrize("scope", ["limited", "directed"])
def test_broadcast_reaches_all_others(mesh: Mesh, scope: str) -> None:
    sender, *others = mesh.workloads
    address = "255.255.255.255" if scope == "limited" else broadcast_address(sender)
    ears = [listen(other, "udp", "0.0.0.0") for other in others]
    for got in deliver(sender, "udp", address, MESSAGE, ears, "--from", sender.address):
        assert (got.source, got.payload) == (sender.address, MESSAGE)


def test_multicast_reaches_all_members(mesh: Mesh) -> None:
    *others, sender = mesh.workloads
    ears = [listen(other, "udp", other.address, group="239.18.0.1") for other in others]
    for got in deliver(sender, "udp", "239.18.0.1", MESSAGE, ears, "--from", sender.address):
        assert (got.source, got.payload) == (sender.address, MESSAGE)


def test_the_overlay_carries_1500_bytes_over_any_route_without_fragments(mesh: Mesh) -> None:
    h1, *_, narrow = mesh.hosts
    one, two, _, behind = mesh.workloads
    with mesh.lab.capture(h1, narrow) as capture:
        for other in (two, behind):
            assert one.answers(other.address, size=MTU - HEADERS, whole=True)
            assert other.answers(one.address, size=MTU - HEADERS, whole=True)
            assert not one.answers(other.address, size=MTU - HEADERS + 1, whole=True)
        [got] = deliver(one, "tcp", behind.address, MESSAGE * 2000, [listen(behind, "tcp", behind.address)])
        assert got.payload == MESSAGE * 2000
        assert iperf(one, behind, behind.address, 1).bits_per_second > 50e6
    ours = capture.datagrams("h4", port=PORT)
    assert ours
    assert not [datagram for datagram in ours if datagram.fragment]
    widest = max(len(datagram.payload) for datagram in ours)
    assert NARROW - 200 < widest + 28 <= NARROW
    wide = [datagram for datagram in capture.datagrams("h1", port=PORT) if "198.18.0.4" not in (datagram.source,)]
    assert max(len(datagram.payload) for datagram in wide) + 28 <= MTU


def test_nothing_readable_is_on_the_underlay(mesh: Mesh) -> None:
    h1, h2 = mesh.hosts[:2]
    one, two = mesh.workloads[:2]
    with mesh.lab.capture() as capture:
        for protocol in ("udp", "tcp"):
            [got] = deliver(one, protocol, two.address, SECRET, [listen(two, protocol, two.address)])
            assert got.payload == SECRET
        ear = listen(h2, "udp", h2.address)
        send(h1, "udp", h2.address, CONTROL)
        ear.finish()
        capture.until(CONTROL, "h1", "h2")
        assert capture.stop() == 0
    assert capture.find(CONTROL)
    assert capture.datagrams(port=PORT)
    assert not capture.find(SECRET)


def test_status_tells_peers_networks_and_endpoints(mesh: Mesh) -> None:
    h1, *others = mesh.hosts
    status = h1.daemon.status()
    assert (status["schema"], status["state"]) == ("meshnet.status/v1", "ready")
    assert sorted(peer["name"] for peer in status["peers"]) == sorted(host.name for host in others)
    [network] = status["networks"]
    assert (network["name"], network["number"], network["mtu"]) == ("default", 1, MTU)
    assert sorted(network["members"]) == ["h1", "h2", "h3", "h4"]
    [endpoint] = status["endpoints"]
    assert endpoint["addresses"][0].partition("/")[0] == mesh.workloads[0].address
    live = {peer["name"]: peer for peer in status["peers"]}["h2"]
    assert (live["state"], live["path"]) == ("up", "direct")
    assert live["rx_bytes"] > 0 < live["tx_bytes"]


def test_no_secret_is_in_any_argv_and_the_names_are_said(mesh: Mesh) -> None:
    for host in mesh.hosts:
        roles = [host.daemon.meshnetd(), host.daemon.forwarder()]
        assert len({process.pid for process in roles}) == 2
        assert not [process for process in roles if "mesh1-" in " ".join(process.argv)]


def test_an_address_may_be_chosen_and_comes_back_when_detached(mesh: Mesh) -> None:
    host, one = mesh.hosts[1], mesh.workloads[0]
    # The next address of the same range is free, or the attachment says it is not.
    chosen = str(ipaddress.IPv4Address(mesh.workloads[1].address) + 5)
    guest = host.workload("guest")
    for _ in range(2):
        assert host.daemon.attach(guest, "--ip", chosen) == chosen
        poll(lambda: one.answers(chosen), 5, f"answer from {chosen}")
        host.daemon.detach(guest)
        assert "mesh0" not in guest.run(["ip", "-o", "link"]).stdout
        assert not one.answers(chosen)


def test_an_interface_name_may_be_chosen(mesh: Mesh) -> None:
    host, one = mesh.hosts[2], mesh.workloads[0]
    guest = host.workload("named")
    host.daemon.attach(guest, "--ifname", "eth7")
    assert "eth7" in guest.run(["ip", "-o", "link"]).stdout
    poll(lambda: guest.answers(one.address), 5, "answer")
    host.daemon.detach(guest)
