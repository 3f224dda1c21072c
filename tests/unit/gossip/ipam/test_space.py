"""Free space: kept as it would be if counted anew, whatever is taken and given back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gossip.ipam.ranges import network_of
from gossip.ipam.ring import Ring
from gossip.ipam.space import Space
from gossip.state.address_bodies import Grant
from tests.property.test_ring import FOUNDING, PEERS, POOL, deed

ME = PEERS[0]


def ring_with_holes() -> Ring:
    """This peer owns 0 to 16 and 24 to 64 of the pool, by one deed, and 40 to 44 by a deed of its own."""
    ring = Ring([POOL], ME)
    ring.add(FOUNDING)
    for start, end, to in ((16, 24, PEERS[1]), (40, 44, ME)):
        ring.add(deed(ME, Grant(1, POOL.start + start, POOL.start + end, to, 1, FOUNDING.id)))
    return ring


RING = ring_with_holes()
OWN = [address for address in range(POOL.start, POOL.end) if RING.owner(address) == ME]
LEASABLE = [address for address in OWN if not POOL.reserved(address)]


def model_find(used: set[int], after: int) -> int | None:
    free = [address for address in LEASABLE if address not in used]
    return next((address for address in free if address > after), min(free, default=None))


@given(st.lists(st.integers(-4, POOL.end - POOL.start + 3), max_size=200), st.integers(-4, 70))
def test_space_is_what_a_count_of_all_addresses_says(toggles: list[int], after: int) -> None:
    space, used = Space(RING, RING.owned(ME), []), set[int]()
    for offset in toggles:
        address = POOL.start + offset
        if address in used:
            used.discard(address)
            space.give(address)
        else:
            used.add(address)
            space.take(address)
        found = space.find(POOL.start + after)
        assert found == model_find(used, POOL.start + after)
        assert space.free == sum(address not in used for address in LEASABLE) and space.owned == len(LEASABLE)
    anew = Space(RING, RING.owned(ME), sorted(used))
    assert anew.pieces() == space.pieces() and anew.free == space.free
    assert sorted(anew.outside) == sorted(space.outside) == sorted(used - set(OWN))
    listed = [address for _, start, end in space.pieces() for address in range(start, end)]
    assert listed == [address for address in OWN if address not in used]
    for address in range(POOL.start - 2, POOL.end + 2):
        piece = space.piece(address)
        assert (piece is not None) == (address in OWN and address not in used)
        assert piece is None or piece[0].start <= piece[1] <= address < piece[2] <= piece[0].end


def test_pieces_never_span_two_deeds() -> None:
    spans = [(start - POOL.start, end - POOL.start) for _, start, end in Space(RING, RING.owned(ME), []).pieces()]
    assert spans == [(0, 16), (24, 40), (40, 44), (44, 64)]


def test_a_wide_pool_is_not_counted_address_by_address() -> None:
    pool = network_of("fd00::/64")
    ring = Ring([pool], ME)
    ring.add(deed(ME, Grant(1, pool.start, pool.end, ME, 0, b"")))
    space = Space(ring, ring.owned(ME), [pool.start + 1])
    assert space.free == 2**64 - 2 and space.find(0) == pool.start + 2
