"""Which block is given away, and to whom ranges are left: few ranges, and space on both sides."""

from __future__ import annotations

from gossip.ipam.ring import Ring
from gossip.ipam.space import Space
from gossip.ipam.spare import heir, spare_block
from gossip.state.address_bodies import Grant
from tests.property.test_ring import FOUNDING, PEERS, POOL, deed

A, B, C, D = PEERS


def ring(*grants: tuple[int, int, bytes]) -> Ring:
    made = Ring([POOL], A)
    made.add(FOUNDING)
    for start, end, to in grants:
        made.add(deed(A, Grant(1, POOL.start + start, POOL.start + end, to, 1, FOUNDING.id)))
    return made


def given(made: Ring, to: bytes, *used: int) -> tuple[int, int] | None:
    space = Space(made, made.owned(A), sorted(POOL.start + address for address in used))
    block = spare_block(space, made, A, to)
    return None if block is None else (block[1] - POOL.start, block[2] - POOL.start)


def test_half_is_given_aligned_from_the_high_end() -> None:
    assert given(ring(), B) == (32, 64)


def test_a_block_beside_what_the_taker_owns_is_preferred() -> None:
    made = ring((16, 24, B), (56, 64, C))
    assert given(made, C, 5) == (48, 56)
    assert given(made, B, 5) == (24, 32)
    assert given(made, D, 5) in ((24, 32), (48, 56)), "at an end, although (32, 48) is larger"


def test_a_whole_lone_tile_is_better_than_a_cut() -> None:
    made = ring((24, 40, B))
    assert given(made, C, 3, 9) == (40, 64), "the lone tile has no lease and is about half"


def test_what_is_in_use_and_the_last_free_address_stay() -> None:
    everything = range(POOL.end - POOL.start)
    assert given(ring(), B, *(n for n in everything if n != 9)) is None
    block = given(ring(), B, *(n for n in everything if n not in (8, 9)))
    assert block in ((8, 9), (9, 10))


def test_ranges_are_left_to_a_neighbour_that_is_reached() -> None:
    made = ring((0, 16, B), (16, 32, C), (32, 48, D))
    tile = made.owned(C)[0]
    assert heir(made, tile, [A, B, D], lambda peer: True) == B
    assert heir(made, tile, [A, D], lambda peer: True) == D
    assert heir(made, tile, [A, B, D], lambda peer: peer in (A, D)) == D
    assert heir(made, tile, [A, B, D], lambda peer: peer == A) == A
    assert heir(made, made.owned(D)[0], [B, C, A], lambda peer: True) == A, "of two neighbours the donor"
    assert heir(made, tile, [], lambda peer: True) is None


def test_neighbouring_tiles_of_one_owner_are_one_range() -> None:
    made = ring((0, 16, B), (16, 24, C), (24, 32, C))
    assert [heir(made, tile, [A, B], lambda peer: True) for tile in made.owned(C)] == [A, A]
    assert [heir(made, tile, [D, B], lambda peer: True) for tile in made.owned(C)] == [B, B]
