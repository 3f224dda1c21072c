"""Weave Net's smoke tests of addresses, by their numbers, as far as they need no containers.

350-362 (observers that may not vote, seeds that differ) have no counterpart: nobody votes here, and a mesh has one
founder; what remains of them is that a host without space can allocate, and that two meshes share nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gossip.events import Lease, ReclaimDone
from tests.sim.address_invariants import check_addresses, check_addresses_at_rest
from tests.sim.address_world import AddressWorld, hurried, settled
from tests.sim.host import Host
from tests.sim.life import QUIET_S

POOL = ["10.0.0.0/24"]


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


def wait(world: AddressWorld, seconds: float = 3.0) -> None:
    until = world.clock.now + seconds
    while world.clock.now < until:
        world.clock.run(world.clock.now + 0.2)
        check_addresses(world)


def address(host: Host, endpoint: bytes) -> str:
    answer = host.leased[endpoint]
    assert isinstance(answer, Lease), answer
    return answer.address


def owned(world: AddressWorld, host: Host) -> int:
    witness = next(each for each in world.hosts if each.up and not each.left)
    return sum(r.end - r.start for r in witness.node.ranges(1) if r.owner == host.identity)


def die(host: Host) -> None:
    host.dead = True
    host.crash(silently=False)


def test_300_an_address_used_anew_elsewhere_is_told_to_everybody() -> None:
    world = settled(3, POOL)
    one, two, three = world.hosts
    one.attach(b"first", 1, "10.0.0.5")
    wait(world)
    one.detach(b"first")
    wait(world, 1.0)
    two.attach(b"second", 1, "10.0.0.5")
    wait(world)
    assert address(two, b"second") == "10.0.0.5/24"
    seen = [(owner, body.name) for owner, body in three.node.endpoints(1)]
    assert seen == [(two.identity, b"second".hex())]


def test_310_370_an_endpoint_has_its_address_again_after_a_restart() -> None:
    world = settled(2, POOL)
    host = world.hosts[1]
    host.attach(b"c")
    before = address(host, b"c")
    host.crash()
    host.begin()
    host.attach(b"c")
    assert address(host, b"c") == before
    wait(world, QUIET_S)
    check_addresses_at_rest(world)


def test_320_addresses_in_use_are_claimed_after_the_state_was_lost() -> None:
    """The host comes back as another peer, and what runs on it goes on with its addresses."""
    world = settled(4, POOL)
    host, other = world.hosts[2:]
    host.attach(b"running")
    running = address(host, b"running").split("/")[0]
    wait(world)
    die(host)
    wait(world, 20.0)
    world.hosts[0].reclaim([host.identity])
    wait(world)
    world.hosts[0].free_address(1, running)
    wait(world, 0.5)
    other.attach(b"running", 1, running)
    wait(world)
    assert address(other, b"running").split("/")[0] == running


def test_330_all_peers_leave_one_after_the_other_and_nothing_is_lost() -> None:
    world = settled(4, POOL)
    for host in world.hosts[:3]:
        host.leave()
        wait(world)
    assert owned(world, world.hosts[3]) == 256


@pytest.mark.parametrize("forced", [False, True])
def test_335_a_dead_peers_ranges_are_taken_over(forced: bool) -> None:
    world = settled(3, POOL)
    die(world.hosts[1])
    wait(world, 0.5 if forced else 20.0)
    world.hosts[0].reclaim([world.hosts[1].identity], forced)
    wait(world, 12.0)
    assert isinstance(world.hosts[0].reclaimed[-1], ReclaimDone)
    assert owned(world, world.hosts[1]) == 0 and owned(world, world.hosts[0]) + owned(world, world.hosts[2]) == 256


def test_340_a_host_without_space_is_given_some_when_it_allocates() -> None:
    world = settled(2, ["10.0.0.0/28"])
    host = world.hosts[1]
    for number in range(host.node.free(1) + 2):
        host.attach(b"c%d" % number)
        wait(world, 1.0)
        assert address(host, b"c%d" % number)


def test_380_two_hosts_cut_off_from_each_other_never_give_one_address_twice() -> None:
    world = settled(2, POOL)
    world.network.partition({0: 0, 1: 1})
    for number in range(60):
        for host in world.hosts:
            host.attach(b"%s %d" % (host.name.encode(), number))
    wait(world, 1.0)
    world.network.partition({})
    wait(world, QUIET_S)
    check_addresses_at_rest(world)
    assert len({lease.address for host in world.hosts for lease in host.node.leases()}) == 120


def test_870_a_deleted_host_that_comes_back_finds_the_mesh_without_a_leak() -> None:
    """What it had in use it has still; its ranges are others', and it is given new ones."""
    world = settled(3, POOL)
    host = world.hosts[2]
    host.attach(b"kept")
    kept = address(host, b"kept")
    wait(world)
    die(host)
    wait(world, 20.0)
    world.hosts[0].reclaim([host.identity])
    wait(world)
    assert owned(world, host) == 0
    host.dead = False
    host.begin()
    wait(world, QUIET_S)
    host.attach(b"kept")
    host.attach(b"new")
    wait(world)
    assert address(host, b"kept") == kept and address(host, b"new") != kept
    wait(world, QUIET_S)
    check_addresses_at_rest(world)
