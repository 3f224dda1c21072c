from __future__ import annotations

import pytest

from gossip.events import SPACE_LEASE, SPACE_OWN
from gossip.ipam.allocator import Allocator
from gossip.ipam.ranges import network_of
from gossip.ipam.ring import Ring
from gossip.ipam.spare import spare_block
from gossip.state.address_bodies import Grant
from tests.property.test_ring import FOUNDING, PEERS, POOL, deed


def test_rows_alone_rebuild_the_state() -> None:
    allocator, copy = Allocator(), Allocator()
    rows: dict[tuple[str, bytes], bytes] = {}
    for number in range(9):
        _, puts = allocator.lease(1, POOL, b"e%d" % number, POOL.start + 1 + number, 40)
        rows.update({(put.space, put.key): put.value for put in puts if put.value is not None})
    for put in allocator.release(1, b"e4"):
        assert put.value is None
        del rows[put.space, put.key]
    for (space, key), value in rows.items():
        assert copy.owns_row(space, key)
        copy.load(space, key, value)
    assert copy.leases() == allocator.leases()
    assert (copy.book(1).last, copy.book(1).number) == (POOL.start + 9, 49)
    assert not copy.owns_row(SPACE_OWN, b"incarnation") and copy.owns_row(SPACE_LEASE, b"")


def test_search_goes_round_over_several_tiles() -> None:
    allocator, ring = Allocator(), Ring([POOL], PEERS[0])
    ring.add(FOUNDING)
    assert Allocator().space(1, ring, PEERS[1]).find(0) is None
    allocator.lease(1, POOL, b"last", POOL.end - 2, 0)
    space = allocator.space(1, ring, PEERS[0])
    assert space.find(allocator.book(1).last) == POOL.start + 2
    assert space.free == POOL.end - POOL.start - 4


def test_numbers_exceed_what_was_seen() -> None:
    allocator = Allocator()
    assert [allocator.lease(1, POOL, b"e", POOL.start + 1, above)[0].number for above in (0, 41, 7)] == [1, 42, 43]


@pytest.mark.parametrize(("cidr", "given"), [("10.0.0.0/12", 2**19), ("10.0.0.0/30", 2), ("fd00::/64", 2**63)])
def test_half_of_a_whole_pool_is_an_aligned_block(cidr: str, given: int) -> None:
    pool = network_of(cidr)
    ring = Ring([pool], PEERS[0])
    ring.add(deed(PEERS[0], Grant(1, pool.start, pool.end, PEERS[0], 0, b"")))
    block = spare_block(Allocator().space(1, ring, PEERS[0]), ring, PEERS[0], PEERS[1])
    assert block is not None and block[2] - block[1] == given
    assert (block[1] - pool.start) % given == 0


def test_the_last_address_is_not_given_away() -> None:
    pool = network_of("10.0.0.0/31")
    ring = Ring([pool], PEERS[0])
    ring.add(deed(PEERS[0], Grant(1, pool.start, pool.end, PEERS[0], 0, b"")))
    allocator = Allocator()
    allocator.lease(1, pool, b"e", pool.start, 0)
    assert spare_block(allocator.space(1, ring, PEERS[0]), ring, PEERS[0], PEERS[1]) is None
