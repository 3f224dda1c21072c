"""Networks over real daemons: several at once, founded by whoever comes first, the host's own address, leaving."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

HEADERS = 28  # IPv4 and ICMP
FIRST_S = 15.0
RULE = "-A FORWARD -i mn+ -o mn+ -m physdev --physdev-is-bridged -m comment --comment meshnet -j ACCEPT"
REFUSED_S = 3.0  # the command's own start included; the daemon answers within 0.9 s
CHECK_S = 10.0  # how often the rule is looked at
BEYOND = "192.0.2.9"


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2", "h3")]
        yield Mesh(lab, hosts, found(hosts))


def create(host: Host, name: str, *options: str) -> dict[str, Any]:
    return host.daemon.json("network", "create", name, *options)


def networks(host: Host) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in host.daemon.json("network", "ls")["networks"]}


def known(host: Host, *names: str) -> None:
    poll(lambda: set(names) <= set(networks(host)), FIRST_S, f"{names} known on {host.name}")


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert 1 <= done.returncode <= 7 and "Traceback" not in said, said
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "why", "fix"], said
    for word in words:
        assert word in said, said


def put(host: Host, name: str, network: str, *options: str) -> Workload:
    """A new workload on `host`, attached to `network`."""
    workload = host.workload(name)
    host.daemon.attach(workload, "--network", network, *options)
    return workload


def leave_alone(host: Host, *workloads: Workload) -> None:
    for workload in workloads:
        host.daemon.detach(workload)


def received(workload: Workload) -> int:
    counters = workload.run(["cat", "/proc/net/snmp"]).stdout
    names, values = (line.split() for line in counters.splitlines() if line.startswith("Icmp:"))
    return int(values[names.index("InEchos")])


def test_networks_with_one_subnet_stay_apart(mesh: Mesh) -> None:
    """The same addresses on both: a frame that crossed would be answered by the wrong workload."""
    h1, h2, _ = mesh.hosts
    for name in ("red", "blue"):
        create(h1, name, "--subnet", "10.90.0.0/16")
    known(h2, "red", "blue")
    assert not networks(h2)["red"]["served"]
    reds = put(h1, "r1", "red"), put(h2, "r2", "red")
    assert networks(h2)["red"]["served"] and not networks(h2)["blue"]["served"]
    blue = put(h1, "b1", "blue")
    assert reds[0].address == blue.address
    assert not blue.answers(reds[1].address, seconds=2), "nobody on blue has this address"
    twin = put(h2, "b2", "blue")
    assert twin.address == reds[1].address
    for one, other in (reds, (blue, twin)):
        poll(partial(one.answers, other.address), FIRST_S, f"ping {one.name} → {other.name}")
    before = received(twin), received(reds[1])
    assert reds[0].answers(reds[1].address)
    assert (received(twin), received(reds[1])) == (before[0], before[1] + 1)
    leave_alone(h1, reds[0], blue)
    leave_alone(h2, reds[1], twin)


@pytest.mark.parametrize("mtu", [1500, 9000])
def test_each_network_has_its_mtu(mesh: Mesh, mtu: int) -> None:
    h1, h2, _ = mesh.hosts
    name = f"wide-{mtu}"
    assert create(h1, name, "--mtu", str(mtu))["mtu"] == mtu
    known(h2, name)
    one, other = put(h1, f"{mtu}a", name), put(h2, f"{mtu}b", name)
    poll(lambda: one.answers(other.address), FIRST_S, "first answer")
    assert one.answers(other.address, size=mtu - HEADERS, whole=True)
    assert not one.answers(other.address, size=mtu - HEADERS + 1, whole=True)
    leave_alone(h1, one)
    leave_alone(h2, other)


def test_one_name_created_on_all_hosts_in_the_same_second_is_one_network(mesh: Mesh) -> None:
    with ThreadPoolExecutor(len(mesh.hosts)) as pool:
        answers = list(pool.map(lambda host: create(host, "twin"), mesh.hosts))
    assert len({(answer["number"], tuple(answer["pools"]), answer["mtu"]) for answer in answers}) == 1
    workloads = [put(host, "t", "twin") for host in mesh.hosts]
    assert len({workload.address for workload in workloads}) == len(workloads)
    all_answer(workloads)
    for host, workload in zip(mesh.hosts, workloads, strict=True):
        leave_alone(host, workload)


def test_an_existing_network_with_another_subnet_is_named(mesh: Mesh) -> None:
    h1, h2, _ = mesh.hosts
    create(h1, "fixed", "--subnet", "10.91.0.0/16")
    known(h2, "fixed")
    refused(h2.daemon.cli("network", "create", "fixed", "--subnet", "10.92.0.0/16", check=False), "10.91.0.0/16")
    assert create(h2, "fixed")["pools"] == ["10.91.0.0/16"]


def test_a_subnet_that_a_host_route_overlaps_is_refused_with_the_route(mesh: Mesh) -> None:
    h1 = mesh.hosts[0]
    words = ["network", "create", "near", "--subnet", "198.18.0.0/16"]
    refused(h1.daemon.cli(*words, check=False), "198.18.0.0/24 dev eth0", "--subnet")
    assert "near" not in networks(h1)


def test_an_unknown_network_is_named_with_the_remedy(mesh: Mesh) -> None:
    host = mesh.hosts[1]
    refused(host.daemon.cli("attach", host.workload("lost").full_name, "--network", "nowhere", check=False), "nowhere")
    refused(host.daemon.cli("network", "rm", "nowhere", check=False), "nowhere")


def test_a_network_in_use_stays_and_names_who_uses_it(mesh: Mesh) -> None:
    h1, h2, _ = mesh.hosts
    create(h1, "busy")
    known(h2, "busy")
    mine, theirs = put(h1, "busy1", "busy"), put(h2, "busy2", "busy")
    [endpoint] = [one["endpoint"] for one in h1.daemon.status()["endpoints"] if one["network"] == "busy"]
    for option in ([], ["--everywhere"]):
        refused(h1.daemon.cli("network", "rm", "busy", *option, check=False), endpoint, mine.full_name)
    leave_alone(h1, mine)
    poll(lambda: networks(h1)["busy"]["endpoints"] == 1, FIRST_S, "one endpoint left")
    refused(h1.daemon.cli("network", "rm", "busy", "--everywhere", check=False), "h2")
    h1.daemon.cli("network", "rm", "busy")
    assert not networks(h1)["busy"]["served"] and networks(h2)["busy"]["served"]
    leave_alone(h2, theirs)
    poll(lambda: networks(h1)["busy"]["endpoints"] == 0, FIRST_S, "no endpoint left")
    h1.daemon.cli("network", "rm", "busy", "--everywhere")
    poll(lambda: "busy" not in networks(h2), FIRST_S, "busy gone on h2")
    number = r"mn[0-9a-f]{8}"
    served = [one for one in networks(h2).values() if one["served"]]
    poll(
        lambda: len(set(re.findall(number, h2.run(["ip", "-o", "link"]).stdout))) == len(served), 5, "its devices gone"
    )


def test_the_host_has_an_address_and_gives_it_back(mesh: Mesh) -> None:
    (h1, h2, _), (one, two, _) = mesh.hosts, mesh.workloads
    exposed = h1.daemon.json("expose")
    address = exposed["address"].partition("/")[0]
    poll(lambda: two.answers(address) and one.answers(address), FIRST_S, "the host's answer on the segment")
    assert h1.answers(two.address)
    assert not h2.answers(one.address)
    refused(h1.daemon.cli("expose", "--ip", two.address, check=False), address)
    h1.daemon.cli("hide")
    assert address not in h1.run(["ip", "-o", "address"]).stdout
    assert not two.answers(address)
    refused(h1.daemon.cli("hide", check=False), "no address")


def test_a_workload_reaches_beyond_the_host_by_masquerading(mesh: Mesh) -> None:
    """The host beyond knows no route back to the segment: only masquerading lets it answer."""
    (h1, _, h3), (_, two, _) = mesh.hosts, mesh.workloads
    h3.ip(f"address add {BEYOND}/32 dev lo")
    h1.ip(f"route add {BEYOND}/32 via {h3.address}")
    h1.run(["iptables", "-P", "FORWARD", "DROP"])
    address = h1.daemon.json("expose", "--masquerade")["address"].partition("/")[0]
    two.ip(f"route add {BEYOND}/32 via {address}")
    try:
        poll(lambda: two.answers(BEYOND), FIRST_S, "an answer from beyond")
        h1.daemon.json("expose")
        assert "meshnet" not in h1.run(["nft", "list", "tables"]).stdout
        assert not two.answers(BEYOND)
    finally:
        two.ip(f"route del {BEYOND}/32")
        h1.ip(f"route del {BEYOND}/32")
        h1.daemon.cli("hide")
        h1.run(["iptables", "-P", "FORWARD", "ACCEPT"])


def rules(host: Host) -> list[str]:
    return host.run(["iptables", "-S", "FORWARD"]).stdout.splitlines()


def test_frames_pass_where_br_netfilter_is_on_and_forward_drops(mesh: Mesh) -> None:
    (h1, _, _), (one, two, _) = mesh.hosts, mesh.workloads
    neighbour = put(h1, "near", "default")
    h1.set_many({"net.bridge.bridge-nf-call-iptables": "1"})
    h1.run(["iptables", "-P", "FORWARD", "DROP"])
    try:
        poll(lambda: RULE in rules(h1), CHECK_S + 5, "the rule")
        assert one.answers(neighbour.address) and one.answers(two.address)
        h1.run(["iptables", "-F", "FORWARD"])
        one.ip("neighbour flush dev mesh0")
        assert not one.answers(neighbour.address), "without the rule the frames die: else this test shows nothing"
        poll(lambda: RULE in rules(h1), CHECK_S + 5, "the rule after a flush")
        poll(lambda: one.answers(neighbour.address), 5, "frames again")
    finally:
        h1.run(["iptables", "-P", "FORWARD", "ACCEPT"])
        leave_alone(h1, neighbour)


def test_a_reboot_keeps_identity_networks_and_addresses(mesh: Mesh) -> None:
    host, one = mesh.hosts[1], mesh.workloads[0]
    create(host, "kept", "--subnet", "10.93.0.0/16", "--mtu", "9000")
    address = host.daemon.json("expose", "--network", "kept")["address"]
    before, held = host.daemon.status(), networks(host)
    host.daemon.kill("meshnetd", "forwarder")
    for link in re.findall(r"^\d+: (m[nv][0-9a-f]{8,10})", host.run(["ip", "-o", "link"]).stdout, re.MULTILINE):
        host.run(["ip", "link", "del", link])
    host.run(["iptables", "-F"])
    host.daemon.start()
    after, now = host.daemon.status(), networks(host)
    assert (after["peer"]["id"], after["mesh"]) == (before["peer"]["id"], before["mesh"])
    assert {name: (one["number"], one["served"], one["owned"]) for name, one in now.items()} == {
        name: (one["number"], one["served"], one["owned"]) for name, one in held.items()
    }
    assert now["kept"]["exposed"] == address and address in host.run(["ip", "-o", "address"]).stdout
    assert after["endpoints"] == [], "the workloads went with the reboot"
    two = put(host, "again", "default", "--ip", mesh.workloads[1].address)
    poll(lambda: one.answers(two.address), FIRST_S, "the same address anew")
    host.daemon.cli("hide", "--network", "kept")


def test_stop_takes_the_rules_along(mesh: Mesh) -> None:
    host = mesh.hosts[2]
    poll(lambda: RULE in rules(host), CHECK_S + 5, "the rule")
    host.daemon.stop()
    assert RULE not in rules(host)
    host.daemon.start()


def test_creation_without_the_registrar_fails_soon_and_known_networks_go_on(mesh: Mesh) -> None:
    """h1 founded the mesh. With it dead, new names wait for it; everything known goes on, allocation too."""
    h1, h2, h3 = mesh.hosts
    create(h1, "early")
    known(h2, "early")
    known(h3, "early")
    first = put(h2, "early2", "early")
    h1.daemon.kill("meshnetd", "forwarder")
    begun = time.monotonic()
    refused(h2.daemon.cli("network", "create", "late", check=False), "h1", "start")
    assert time.monotonic() - begun < REFUSED_S
    guests = [put(h2, f"alone{number}", "default") for number in range(3)]
    more = put(h2, "early2b", "early")
    poll(lambda: more.answers(first.address), FIRST_S, "a known network with its founder dead")
    poll(lambda: guests[0].answers(guests[2].address), FIRST_S, "the default network with its founder dead")
    h1.daemon.start()
    poll(lambda: h2.daemon.peers_up() == ["h1", "h3"], FIRST_S, "h1 is back")
    create(h2, "late")
    leave_alone(h2, first, more, *guests)


def size_owned(*hosts: Host) -> int:
    """How many addresses of the default network these hosts own, each by its own word."""
    texts = [text for host in hosts for text in networks(host)["default"]["owned"]]
    ends = [[int(IPv4Address(end)) for end in text.split("-")] for text in texts]
    return sum(last - first + 1 for first, last in ends)


def test_leaving_hands_everything_back(mesh: Mesh) -> None:
    """Last, because h3 is gone for good then."""
    h1, h2, h3 = mesh.hosts
    assert size_owned(h3) > 0 and size_owned(h1, h2, h3) == 2**20
    workload = put(h3, "last", "early")
    refused(h3.daemon.cli("leave", check=False), "--yes")
    h3.daemon.cli("leave", "--yes")
    assert not h3.daemon.processes()
    assert not re.search(r": m[ntv][0-9a-f]{8,10}[@:]", h3.run(["ip", "-o", "link"]).stdout)
    assert "mesh0" not in workload.run(["ip", "-o", "link"]).stdout
    state = {path.name for path in h3.daemon.state_dir.iterdir()}
    assert "keys.json" not in state and "keys.json.left" in state

    def left(host: Host) -> bool:
        return [peer["state"] for peer in host.daemon.status()["peers"] if peer["name"] == "h3"] in (["left"], [])

    poll(lambda: left(h1) and left(h2), FIRST_S, "h3 has left")
    poll(lambda: all(one["members"].count("h3") == 0 for one in networks(h1).values()), FIRST_S, "no endpoint of h3")
    poll(lambda: size_owned(h1, h2) == 2**20, FIRST_S, "the two that stay own the whole default range")
    guest = put(h2, "after", "default")
    poll(lambda: guest.answers(mesh.workloads[0].address), FIRST_S, "the others go on")
    assert h3.daemon.cli("start", "--state-dir", str(h3.daemon.state_dir), check=False).returncode != 0
