"""What crosses restarts and upgrades: the connections of a running iperf3, and never a (key, counter) pair."""

from __future__ import annotations

import compileall
import json
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import meshnet
from meshnet.boundary import VERSION
from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.traffic import IPERF_PORT, listening, rate_of
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

ROOT = Path(meshnet.__file__).parent.parent
PACKAGES = ("meshnet", "crypto", "gossip", "docker_plugin")
PORT = 6799
RECORD = 4
STREAM_S = 6
UPGRADE_S = 12  # two releases start one after the other
LOAD_PER_S = 500  # pings each way, so that records are under way whenever a process dies
BACK_S = 3 * 2.0  # a forwarder's death costs at most 2 s (the exact figure is bench/'s)

Mesh = tuple[Lab, list[Host], list[Workload]]


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        yield lab, hosts, found(hosts)


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    _, _, workloads = running
    all_answer(workloads)
    return running


@contextmanager
def streaming(sender: Workload, receiver: Workload, seconds: int = STREAM_S) -> Iterator[None]:
    """One TCP connection of iperf3 all through the block, which must neither break nor end early."""
    server = receiver.spawn(["iperf3", "-s", "-1"], name="iperf-server")
    poll(lambda: listening(server.pid, IPERF_PORT), 10, "iperf3's server")
    client = sender.spawn(["iperf3", "-c", receiver.address, "-t", str(seconds), "-J"], name="iperf-client")
    try:
        yield
        report = json.loads(client.finish(seconds + 20))
    finally:
        client.stop(signal.SIGKILL)
        server.stop(signal.SIGKILL)
    assert "error" not in report
    assert report["end"]["sum_received"]["seconds"] >= seconds - 1
    assert rate_of(report).bits_per_second > 0


def flowing(workload: Workload) -> bool:
    """Whether the workload's interface sent anything in the last moment."""
    before = sent_bytes(workload)
    poll(lambda: sent_bytes(workload) > before, 5, "bytes sent")
    return True


def sent_bytes(workload: Workload) -> int:
    (link,) = json.loads(workload.run(["ip", "-j", "-s", "link", "show", "mesh0"]).stdout)
    return int(link["stats64"]["tx"]["bytes"])


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_connection_runs_through_the_end_and_the_start_of_meshnetd(mesh: Mesh, sign: signal.Signals) -> None:
    _, (host, _), (one, two) = mesh
    forwarder = host.daemon.forwarder().pid
    with streaming(one, two):
        assert flowing(one)
        host.daemon.kill("meshnetd", sign=sign)
        assert flowing(one)
        host.daemon.start()
        assert flowing(one)
    assert host.daemon.forwarder().pid == forwarder


def test_a_connection_runs_through_an_upgrade_of_the_boundary(mesh: Mesh, tmp_path: Path) -> None:
    _, (host, _), (one, two) = mesh
    older = release_with(tmp_path / "older", f"VERSION: Final = {VERSION}\n", f"VERSION: Final = {VERSION - 1}\n")
    argv = [sys.executable, "-m", "meshnet", "--run-dir", str(host.daemon.run_dir), "start"]
    argv += ["--state-dir", str(host.daemon.state_dir)]
    with streaming(one, two, UPGRADE_S):
        assert flowing(one)
        host.daemon.kill("meshnetd", sign=signal.SIGTERM)
        host.run(["env", f"--chdir={older}", f"PYTHONPATH={older}", *argv], timeout=60)
        assert flowing(one)
        old = host.daemon.forwarder().pid
        assert str(older) in Path(f"/proc/{host.daemon.meshnetd().pid}/environ").read_text(errors="replace")
        host.daemon.kill("meshnetd", sign=signal.SIGTERM)
        assert host.daemon.forwarder().pid == old
        host.daemon.start()
        assert flowing(one)
    assert host.daemon.forwarder().pid != old, "a forwarder of another boundary version must not be adopted"


def release_with(place: Path, old: str, new: str) -> Path:
    """A copy of this release's packages whose boundary has another version."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, place / package, ignore=shutil.ignore_patterns("__pycache__"))
    boundary = place / "meshnet" / "boundary.py"
    text = boundary.read_text()
    assert text.count(old) == 1
    boundary.write_text(text.replace(old, new))
    compileall.compile_dir(place, quiet=1)  # as installed: its start is not to wait for that
    return place


def test_no_key_and_counter_is_twice_on_the_wire_when_forwarders_die(mesh: Mesh) -> None:
    lab, hosts, (one, two) = mesh
    with (
        lab.capture(*hosts) as capture,
        Flow(one, two.address, rate=LOAD_PER_S),
        Flow(two, one.address, rate=LOAD_PER_S),
    ):
        for host in hosts:
            assert one.answers(two.address)
            host.daemon.kill("forwarder")
            poll(lambda: one.answers(two.address), BACK_S, "traffic with a new forwarder")
            host.daemon.kill("meshnetd")
            host.daemon.start()
            poll(lambda: one.answers(two.address), BACK_S, "traffic after the adoption")
    sealed: Counter[tuple[str, bytes, bytes, int]] = Counter()
    for name, host in zip(("h1", "h2"), hosts, strict=True):
        for datagram in capture.datagrams(name, port=PORT):
            payload = datagram.payload
            if datagram.source in (host.ipv4, host.ipv6) and len(payload) >= 16 and payload[0] & 15 == RECORD:
                # Receiver and its session index name the key; lane and counter are the nonce; the slice is the piece.
                sealed[datagram.destination, payload[4:8], payload[1:2] + payload[10:16], payload[2]] += 1
    assert len(sealed) > LOAD_PER_S, "there was no load"
    assert len({index for _, index, _, _ in sealed}) >= 4, "both forwarders died, so there were sessions anew"
    assert max(sealed.values()) == 1
