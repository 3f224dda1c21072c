"""A state directory that is full: traffic goes on, the operator is told, and it ends by itself."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

AGAIN_S = 60.0  # after a failure the state is read anew at most every 30 s

Mesh = tuple[Host, list[Workload]]


@pytest.fixture(scope="module")
def mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mesh]:
    """Two hosts; the state directory of the first is a small disk of its own."""
    with Lab(Wire.OFFLOAD) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        disk = hosts[0].daemon.state_dir
        disk.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs", disk], check=True)
        try:
            yield hosts[0], found(hosts)
        finally:
            hosts[0].daemon.stop()
            subprocess.run(["umount", "--lazy", disk], check=True)


def fill(disk: Path) -> None:
    with (disk / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(512))
        except OSError:
            pass


def free(disk: Path) -> None:
    (disk / "ballast").unlink()


def test_traffic_outlives_a_full_disk_and_nobody_has_to_restart_anything(mesh: Mesh) -> None:
    host, workloads = mesh
    daemon = host.daemon
    all_answer(workloads)
    before = [daemon.meshnetd().pid, daemon.forwarder().pid]
    fill(daemon.state_dir)
    late = host.workload("late")
    refused = ""
    for _ in range(200):  # what is free inside the database's own files may be used up first
        answer = daemon.cli("attach", late.full_name, check=False)
        if answer.returncode != 0:
            refused = answer.stderr
            break
        daemon.detach(late)
    assert "free space" in refused
    poll(lambda: "changes are refused" in str(daemon.status()["notices"]), 10, "the notice")
    assert workloads[0].answers(workloads[1].address)
    free(daemon.state_dir)
    poll(
        lambda: daemon.cli("attach", late.full_name, check=False).returncode == 0, AGAIN_S, "changes being taken again"
    )
    daemon.detach(late)
    daemon.attach(late)
    all_answer([*workloads, late])
    assert daemon.status()["notices"] == []
    poll(lambda: daemon.peers_up() == ["h2"], 15, "gossip")
    assert [daemon.meshnetd().pid, daemon.forwarder().pid] == before
