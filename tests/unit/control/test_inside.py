"""Addresses within the mesh: found whatever they look like, said once per peer, and never others' to forbid."""

from __future__ import annotations

import pytest

from gossip.events import PeerView
from gossip.state.address_bodies import NetworkBody
from meshnet.control import inside as module
from meshnet.control.inside import Inside

A, B = b"a" * 32, b"b" * 32


class World:
    """Networks by number, of which some are served; `said` is what an operator reads."""

    def __init__(self) -> None:
        self.pools = {1: ["10.32.0.0/12"], 2: ["fd00:32::/64", "172.20.0.0/16"]}
        self.served = {1, 2}
        self.said: list[tuple[str, str, str]] = []
        self.inside = Inside(self, lambda number: number in self.served, lambda *words: self.said.append(words))

    def networks(self) -> list[NetworkBody]:
        return [NetworkBody(number=n, name=f"n{n}", pools=pools, mtu=1500) for n, pools in self.pools.items()]

    def peer(self, identity: bytes) -> PeerView | None:
        return None


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("host", ["10.32.0.0", "10.47.255.255", "172.20.3.4", "fd00:32::9", "::ffff:10.33.0.1"])
def test_an_address_of_a_network_served_here_is_not_used(world: World, host: str) -> None:
    assert "a network of the mesh" in str(world.inside.why_not(A, host))
    [(what, why, fix)] = world.said
    assert A.hex()[:16] in what and host in why and "--advertise" in fix


@pytest.mark.parametrize("host", ["10.31.255.255", "10.48.0.0", "192.0.2.1", "fd00:33::1", "::ffff:192.0.2.1"])
def test_every_other_address_is(world: World, host: str) -> None:
    assert world.inside.why_not(A, host) is None
    assert world.said == []


@pytest.mark.parametrize("host", ["", "example.org", "localhost", "10.32.1", "0x7f.1", "10.32.0.1%eth0"])
def test_what_is_no_literal_address_is_not_used(world: World, host: str) -> None:
    """A name could lead anywhere, into the mesh too, and asking for it tells who asks."""
    assert world.inside.why_not(A, host) is not None
    assert world.said == []


def test_a_network_that_is_not_served_here_forbids_nothing(world: World) -> None:
    """Else any member could part everybody by founding one over their addresses."""
    world.pools[3] = ["192.0.2.0/24"]
    assert world.inside.why_not(A, "192.0.2.7") is None
    world.served.add(3)
    assert world.inside.why_not(A, "192.0.2.7") is not None
    del world.pools[3]
    assert world.inside.why_not(A, "192.0.2.7") is None


def test_it_is_said_once_per_peer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    for host in ("10.32.0.1", "10.32.0.2"):
        for peer in (A, B, A):
            world.inside.why_not(peer, host)
    assert len(world.said) == 2
    monkeypatch.setattr(module, "SAID_MAX", 2)
    for number in range(10):
        world.inside.why_not(bytes([number]) * 32, "10.32.0.1")
    assert len(world.inside._said) == 2


def test_pools_are_parsed_when_they_change(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.inside.why_not(A, "192.0.2.1")
    monkeypatch.setattr(module, "ip_network", None)
    world.inside.why_not(A, "10.32.0.1")
    monkeypatch.undo()
    world.pools[1] = ["192.0.2.0/24"]
    assert world.inside.why_not(A, "192.0.2.1") is not None
