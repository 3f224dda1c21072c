"""Sessions get new keys on WireGuard's timers while traffic flows, and no frame is lost by it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import found
from tests.lab.traffic import ping_count
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

REKEY_AFTER_S = 120
PINGS, INTERVAL_S = 1350, 0.1


@pytest.fixture(scope="module")
def mesh() -> Iterator[tuple[list[Host], list[Workload]]]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        yield hosts, found(hosts)


def test_keys_change_after_two_minutes_of_traffic_without_a_lost_frame(
    mesh: tuple[list[Host], list[Workload]],
) -> None:
    (first, _), (one, two) = mesh
    argv = ["ping", "-q", "-c", str(PINGS), "-i", str(INTERVAL_S), "-W", "1", two.address]
    child = one.spawn(argv, name="ping")
    child.process.wait(PINGS * INTERVAL_S + 30)
    count = ping_count(child.output())
    assert (count.sent, count.received) == (PINGS, PINGS)
    (peer,) = first.daemon.status()["peers"]
    assert peer["state"] == "up"
    assert peer["session_age_s"] < REKEY_AFTER_S, "the session is older than the traffic allows: it was not made anew"
