from __future__ import annotations

import pytest

from gossip.errors import Refusal
from gossip.events import Lease
from gossip.state.address_bodies import EndpointBody, NetworkBody
from tests.sim.people import identity_of
from tests.unit.gossip.cores import DEFAULT, Core, founder, member

SMALL = NetworkBody(1, "default", ["10.0.0.0/29"], 1500)


def small() -> Core:
    core = Core("h0").begin()
    core.take(core.node.found_network(SMALL, 0.0))
    return core


def lease(core: Core, endpoint: bytes, address: str | None = None) -> Lease | Refusal | None:
    output, answer = core.node.allocate(1, endpoint, 0.0, address)
    core.take(output)
    return answer


def code(answer: object) -> str:
    assert isinstance(answer, Refusal)
    assert answer.what and answer.why and answer.fix
    return answer.code


def test_founding_again_changes_nothing_and_founding_otherwise_is_refused() -> None:
    core = founder()
    assert core.node.found_network(DEFAULT, 1.0).persist == []
    with pytest.raises(Refusal) as refusal:
        core.node.found_network(SMALL, 1.0)
    assert refusal.value.code == "taken"
    with pytest.raises(Refusal) as refusal:
        member("h1", core).node.found_network(NetworkBody(2, "two", ["10.0.0.0/8"], 1500), 1.0)
    assert refusal.value.code == "not-founder"


def test_addresses_are_distinct_idempotent_and_survive_a_restart() -> None:
    core = small()
    answers = [lease(core, b"%d" % n) for n in range(6)]
    assert [a.address for a in answers[:5] if isinstance(a, Lease)] == [f"10.0.0.{n}/29" for n in range(2, 7)]
    assert code(answers[5]) == "no-space"
    assert lease(core, b"3") == answers[3]
    assert lease(core.again().begin(), b"3") == answers[3]
    assert core.node.free(1) == 0


def test_a_freed_address_is_used_again_last_and_with_a_greater_number() -> None:
    core = small()
    first, second = lease(core, b"a"), lease(core, b"b")
    core.take(core.node.release(1, b"a", 0.0))
    assert core.node.release(1, b"a", 0.0).persist == []
    again = core.again().begin()
    addresses = [answer.address for answer in (lease(again, b"%d" % n) for n in range(4)) if isinstance(answer, Lease)]
    assert addresses == ["10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29", "10.0.0.2/29"]
    assert isinstance(first, Lease) and isinstance(second, Lease)
    numbers = [each.number for each in again.node.leases()]
    assert min(n for n in numbers if n != second.number) > second.number > first.number


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.0", "bad-address"),
        ("10.0.0.1", "bad-address"),
        ("10.0.0.7", "bad-address"),
        ("10.0.1.1", "bad-address"),
        ("fd00::1", "bad-address"),
        ("no address", "bad-address"),
        ("10.0.0.2", "taken"),
    ],
)
def test_an_address_that_cannot_be_had_says_why(address: str, expected: str) -> None:
    core = small()
    core.take(core.node.donate(1, identity_of("h1"), 0.0))
    lease(core, b"first", "10.0.0.2")
    before = dict(core.store)
    assert code(lease(core, b"second", address)) == expected
    assert core.store == before


def test_a_wish_moves_the_endpoints_lease() -> None:
    core = small()
    lease(core, b"a", "10.0.0.3")
    moved = lease(core, b"a", "10.0.0.2")
    assert core.node.leases() == [moved]
    assert lease(core, b"a", "10.0.0.2") == moved


def test_unknown_network_and_bad_id() -> None:
    core = small()
    assert code(core.node.allocate(7, b"a", 0.0)[1]) == "unknown-network"
    assert code(lease(core, b"")) == "invalid"
    assert code(lease(core, bytes(65))) == "invalid"


def test_a_joiner_gets_half_and_can_work_alone() -> None:
    a = founder()
    sizes = []
    for n in range(1, 5):
        core = member(f"h{n}", a)
        own = [each for each in core.node.ranges(1) if each.owner == core.identity]
        sizes += [each.end - each.start for each in own]
        assert isinstance(lease(core, b"x"), Lease)
    assert sizes == [2**19, 2**18, 2**17, 2**16]
    assert a.node.donate(1, identity_of("h1"), 0.0).persist == []


def test_donations_go_on_until_nothing_can_be_shared() -> None:
    core = small()
    lease(core, b"mine", "10.0.0.2")
    given = 0
    with pytest.raises(Refusal) as refusal:
        for n in range(9):
            core.take(core.node.donate(1, identity_of(f"h{n + 1}"), 0.0))
            given += 1
    assert refusal.value.code == "no-space" and given >= 2
    owners = {each.owner for each in core.node.ranges(1)}
    assert len(owners) == given + 1
    assert core.node.free(1) >= 1


def test_an_endpoint_needs_an_address_of_this_peer() -> None:
    a = founder()
    b = member("h1", a)
    with pytest.raises(Refusal) as refusal:
        b.node.set_endpoint(EndpointBody(1, b"\x02abcde", [("10.32.0.9/12", 1)], ""), 0.0)
    assert refusal.value.code == "foreign"


@pytest.mark.parametrize(
    ("pool", "free"), [("10.0.0.0/31", 2), ("10.0.0.0/32", 1), ("fd00::/127", 2), ("fd00::/126", 3)]
)
def test_tiny_pools(pool: str, free: int) -> None:
    core = Core("h0").begin()
    core.take(core.node.found_network(NetworkBody(1, "tiny", [pool], 1500), 0.0))
    assert core.node.free(1) == free
    assert [isinstance(lease(core, b"%d" % n), Lease) for n in range(free + 1)] == [True] * free + [False]


@pytest.mark.parametrize(
    ("pool", "address", "expected"),
    [
        ("10.0.0.0/31", "10.0.0.0", ""),
        ("10.0.0.0/31", "10.0.0.1", ""),
        ("10.0.0.0/31", "10.0.0.2", "bad-address"),
        ("10.0.0.0/32", "10.0.0.0", ""),
        ("10.0.0.0/30", "10.0.0.1", ""),
        ("10.0.0.0/29", "10.0.0.1", "bad-address"),
        ("fd00::/127", "fd00::", ""),
        ("fd00::/127", "fd00::1", ""),
        ("fd00::/126", "fd00::", "bad-address"),
        ("fd00:1::/64", "fd00:1::", "bad-address"),
        ("fd00:1::/64", "fd00:1::ffff:ffff:ffff:ffff", ""),
        ("fd00:1::/64", "fd00:2::1", "bad-address"),
        ("fd00:1::/64", "10.0.0.1", "bad-address"),
    ],
)
def test_a_given_address_in_pools_of_every_size(pool: str, address: str, expected: str) -> None:
    core = Core("h0").begin()
    core.take(core.node.found_network(NetworkBody(1, "tiny", [pool], 1500), 0.0))
    answer = lease(core, b"a", address)
    if expected:
        assert code(answer) == expected
    else:
        assert isinstance(answer, Lease) and answer.address.split("/")[0] == address


def test_a_v6_pool_of_64_bits_is_quick() -> None:
    core = Core("h0").begin()
    core.take(core.node.found_network(NetworkBody(1, "six", ["fd00:1::/64"], 1500), 0.0))
    answer = lease(core, b"a")
    assert isinstance(answer, Lease) and answer.address == "fd00:1::1/64"
    core.take(core.node.donate(1, identity_of("h1"), 0.0))
    assert core.node.free(1) == 2**63 - 2
