"""A wall clock that jumps by years: sessions go on, and new handshakes succeed on whatever side of the jump."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.lab.barrier import Barrier
from tests.lab.clock import YEAR_S, WallClock
from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.spoof import PORT
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(180)]

HANDSHAKE_S = 3 * 10.0
DAY_S = 86_400
RATE = 20


@dataclass
class Mesh:
    wall: Barrier
    hosts: list[Host]
    workloads: list[Workload]
    clock: WallClock

    def connected(self) -> None:
        one, two = self.workloads

        def both() -> bool:
            # Both are asked each time: a host that has nothing to send begins no handshake.
            return all([one.answers(two.address), two.answers(one.address)])

        poll(both, HANDSHAKE_S, "traffic both ways")


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        workloads = found(hosts)
        all_answer(workloads)
        clock = WallClock(hosts[1])
        clock.restart()
        yield Mesh(Barrier(lab.switch), hosts, workloads, clock)


@pytest.fixture
def mesh(running: Mesh) -> Iterator[Mesh]:
    running.clock.jump(0)
    running.connected()
    yield running
    running.wall.lift()


@pytest.mark.parametrize("seconds", [10 * YEAR_S, -10 * YEAR_S, -DAY_S], ids=["10y", "-10y", "-1d"])
def test_a_session_outlives_a_jump_of_the_clock(mesh: Mesh, seconds: int) -> None:
    one, two = mesh.workloads
    with Flow(one, two.address, rate=RATE) as flow:
        flow.answered(RATE)
        mesh.clock.jump(seconds)
        flow.answered(RATE)
        mesh.clock.jump(0)
        flow.answered(RATE)
        outcome = flow.outcome()
    assert outcome.received == outcome.sent


@pytest.mark.parametrize("begins", ["the wrong clock", "the right clock"])
def test_handshakes_succeed_with_a_clock_ten_years_ahead_and_after_it_came_back(mesh: Mesh, begins: str) -> None:
    """Only one side can begin. Both processes of the host whose clock jumps die with it, then each forwarder."""
    right, wrong = mesh.hosts
    source, target = (wrong, right) if begins == "the wrong clock" else (right, wrong)
    mesh.wall.one_begins(source, target, udp=PORT)
    for seconds in (10 * YEAR_S, 0, -10 * YEAR_S, 0):
        mesh.clock.jump(seconds)
        mesh.clock.restart()
        mesh.connected()
        for host in mesh.hosts:
            host.daemon.kill("forwarder")
            mesh.connected()


def test_what_a_wrong_clock_left_behind_harms_no_later_start(mesh: Mesh) -> None:
    """The other host stored stamps of the far clock; it begins anew too, and then both at once."""
    mesh.clock.jump(10 * YEAR_S)
    mesh.clock.restart()
    mesh.connected()
    mesh.clock.jump(0)
    mesh.clock.restart()
    mesh.connected()
    h1, _ = mesh.hosts
    h1.daemon.kill("meshnetd", "forwarder")
    h1.daemon.start()
    mesh.connected()
    h1.daemon.kill("meshnetd", "forwarder")
    mesh.clock.restart()
    h1.daemon.start()
    mesh.connected()
