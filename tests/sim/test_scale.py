"""Gossip among many peers, in virtual time: what a larger mesh must not lose. `python -m bench gossip` measures it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from random import Random

import pytest

from gossip import limits
from gossip.events import Reachable
from tests.sim.people import identity_of
from tests.sim.scale import Host, World, body_of, core
from tests.sim.sharing import shared

SIZE = 40


@pytest.fixture(autouse=True, scope="module")
def _shared() -> Iterator[None]:
    with shared():
        yield


def settled(size: int = SIZE, seconds: float = 45.0) -> World:
    world = World(1, size)
    world.settle(seconds)
    assert world.run(world.now + 2.0, world.whole), "costs of links are said at any time: one may be on its way"
    return world


def told_of(world: World) -> list[tuple[float, int, bytes, bool]]:
    """(when, at whom, of whom, reachable) of everything told from now on."""
    heard: list[tuple[float, int, bytes, bool]] = []
    began = world.now

    def told(now: float, host: Host, event: Reachable) -> None:
        heard.append((now - began, host.index, event.peer, event.reachable))

    world.told = told
    return heard


def connected(world: World, without: set[bytes]) -> bool:
    """Whether the graph of links is in one piece when those peers are taken out."""
    links = {h.identity: {p for _, p in h.node.links()} - without for h in world.alive() if h.identity not in without}
    found = {next(iter(links))}
    edge = list(found)
    while edge:
        new = links[edge.pop()] - found
        found |= new
        edge += new
    return len(found) == len(links)


def test_all_start_at_once_with_nothing_but_three_addresses() -> None:
    world = World(3, SIZE)
    own = []
    for index in range(SIZE):
        node = core(index, Random(index))
        node.start(body_of(index, 0), 0.0)
        own.append(node.export())
    for index in range(SIZE):
        known = {0, *world.rng.sample(range(SIZE), 2)}
        world.boot(index, [wire for peer in sorted(known) for wire in own[peer]])
    assert world.run(10.0, world.whole)
    state = sum(map(len, world.hosts[0].node.export()))
    received = sum(each.received_b for each in world.traffic()) / SIZE
    assert received < 15 * state, "each peer hears the state a few times, not once from every other"


def test_links_are_few_and_in_one_piece_also_when_a_fifth_of_the_peers_goes() -> None:
    world = settled(60, 60.0)
    degrees = world.degrees()
    assert min(degrees) >= limits.TARGET_LINKS and max(degrees) <= limits.KEPT_LINKS + 2
    assert statistics.mean(degrees) <= limits.KEPT_LINKS
    for seed in range(20):
        gone = Random(seed).sample([host.identity for host in world.hosts], len(world.hosts) // 5)
        assert connected(world, set(gone))
    for index in range(12):
        world.kill(index)
    world.run(world.now + 60.0)
    assert min(world.degrees()) >= limits.TARGET_LINKS and world.whole()


def test_links_stay_few_and_in_one_piece_while_peers_come_and_go() -> None:
    world = settled()
    down: list[int] = []
    for _ in range(30):
        index = world.rng.choice([host.index for host in world.alive()])
        world.kill(index)
        down.append(index)
        if len(down) > SIZE // 5:
            back = down.pop(0)
            world.boot(back, world.hosts[back].node.export())
        world.run(world.now + 3.0)
        fresh = {host.identity for host in world.alive() if not host.node.links()}
        assert connected(world, fresh | {world.hosts[each].identity for each in down}) and len(fresh) <= 2
        assert max(world.degrees()) <= 2 * limits.KEPT_LINKS
    assert world.run(world.now + 20.0, world.whole)
    world.run(world.now + 90.0)
    assert max(world.degrees()) <= limits.KEPT_LINKS + 2 and min(world.degrees()) >= limits.TARGET_LINKS - 1


def test_a_peer_that_all_know_does_not_stay_everybodys_neighbour() -> None:
    world = World(2, SIZE)
    node = core(0, Random(0))
    node.start(body_of(0, 0), 0.0)
    for index in range(SIZE):
        world.boot(index, node.export())
    assert world.run(30.0, world.whole)
    assert max(world.degrees()) > 2 * limits.KEPT_LINKS
    world.run(240.0)
    assert max(world.degrees()) <= limits.KEPT_LINKS + 2 and world.whole()


def test_a_mesh_at_rest_says_little_and_nothing_changes() -> None:
    world = settled(SIZE, 60.0)
    links = [host.node.links() for host in world.hosts]
    world.reset_traffic()
    world.run(world.now + 60.0)
    assert [host.node.links() for host in world.hosts] == links
    assert sum(each.wire_b() for each in world.traffic()) / SIZE / 60.0 < 1000


def test_a_change_is_known_everywhere_soon_and_costs_less_than_a_copy_per_link_end() -> None:
    world = settled()
    world.reset_traffic()
    world.act(7, lambda node, now: node.update_peer(body_of(7, 99), now))
    assert world.run(world.now + 1.0, world.equal, 0.02)
    heard = sum(each.received_b for each in world.traffic()) / SIZE
    assert heard < limits.KEPT_LINKS * 1000


def test_silent_deaths_and_a_stop_are_known_everywhere_and_nobody_else_is_believed_dead() -> None:
    world = settled()
    for act, count, patience in ((world.kill, 4, 16.0), (world.stop, 1, 2.0)):
        gone = world.rng.sample([host.index for host in world.alive()], count)
        heard = told_of(world)
        for index in gone:
            act(index)
        world.run(world.now + patience)
        names = [world.hosts[index].identity for index in gone]
        expected = {(host.index, name) for host in world.alive() for name in names}
        assert {(at, whom) for _, at, whom, reachable in heard if not reachable} == expected
        world.run(world.now + 30.0)
        world.told = lambda now, host, event: None


def test_a_peer_that_stands_still_for_five_seconds_costs_nobody_its_life() -> None:
    world = settled()
    heard = told_of(world)
    world.run(world.now + limits.HEARTBEAT_S - 0.1)  # its next heartbeat is due: the longest silence that 5 s can make
    world.stall(5, 5.0)
    world.run(world.now + 25.0)
    assert [each for each in heard if not each[3]] == []
    world.stall(5, 14.0)
    world.run(world.now + 30.0)
    assert {whom for _, at, whom, reachable in heard if not reachable and at != 5} <= {identity_of("h5")}
    assert world.whole()


def test_halves_that_were_cut_off_for_long_find_each_other_and_mix() -> None:
    world = settled()
    world.partition({index: index % 2 for index in range(SIZE)})
    world.run(world.now + 300.0)
    world.act(2, lambda node, now: node.update_peer(body_of(2, 99), now))
    world.run(world.now + 5.0)
    assert not world.equal()
    world.partition({})
    assert world.run(world.now + 10.0, world.whole)
    world.run(world.now + 60.0)
    across = [world.by_identity[p].index % 2 != h.index % 2 for h in world.hosts for _, p in h.node.links()]
    assert sum(across) > len(across) / 4, "the circle runs through both halves"


def test_one_seed_is_one_run() -> None:
    def trace() -> list[object]:
        world = World(5, 12)
        world.settle(20.0)
        return [world.now, [host.node.links() for host in world.hosts], [host.node.summary() for host in world.hosts]]

    assert trace() == trace()
