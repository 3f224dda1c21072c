"""The mesh secret and a host's key are replaced under traffic; and a host that missed it comes back by a token."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.lab.daemons import token_in
from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, attach, found
from tests.lab.poll import poll
from tests.lab.spoof import PORT
from tests.lab.traffic import IPERF_PORT, listening, rate_of
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

STREAM_S = 12
RATE = 50
SWITCHED_S = 30.0
BACK_S = 3 * 2.0
RESUMED_S = 15.0
STILL_TRIES = 5
INITIATION = 1


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]
    spare: Host


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name, ipv6=False) for name in ("h1", "h2", "h3")]
        spare = lab.host("h4", ipv6=False)
        yield Mesh(lab, hosts, found(hosts), spare)


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    all_answer(running.workloads)
    return running


@contextmanager
def streaming(sender: Workload, receiver: Workload) -> Iterator[None]:
    """One TCP connection of iperf3 all through the block, which must neither break nor end early."""
    server = receiver.spawn(["iperf3", "-s", "-1"], name="iperf-server")
    poll(lambda: listening(server.pid, IPERF_PORT), 10, "iperf3's server")
    argv = ["iperf3", "-c", receiver.address, "-t", str(STREAM_S), "-b", "200M", "-J"]
    client = sender.spawn(argv, name="iperf-client")
    try:
        yield
        report = json.loads(client.finish(STREAM_S + 20))
    finally:
        client.stop(signal.SIGKILL)
        server.stop(signal.SIGKILL)
    assert "error" not in report
    assert rate_of(report).bits_per_second > 0


def generation(host: Host) -> int:
    return int(host.daemon.status()["mesh"]["secret"])


def switched(hosts: list[Host], number: int) -> None:
    poll(lambda: all(generation(host) == number for host in hosts), SWITCHED_S, f"secret {number} everywhere")


def finished(host: Host) -> None:
    """No rotation is under way, whichever tests ran before."""
    if host.daemon.status()["mesh"]["rotation"] is not None:
        host.daemon.cli("secret", "finish", "--force")


def epochs_of_handshakes(mesh: Mesh, host: Host) -> set[int]:
    """The epoch bytes of the initiations on the wire while `host`'s forwarder is replaced."""
    one, two, _ = mesh.workloads
    with mesh.lab.capture(host) as capture:
        host.daemon.kill("forwarder")
        poll(lambda: one.answers(two.address) and two.answers(one.address), BACK_S, "traffic with a new forwarder")
    seen = [one.payload for one in capture.datagrams(port=PORT)]
    return {payload[1] for payload in seen if payload[:1] == bytes([INITIATION])}


def test_the_secret_is_replaced_without_a_lost_frame_or_connection(mesh: Mesh) -> None:
    h1, h2, h3 = mesh.hosts
    one, two, three = mesh.workloads
    number = generation(h1) + 1
    with streaming(two, three), Flow(one, three.address, rate=RATE) as flow:
        flow.answered(RATE)
        h1.daemon.cli("secret", "rotate")
        switched([h1, h2, h3], number)
        flow.answered(RATE)
        outcome = flow.outcome()
    assert outcome.received == outcome.sent
    assert epochs_of_handshakes(mesh, h2) == {number % 256}


@pytest.mark.slow
def test_a_host_that_was_off_meanwhile_gets_the_secret_when_it_is_back(mesh: Mesh) -> None:
    h1, h2, h3 = mesh.hosts
    number = generation(h1) + 1
    finished(h1)
    h3.daemon.stop()
    poll(lambda: "h3" not in h1.daemon.peers_up(), RESUMED_S, "h3 is off")
    h1.daemon.cli("secret", "rotate")
    switched([h1, h2], number)
    h3.daemon.start()
    h3.daemon.attach(mesh.workloads[2])
    switched([h3], number)
    all_answer(mesh.workloads)


@pytest.mark.slow
def test_a_host_that_missed_all_of_it_rejoins_by_a_token(mesh: Mesh) -> None:
    h1, h2, h3 = mesh.hosts
    one, _, three = mesh.workloads
    before = h3.daemon.status()["peer"]["id"]
    number = generation(h1) + 1
    finished(h1)
    h3.daemon.stop()
    poll(lambda: "h3" not in h1.daemon.peers_up(), RESUMED_S, "h3 is off")
    h1.daemon.cli("secret", "rotate")
    switched([h1, h2], number)
    named = h1.daemon.cli("secret", "finish", "--force")
    assert "h3" in named.stdout + named.stderr, "the command names whom it leaves behind"
    h3.daemon.start()
    h3.daemon.attach(three)
    for _ in range(STILL_TRIES):
        assert not one.answers(three.address), "the old secret is still good"
    assert h3.daemon.peers_up() == []
    token = token_in(h1.daemon.cli("token", "create").stdout)
    h3.daemon.cli("secret", "accept", "-", input=token)
    switched([h3], number)
    assert h3.daemon.status()["peer"]["id"] == before
    all_answer(mesh.workloads)


@pytest.mark.slow
def test_a_hosts_key_is_replaced_under_traffic_and_tokens_made_before_stay_good(mesh: Mesh) -> None:
    h1, h2, _ = mesh.hosts
    one, two, _ = mesh.workloads
    token = token_in(h1.daemon.cli("token", "create").stdout)
    with streaming(one, two), Flow(two, one.address, rate=RATE) as flow:
        flow.answered(RATE)
        h1.daemon.cli("key", "rotate")
        flow.answered(2 * RATE)
        outcome = flow.outcome()
    assert outcome.received == outcome.sent
    for host in (h1, h2):
        host.daemon.kill("forwarder")
        poll(lambda: one.answers(two.address) and two.answers(one.address), BACK_S, "a session with the new key")
    mesh.spare.daemon.join(token)
    guest = attach(mesh.spare)
    poll(lambda: guest.answers(one.address), RESUMED_S, "who joined by a token made before")
    h1.daemon.kill("meshnetd", "forwarder")
    h1.daemon.start()
    all_answer([*mesh.workloads, guest])
