"""Paths to peers: which MTU the forwarder is told, and when."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meshnet.boundary import SetPath
from meshnet.control.handshakes import paths as module
from meshnet.control.handshakes.paths import SMALLEST_MTU, Paths
from meshnet.host.memory import MemoryNetlink
from tests.unit.control.session_hosts import turns
from tests.unit.forwarder.fakes import until

PEER, OTHER = b"p" * 32, b"o" * 32
HERE, THERE = ("192.0.2.1", 6799), ("192.0.2.2", 6799)


class Site:
    def __init__(self, underlay_mtu: int | None = None) -> None:
        self.netlink = MemoryNetlink()
        self.netlink.mtus = {HERE[0]: 1400, THERE[0]: 1300}
        self.sent: list[SetPath] = []
        self.paths = Paths(self.netlink, underlay_mtu, self.sent.append)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.paths.close()


async def test_the_smallest_serves_until_the_route_is_known(site: Site) -> None:
    assert site.paths.installed(PEER, HERE) == SMALLEST_MTU
    await until(lambda: bool(site.sent))
    assert site.sent == [SetPath(peer=PEER, address=HERE, mtu=1400)]
    assert site.paths.installed(OTHER, HERE) == 1400, "the host is known by now"


async def test_a_moved_peer_is_told_at_once(site: Site) -> None:
    site.paths.moved(PEER, THERE)
    assert site.sent == [SetPath(peer=PEER, address=THERE, mtu=SMALLEST_MTU)]
    await until(lambda: len(site.sent) == 2)
    assert site.sent[1].mtu == 1300


async def test_an_answer_for_a_path_that_is_gone_is_dropped(site: Site) -> None:
    site.paths.installed(PEER, HERE)
    site.paths.forget(PEER)
    await turns()
    assert site.sent == []


async def test_an_adopted_path_is_asked_for_in_time(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUTES_S", 0.005)
    site.paths.adopt(PEER, HERE)
    site.paths.start()
    await until(lambda: bool(site.sent))
    assert site.sent == [SetPath(peer=PEER, address=HERE, mtu=1400)]


async def test_the_operator_s_mtu_is_the_last_word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROUTES_S", 0.001)
    site = Site(underlay_mtu=1350)
    site.paths.adopt(OTHER, THERE)
    site.paths.start()
    assert site.paths.installed(PEER, HERE) == 1350
    await until(lambda: site.paths._watch is not None and site.paths._watch.done())
    assert site.sent == []
    site.paths.close()
