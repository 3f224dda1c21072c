"""The cases by which Weave Net's allocator was shown right, for the allocator of this mesh.

Each test names the case in its docstring. Weave's cases of its HTTP interface are those of this product's own.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Lease
from gossip.ipam.ranges import parse_interface
from tests.sim.address_invariants import check_addresses
from tests.sim.address_world import AddressWorld, hurried, settled
from tests.sim.host import Host


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


def wait(world: AddressWorld, seconds: float = 2 * limits.CLAIM_S) -> None:
    """Let time pass, with the invariants checked."""
    until = world.clock.now + seconds
    while world.clock.now < until:
        world.clock.run(world.clock.now + 0.3)
        check_addresses(world)


def given(host: Host, endpoint: str, address: str | None = None) -> Lease | Refusal:
    """The answer to an endpoint that wants an address, waited for."""
    host.leased.pop(endpoint.encode(), None)
    host.attach(endpoint.encode(), 1, address)
    until = host.world.clock.now + limits.CLAIM_S + 0.1
    while endpoint.encode() not in host.leased and host.world.clock.now < until:
        host.world.clock.run(host.world.clock.now + 0.02)
    host.world.clock.run(host.world.clock.now + 0.02)
    return host.leased[endpoint.encode()]


def leased(answer: Lease | Refusal) -> str:
    assert isinstance(answer, Lease), answer
    return answer.address


def refused(answer: Lease | Refusal) -> Refusal:
    assert isinstance(answer, Refusal), answer
    return answer


def owned(world: AddressWorld, host: Host) -> int:
    witness = next(each for each in world.hosts if each.up and not each.left)
    return sum(r.end - r.start for r in witness.node.ranges(1) if r.owner == host.identity)


def test_addresses_differ_and_a_freed_one_comes_back_last() -> None:
    """AllocFree."""
    host = settled(1, ["10.0.0.0/29"]).hosts[0]
    given_out = [leased(given(host, f"c{n}")) for n in range(5)]  # of eight: network, broadcast, gateway
    assert len(set(given_out)) == 5
    assert leased(given(host, "c1")) == given_out[1], "the same endpoint has the same address"
    assert refused(given(host, "one too many")).code == "no-space"
    host.detach(b"c1")
    host.detach(b"c3")
    assert leased(given(host, "d1")) == given_out[1], "one after the last given"
    assert leased(given(host, "d3")) == given_out[3]


def test_nobody_allocates_before_custody_reaches_it() -> None:
    """Bootstrap: here no vote, but a grant, comes first."""
    world = AddressWorld(1, 2)
    world.hosts[0].start()
    world.network.partition({0: 0, 1: 1})
    world.hosts[1].start()
    world.clock.run(5.0)
    assert world.hosts[1].node.networks() == []
    with pytest.raises(AssertionError, match="not known here"):
        leased(given(world.hosts[1], "c"))
    world.network.partition({})
    world.clock.run(12.0)
    leased(given(world.hosts[1], "c"))


def test_a_given_address_is_own_or_foreign_or_busy_or_none_at_all() -> None:
    """AllocatorClaim."""
    world = settled(2, ["10.0.0.0/24"])
    one, two = world.hosts
    own = next(r.start + 5 for r in one.node.ranges(1) if r.owner == one.identity)
    foreign = next(r.start + 5 for r in one.node.ranges(1) if r.owner == two.identity)
    texts = [f"10.0.0.{address & 255}" for address in (own, foreign)]
    assert [leased(given(one, name, text)) for name, text in zip("ab", texts, strict=True)] == [
        f"{text}/24" for text in texts
    ]
    assert leased(given(one, "a", texts[0])) == f"{texts[0]}/24", "asked again"
    assert refused(given(one, "c", texts[0])).code == "taken"
    wait(world)
    for text in texts:
        busy = refused(given(two, "d", text))
        assert busy.code == "taken" and "h0" in f"{busy.what} {busy.why} {busy.fix}", "who has it is named"
    for outside in ("10.0.1.1", "fd00::1", "10.0.0.0", "10.0.0.255", "not an address"):
        assert refused(given(one, "e", outside)).code == "bad-address"


def full_mesh(size: int = 2) -> AddressWorld:
    """A mesh whose first host owns nothing free, as all was given to the others; the others are away."""
    world = settled(size, ["10.0.0.0/28"])
    first = world.hosts[0]
    world.network.partition({0: 0, **{n: 1 for n in range(1, size)}})
    number = 0
    while first.node.free(1):
        leased(given(first, f"filler{number}"))
        number += 1
    return world


def test_a_wait_for_an_address_can_be_given_up() -> None:
    """Cancel."""
    world = full_mesh()
    first = world.hosts[0]
    first.attach(b"waiting")
    assert b"waiting" not in first.leased
    first.apply(first.node.release(1, b"waiting", first.now))
    assert refused(first.leased[b"waiting"]).code == "invalid"
    world.network.partition({})
    wait(world, 5.0)
    assert b"waiting" not in first.attached


def test_a_wait_for_a_dead_peer_ends_naming_it() -> None:
    """CancelOnDied."""
    world = full_mesh()
    world.hosts[1].dead = True
    world.hosts[1].crash()
    answer = refused(given(world.hosts[0], "waiting"))
    assert answer.code in ("no-space", "unreachable") and "h1" in f"{answer.why} {answer.fix}"


def test_who_leaves_hands_its_space_over() -> None:
    """GossipShutdown."""
    world = settled(2, ["10.0.0.0/24"])
    assert owned(world, world.hosts[1]) > 0
    world.hosts[1].leave()
    wait(world)
    assert owned(world, world.hosts[0]) == 256


def test_a_hundred_rounds_of_three_peers_leave_few_ranges() -> None:
    """NoFrag."""
    world = settled(3, ["10.0.0.0/22"])
    for turn in range(100):
        for host in world.hosts:
            leased(given(host, f"{host.name}-{turn}"))
            if turn >= 4:
                host.detach(f"{host.name}-{turn - 4}".encode())
    wait(world)
    assert len(world.hosts[0].node.ranges(1)) <= 6


def test_what_two_dead_peers_owned_goes_to_the_third() -> None:
    """Transfer: one reclaim for each of two dead peers."""
    world = settled(3, ["10.0.0.0/24"])
    first = world.hosts[0]
    for dead in world.hosts[1:]:
        dead.dead = True
        dead.crash(silently=False)
    world.clock.run(world.clock.now + 30.0)
    first.reclaim([host.identity for host in world.hosts[1:]])
    wait(world, limits.RECLAIM_S)
    assert owned(world, first) == 256
    for number in range(253):
        leased(given(first, f"c{number}"))


def test_a_lone_peer_allocates_from_the_first_moment() -> None:
    """FakeRouterSimple."""
    world = AddressWorld(1, 1)
    world.hosts[0].start()
    assert leased(given(world.hosts[0], "c"))


@pytest.mark.parametrize("seed", range(2))
def test_five_peers_and_a_thousand_addresses_never_give_one_twice(seed: int) -> None:
    """AllocatorFuzz: 1,000 allocations, then some thousand acts, and no address is anybody's twice."""
    world = settled(5, ["10.0.0.0/22"], seed)
    names = 0
    for step in range(2500):
        host = world.rng.choice(world.hosts)
        act = world.rng.random()
        if step < 600 or act < 0.4:
            names += 1
            endpoint = b"c%d" % names
            host.attach(endpoint, 1, f"10.0.{names % 4}.{names % 251 + 2}" if act < 0.03 else None)
        elif act < 0.8 and host.attached:
            host.detach(world.rng.choice(sorted(host.attached)))
        else:
            world.clock.run(world.clock.now + 0.1)
        if step % 50 == 0:
            check_addresses(world)
    wait(world, 3.0)
    addresses = [parse_interface(lease.address)[0] for host in world.hosts for lease in host.node.leases()]
    assert len(set(addresses)) == len(addresses)


def test_who_asks_first_is_given_half() -> None:
    """SpaceRequest: of a universe that nobody uses, each of two has half."""
    world = settled(2, ["10.0.0.0/16"])
    assert [owned(world, host) for host in world.hosts] == [2**15, 2**15]
