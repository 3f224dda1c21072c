"""The ring against a dumb model: every address of the pool has exactly one owner, whatever grants come in any order."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.ipam.allocator import Allocator
from gossip.ipam.ranges import aligned_block, network_of
from gossip.ipam.ring import Deed, Ring
from gossip.ipam.spare import spare_block
from gossip.state.address_bodies import GRANT, Grant, grant_id
from gossip.state.bodies import encode_body
from tests.sim.people import identity_of

PEERS = [identity_of(f"p{n}") for n in range(4)]
POOL = network_of("10.0.0.0/26")
SIZE = POOL.end - POOL.start


def deed(donor: bytes, grant: Grant) -> Deed:
    return Deed(grant_id(donor, encode_body(GRANT, grant)), donor, grant)


FOUNDING = deed(PEERS[0], Grant(1, POOL.start, POOL.end, PEERS[0], 0, b""))


def ring_of(deeds: list[Deed]) -> Ring:
    ring = Ring([POOL], PEERS[0])
    for each in deeds:
        ring.add(each)
    return ring


def assert_tiles_once(ring: Ring) -> None:
    at = POOL.start
    for tile in ring.tiles():
        assert tile.start == at < tile.end
        at = tile.end
    assert at == POOL.end


moves = st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.sampled_from(PEERS)))


@given(moves, st.randoms(use_true_random=False))
def test_honest_grants_in_any_order_match_a_table_of_addresses(
    drawn: list[tuple[int, int, int, bytes]], rng: Random
) -> None:
    deeds = [FOUNDING]
    model = dict.fromkeys(range(POOL.start, POOL.end), PEERS[0])
    for which, low, high, to in drawn:
        tiles = ring_of(deeds).tiles()
        tile = tiles[which % len(tiles)]
        start = tile.start + low % (tile.end - tile.start)
        end = start + 1 + high % (tile.end - start)
        old = tile.deed
        deeds.append(deed(tile.owner, Grant(1, start, end, to, old.grant.version + 1, old.id)))
        model.update(dict.fromkeys(range(start, end), to))
    rng.shuffle(deeds)
    ring = ring_of(deeds)
    assert_tiles_once(ring)
    assert ring.forks == []
    assert {address: ring.owner(address) for address in model} == model


wild = st.tuples(
    st.sampled_from(PEERS), st.integers(-4, SIZE), st.integers(1, SIZE), st.sampled_from(PEERS), st.integers(0, 3)
)


@given(st.lists(st.tuples(wild, st.integers(0, 9)), max_size=12), st.randoms(use_true_random=False))
def test_dishonest_grants_still_tile_the_pool_and_order_does_not_matter(
    drawn: list[tuple[tuple[bytes, int, int, bytes, int], int]], rng: Random
) -> None:
    deeds = [FOUNDING]
    for (donor, start, length, to, version), parent in drawn:
        previous = deeds[parent % len(deeds)].id if version else b""
        deeds.append(deed(donor, Grant(1, POOL.start + start, POOL.start + start + length, to, version, previous)))
    ring = ring_of(deeds)
    assert_tiles_once(ring)
    rng.shuffle(deeds)
    assert [(t.start, t.end, t.owner) for t in ring_of(deeds).tiles()] == [
        (t.start, t.end, t.owner) for t in ring.tiles()
    ]


@given(st.integers(0, 2000), st.integers(1, 2000), st.integers(1, 3000))
def test_an_aligned_block_is_inside_a_power_of_two_and_not_too_large(start: int, length: int, most: int) -> None:
    low, high = aligned_block(start, start + length, most)
    size = high - low
    assert start <= low < high <= start + length
    assert size & (size - 1) == 0 and low % size == 0 and size <= most


@given(st.lists(st.tuples(st.sampled_from("ard"), st.integers(0, 20)), max_size=120))
@settings(max_examples=50)
def test_leases_are_distinct_and_never_given_away(acts: list[tuple[str, int]]) -> None:
    allocator, deeds = Allocator(), [FOUNDING]
    for act, which in acts:
        ring, endpoint = ring_of(deeds), b"e%d" % which
        space = allocator.space(1, ring, PEERS[0])
        if act == "a" and allocator.held(1, endpoint) is None:
            found = space.find(allocator.book(1).last)
            assert (found is None) == (space.free == 0)
            if found is not None:
                allocator.lease(1, POOL, endpoint, found, 0)
        elif act == "r":
            allocator.release(1, endpoint)
        elif act == "d":
            block = spare_block(space, ring, PEERS[0], PEERS[1])
            if block is not None:
                tile, start, end = block
                assert tile.start <= start < end <= tile.end
                to = PEERS[1]
                deeds.append(deed(PEERS[0], Grant(1, start, end, to, tile.deed.grant.version + 1, tile.deed.id)))
    ring = ring_of(deeds)
    addresses = [held.address for held in allocator.book(1).by_id.values()]
    assert len(set(addresses)) == len(addresses)
    assert all(ring.owner(address) == PEERS[0] and not POOL.reserved(address) for address in addresses)
