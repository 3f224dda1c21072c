"""A state directory that was copied: two live boots of one identity both notice, say so and give nothing out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.slow]

NOTICED_S = 3 * 10.0


@dataclass
class Mesh:
    """`copy` is no member; `original` is the one whose disk is copied."""

    hosts: list[Host]
    workloads: list[Workload]
    copy: Host

    @property
    def original(self) -> Host:
        return self.hosts[1]


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2", "h3")]
        copy = lab.host("h4")
        workloads = found(hosts)
        all_answer(workloads)
        yield Mesh(hosts, workloads, copy)


def knows(host: Host) -> bool:
    return any("another host" in str(notice["what"]) for notice in host.daemon.status()["notices"])


def leases(host: Host) -> list[str]:
    return [address for endpoint in host.daemon.status()["endpoints"] for address in endpoint["addresses"]]


def test_two_boots_of_one_identity_both_say_so_and_allocate_nothing(mesh: Mesh) -> None:
    one, other = mesh.original, mesh.copy
    one.daemon.stop()
    shutil.copytree(one.daemon.state_dir, other.daemon.state_dir)
    for host in (one, other):
        host.daemon.start()
    assert one.daemon.status()["peer"]["id"] == other.daemon.status()["peer"]["id"]
    for host in (one, other):
        poll(lambda host=host: knows(host), NOTICED_S, f"{host.name} says that there is another")  # type: ignore[misc]
    for host in (one, other):
        before = leases(host)
        refused = host.daemon.cli("attach", host.workload("late").full_name, check=False)
        assert refused.returncode != 0 and "identity" in refused.stderr, refused.stderr
        assert leases(host) == before
        shown = host.daemon.cli("status").stdout
        assert "another host speaks as this one" in shown
    bystanders = [mesh.hosts[0], mesh.hosts[2]]
    assert not any(knows(host) for host in bystanders)
    first, _, last = mesh.workloads
    assert first.answers(last.address) and last.answers(first.address)
    guest = bystanders[0].workload("guest")
    address = bystanders[0].daemon.attach(guest)
    poll(lambda: last.answers(address), 10, "a new workload elsewhere: who is no clone goes on")
