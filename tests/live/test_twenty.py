"""Twenty real daemons: all see all soon after the start, and who dies is missed everywhere, however it dies.

The limits are three times what is promised (10 s, 16 s): twenty pairs of processes share this machine's processors. The
figures themselves are `python -m bench hosts`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.lab.crowd import Crowd
from tests.lab.lab import Lab
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(600)]

HOSTS, DEAD = 20, 5
SEEN_S = 3 * 10.0
MISSED_S = 3 * 16.0


@pytest.fixture(scope="module")
def crowd() -> Iterator[Crowd]:
    with Lab(Wire.OFFLOAD) as lab:
        yield Crowd(lab, HOSTS)


@pytest.fixture(scope="module")
def joined(crowd: Crowd) -> float:
    """Seconds from the last READY of twenty hosts that joined until all saw all."""
    took = crowd.join()
    print(f"{HOSTS} hosts joined in {took:.1f} s")
    return crowd.settled(crowd.hosts, SEEN_S)


@pytest.fixture
def whole(crowd: Crowd, joined: float) -> Crowd:
    """All twenty run, are plugged in and see each other, whatever a test before left."""
    crowd.plug(crowd.hosts)
    crowd.start([host for host in crowd.hosts if len(host.daemon.processes()) < 2])
    crowd.settled(crowd.hosts, SEEN_S)
    return crowd


def test_twenty_hosts_that_joined_see_each_other(joined: float) -> None:
    print(f"all see all {joined:.2f} s after the last READY")


def test_twenty_hosts_that_start_again_see_each_other(whole: Crowd) -> None:
    whole.kill(whole.hosts)
    took = whole.start(whole.hosts)
    print(f"{HOSTS} hosts started in {took:.1f} s; all see all {whole.settled(whole.hosts, SEEN_S):.2f} s after that")


def test_five_killed_hosts_are_missed_by_all_others(whole: Crowd) -> None:
    dead, left = whole.hosts[-DEAD:], whole.hosts[:-DEAD]
    whole.kill(dead)
    print(f"kill -9 of {DEAD} is known to all others after {whole.settled(left, MISSED_S):.2f} s")


def test_five_hosts_that_fall_silent_are_missed_by_all_others(whole: Crowd) -> None:
    """The founder and whom all joined at is one of them."""
    dead, left = whole.hosts[:DEAD], whole.hosts[DEAD:]
    whole.cut(dead)
    print(f"the silence of {DEAD} is known to all others after {whole.settled(left, MISSED_S):.2f} s")
    whole.plug(dead)
    print(f"their return is known to all after {whole.settled(whole.hosts, MISSED_S):.2f} s")
