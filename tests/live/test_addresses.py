"""Addresses over real daemons: the first one, loans, the registrar, state that was lost, what nobody uses."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

FIRST_ADDRESS_S = 3 * 0.5  # three times the goal, the start of the command included
FIRST_S = 15.0
DEFAULT_SIZE = 2**20
FEW_RANGES = 4  # a host with so many ranges is lent a foreign address; with fewer it is given a block around it
DOUBT_S = 45.0  # a host with older state gives nothing out for 10 s, and until its neighbours agree with it
UNUSED_S = 135.0  # two looks, a minute apart, after the minute in which the first one comes


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


def shares(host: Host, network: str = "default") -> dict[str, dict[str, Any]]:
    """By peer, as `host` tells it."""
    [found] = [one for one in host.daemon.json("ipam", "ls")["networks"] if one["network"] == network]
    return {row["peer"]: row for row in found["peers"]}


def ranges(host: Host, owner: str) -> list[tuple[int, int]]:
    """First and last address of each range of the default network that `owner` has, as `host` tells it."""
    [shown] = host.daemon.json("ipam", "show", "default")["networks"]
    rows = [row for row in shown["ranges"] if row["name"] == owner]
    return [(int(IPv4Address(row["first"])), int(IPv4Address(row["last"]))) for row in rows]


def put(host: Host, name: str, *options: str) -> Workload:
    workload = host.workload(name)
    host.daemon.attach(workload, *options)
    return workload


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert 1 <= done.returncode <= 7 and "Traceback" not in said, said
    for word in words:
        assert word in said, said


def sound(*hosts: Host) -> None:
    for host in hosts:
        poll(lambda host=host: host.daemon.json("ipam", "check")["sound"], FIRST_S, f"nothing odd on {host.name}")  # type: ignore[misc]


def answers(one: Workload, other: Workload) -> None:
    poll(lambda: one.answers(other.address), FIRST_S, f"ping {one.name} → {other.name}")


def test_a_host_that_joins_has_its_first_address_at_once(mesh: Mesh) -> None:
    host = mesh.lab.host("h4")
    workload = host.workload("first")
    token = mesh.hosts[0].daemon.json("token", "create")["token"]
    host.daemon.join(token)
    begun = time.monotonic()
    host.daemon.attach(workload)
    took = time.monotonic() - begun
    assert took < FIRST_ADDRESS_S
    answers(workload, mesh.workloads[0])
    host.daemon.cli("leave", "--yes")
    poll(lambda: "h4" not in shares(mesh.hosts[0]), FIRST_S, "what h4 had is the others' again")


def test_every_address_is_accounted_for(mesh: Mesh) -> None:
    h1 = mesh.hosts[0]
    rows = shares(h1)
    assert sum(row["owned"] for row in rows.values()) == DEFAULT_SIZE - 3, "all but what every pool reserves"
    assert all(row["used"] == 1 and row["reachable"] for row in rows.values())
    sound(*mesh.hosts)


def test_an_address_of_another_hosts_range_is_lent_and_comes_back(mesh: Mesh) -> None:
    """The first claims bring blocks along; with FEW_RANGES of them a host is lent single addresses."""
    h1, h2, _ = mesh.hosts
    first, last = max(ranges(h2, "h1"), key=lambda pair: pair[1] - pair[0])
    spread = [first + (last - first) * part // 16 for part in range(2, 14)]
    claimed = []
    while len(ranges(h2, "h2")) < FEW_RANGES:
        claimed.append(str(IPv4Address(spread.pop())))
        h2.daemon.cli("ipam", "claim", claimed[-1])
    borrowed = str(IPv4Address(spread.pop()))
    before = shares(h1)["h1"]["lent"]
    guest = put(h2, "guest", "--ip", borrowed)
    assert guest.address == borrowed and shares(h1)["h1"]["lent"] == before + 1
    answers(guest, mesh.workloads[0])
    answers(mesh.workloads[2], guest)
    refused(h1.daemon.cli("attach", h1.workload("rival").full_name, "--ip", borrowed, check=False), "h2")
    h2.daemon.kill("meshnetd")
    h2.daemon.start()
    assert borrowed in str(h2.daemon.status()["endpoints"]), "a borrower that restarts still has it"
    answers(mesh.workloads[0], guest)
    h2.daemon.detach(guest)
    for address in claimed:
        h2.daemon.cli("ipam", "release", address)
    again = put(h2, "again", "--ip", borrowed)  # kept for who had it
    h2.daemon.detach(again)
    sound(h1, h2)


def test_an_address_in_use_elsewhere_is_refused_with_who_has_it(mesh: Mesh) -> None:
    _, h2, _ = mesh.hosts
    taken = mesh.workloads[0].address
    begun = time.monotonic()
    refused(h2.daemon.cli("attach", h2.workload("late").full_name, "--ip", taken, check=False), "h1", taken)
    assert time.monotonic() - begun < FIRST_ADDRESS_S
    refused(h2.daemon.cli("ipam", "claim", "192.0.2.1", check=False), "outside the network")
    refused(h2.daemon.cli("ipam", "claim", "10.32.0.1", check=False), "reserved")
    refused(h2.daemon.cli("ipam", "release", "10.47.255.200", check=False), "10.47.255.200")


def test_a_registrar_that_is_handed_on_gives_networks_while_the_founder_is_down(mesh: Mesh) -> None:
    h1, _, h3 = mesh.hosts
    assert h3.daemon.json("network", "registrar")["name"] == "h1"
    refused(h3.daemon.cli("network", "registrar", "h2", check=False), "h1")
    assert h1.daemon.json("network", "registrar", "h2")["name"] == "h2"
    poll(lambda: h3.daemon.json("network", "registrar")["name"] == "h2", FIRST_S, "h3 knows the new registrar")
    h1.daemon.kill("meshnetd", "forwarder")
    assert h3.daemon.json("network", "create", "orphan")["served"]
    h1.daemon.start()
    poll(lambda: h1.daemon.json("network", "registrar")["name"] == "h2", FIRST_S, "h1 knows it too")
    poll(lambda: "orphan" in str(h1.daemon.json("network", "ls")), FIRST_S, "the network on h1")
    all_answer(mesh.workloads)
    sound(*mesh.hosts)


def test_state_that_was_lost_gives_nobody_an_address_that_is_in_use(mesh: Mesh) -> None:
    """The last good copy is older than an endpoint: its link says whose address is in use."""
    host, one = mesh.hosts[1], mesh.workloads[0]
    host.daemon.kill("meshnetd", sign=signal.SIGTERM)  # its end makes the copy
    host.daemon.start()
    guest = put(host, "late2")
    answers(one, guest)
    host.daemon.kill("meshnetd")
    database = host.daemon.state_dir / "state.db"
    os.truncate(database, 100)
    host.daemon.start()
    assert guest.address in str(host.daemon.status()["endpoints"])

    def claimed() -> bool:
        rows = host.daemon.status()["endpoints"]
        return all(row["claimed"] for row in rows) and len(rows) == 2

    poll(claimed, 3 * FIRST_S, "leases for both again")
    answers(one, guest)
    other = host.workload("late3")
    words = ["attach", other.full_name, "--json"]
    said = poll(lambda: host.daemon.cli(*words, check=False).stdout, DOUBT_S, "an end of the doubt")
    other.address = str(json.loads(said)["addresses"][0]).partition("/")[0]
    assert other.address != guest.address
    for workload in (guest, other):
        host.daemon.detach(workload)
    sound(*mesh.hosts)


@pytest.mark.slow
def test_a_lease_without_an_interface_is_released_after_a_grace(mesh: Mesh) -> None:
    host = mesh.hosts[2]
    guest = put(host, "vanishes")
    [link] = [one["link"] for one in host.daemon.status()["endpoints"] if guest.address in str(one["addresses"])]
    host.run(["ip", "link", "del", link.replace("mp", "mv")])
    assert guest.address in str(host.daemon.status()["endpoints"]), "it has its grace"
    poll(lambda: guest.address not in str(host.daemon.status()["endpoints"]), UNUSED_S, "the lease to be released")
    assert shares(host)["h3"]["used"] == 1
    sound(*mesh.hosts)
