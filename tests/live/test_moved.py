"""Two hosts that both moved while they were off: no gossip tells where the other is, an operator does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

LINKED_S = 3 * 10.0
NOWHERE = "198.18.0.99"
ELSEWHERE = {"h1": "198.18.0.71", "h2": "198.18.0.72"}
AGAIN = {"h1": "198.18.0.81", "h2": "198.18.0.72"}

Mesh = tuple[list[Host], list[Workload]]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name, ipv6=False) for name in ("h1", "h2")]
        workloads = found(hosts)
        all_answer(workloads)
        yield hosts, workloads


def move(hosts: list[Host], to: dict[str, str]) -> None:
    """Stop both daemons, give the hosts other addresses, and start the daemons again."""
    for host in hosts:
        host.daemon.stop()
    for host in hosts:
        host.ip("address flush dev eth0 scope global", f"address add {to[host.name]}/24 dev eth0")
    for host in hosts:
        host.daemon.start()


def linked(hosts: list[Host]) -> bool:
    return [host.daemon.peers_up() for host in hosts] == [["h2"], ["h1"]]


def test_peer_connect_brings_two_together_that_both_moved(mesh: Mesh) -> None:
    hosts, workloads = mesh
    h1 = hosts[0]
    move(hosts, ELSEWHERE)
    refused = h1.daemon.cli("peer", "connect", "h2", NOWHERE, check=False)
    assert refused.returncode != 0 and NOWHERE in refused.stderr, "nobody knew where h2 is, and it was found"
    assert not any(host.daemon.peers_up() for host in hosts)
    assert h1.daemon.json("peer", "connect", "h2", ELSEWHERE["h2"])["linked"]
    poll(lambda: linked(hosts), LINKED_S, "both reach each other")
    for host, workload in zip(hosts, workloads, strict=True):
        host.daemon.attach(workload)
    all_answer(workloads)
    added = h1.daemon.json("peer", "ls")["peers"][0]["added_addresses"]
    assert f"{ELSEWHERE['h2']}:6799" in added


def test_after_a_restart_they_are_linked_without_help_though_one_moved_again(mesh: Mesh) -> None:
    """h2 cannot find h1 any more: the link is h1's to open, to where h2 was when it last ran."""
    hosts, workloads = mesh
    move(hosts, AGAIN)
    poll(lambda: linked(hosts), LINKED_S, "both reach each other again")
    for host, workload in zip(hosts, workloads, strict=True):
        host.daemon.attach(workload)
    all_answer(workloads)
