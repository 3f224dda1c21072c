"""Next hops among many peers, in virtual time: they lead to the goal, and around a link that ended."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from gossip import limits
from gossip.people.routes import Route
from tests.sim import scale
from tests.sim.scale import Host, World
from tests.sim.sharing import shared

SIZE = 40


@pytest.fixture(autouse=True, scope="module")
def _shared() -> Iterator[None]:
    with shared():
        yield


def settled() -> World:
    world = World(1, SIZE)
    world.settle(45.0)
    world.run(world.now + 30.0)
    assert world.whole()
    return world


def walk(world: World, host: Host, goal: Host) -> list[int]:
    """The hosts that something from `host` to `goal` comes through; raises AssertionError when it never arrives."""
    path = [host.index]
    while host is not goal:
        route = host.node.route(goal.identity)
        assert route is not None, f"h{host.index} has no route to h{goal.index}"
        assert route.via in [peer for _, peer in host.node.links()], "the next hop is no neighbour"
        host = world.by_identity[route.via]
        assert host.index not in path, f"a loop: {path} and h{host.index} again"
        path.append(host.index)
    return path


def walks(world: World) -> list[list[int]]:
    return [walk(world, one, two) for one in world.alive() for two in world.alive() if one is not two]


def test_every_peer_is_led_to_without_a_loop_also_after_links_and_peers_are_gone() -> None:
    world = settled()
    paths = walks(world)
    assert max(map(len, paths)) > 2, "a partial mesh: some go through others"
    one, two = next(path for path in paths if len(path) > 2)[:2]
    link = next(n for n, peer in world.hosts[one].node.links() if peer == world.hosts[two].identity)
    world.act(one, lambda node, now: node.link_down(link, now))
    world._close(world.hosts[one], link)
    world.run(world.now + 2.0)
    assert all((one, two) not in pairwise(path) for path in walks(world)) or two in [
        world.by_identity[peer].index for _, peer in world.hosts[one].node.links()
    ]
    for index in (3, 9, 17):
        world.kill(index)
    world.run(world.now + 16.0)
    assert world.run(world.now + 10.0, world.equal)
    assert not {3, 9, 17}.intersection(hop for path in walks(world) for hop in path)
    assert world.hosts[1].node.route(world.hosts[3].identity) is None


def test_costs_are_measured_and_rest_stays_silent() -> None:
    world = settled()
    for host in world.hosts:
        for _, peer in host.node.links():
            cost = host.node._roster._reach.cost_ms(host.identity, peer)
            assert cost is not None and 2000 * scale.MIN_DELAY_S <= cost <= 8000 * scale.MAX_DELAY_S
            assert cost != limits.UNKNOWN_RTT_MS
    said = [host.node.summary() for host in world.hosts]
    world.run(world.now + 120.0)
    changed = sum(one != two for one, two in zip(said[0], world.hosts[0].node.summary(), strict=True))
    assert changed <= 4, "a corrected cost is a statement and a manifest, and rare"


def test_routes_avoid_a_slow_link(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = 7

    def delayed(world: World, host: Host, link: int, message: bytes, commit: float) -> None:
        send(world, host, link, message, commit + (0.3 if host.index == slow else 0.0))

    send = World._send
    monkeypatch.setattr(World, "_send", delayed)
    world = settled()
    through = [path for path in walks(world) if slow in path[1:-1]]
    assert through == [], "whoever is far from all is nobody's way"
    route = world.hosts[0].node.route(world.hosts[slow].identity)
    assert isinstance(route, Route) and route.cost_ms >= 300
