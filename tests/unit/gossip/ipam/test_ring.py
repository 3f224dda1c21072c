from __future__ import annotations

from gossip import limits
from gossip.ipam.ranges import network_of
from gossip.ipam.ring import Deed, Ring, covers, outgrown, same_tiles
from gossip.state.address_bodies import GRANT, Grant, grant_id
from gossip.state.bodies import encode_body
from tests.sim.people import identity_of

A, B, C, ADMIN = (identity_of(name) for name in ("a", "b", "c", "admin"))
POOL = network_of("10.0.0.0/24")
AT = POOL.start
RUN = b"run 0001"


def deed(donor: bytes, grant: Grant) -> Deed:
    return Deed(grant_id(donor, encode_body(GRANT, grant)), donor, grant)


ROOT = deed(A, Grant(1, POOL.start, POOL.end, A, 0, b""))


def gives(parent: Deed, low: int, high: int, to: bytes, donor: bytes | None = None, run: bytes = b"") -> Deed:
    grant = Grant(1, AT + low, AT + high, to, parent.grant.version + 1, parent.id, run=run)
    return deed(donor or parent.grant.to, grant)


def row(of: Deed, low: int, high: int) -> Deed:
    return Deed(of.id, ADMIN, Grant(1, AT + low, AT + high, of.grant.to, of.grant.version, b""))


def ring_of(*deeds: Deed) -> Ring:
    ring = Ring([POOL], A)
    for each in deeds:
        ring.add(each)
    return ring


def owners(ring: Ring) -> list[tuple[int, int, bytes]]:
    return [(tile.start - AT, tile.end - AT, tile.owner) for tile in ring.tiles()]


def test_one_more_grant_cuts_one_tile_as_if_all_had_been_laid_anew() -> None:
    first, second = gives(ROOT, 0, 64, B), gives(ROOT, 128, 192, C)
    third = gives(first, 16, 32, C)
    step = ring_of(ROOT)
    seen = [step.version]
    for each in (second, first, third):
        step.add(each)
        seen.append(step.version)
    assert owners(step) == owners(ring_of(third, second, first, ROOT))
    assert owners(step)[:3] == [(0, 16, B), (16, 32, C), (32, 64, B)]
    assert seen == sorted(set(seen)), "each of them changed the tiles"
    assert [tile.start - AT for tile in step.owned(C)] == [16, 128]


def test_what_changes_nothing_leaves_the_version() -> None:
    ring = ring_of(ROOT, gives(ROOT, 0, 64, B))
    version = ring.version
    ring.add(gives(gives(ROOT, 64, 128, C), 64, 80, B))  # its ancestor is not known
    ring.add(gives(ROOT, 192, 224, B, donor=C))  # not its donor's
    ring.drop(b"unknown")
    ring.rest_on([])
    ring.touch()
    assert ring.version == version


def test_a_grant_that_waits_counts_with_its_ancestor() -> None:
    ring, first = ring_of(ROOT), gives(ROOT, 0, 64, B)
    assert owners(ring) == [(0, 256, A)]
    ring.add(gives(first, 0, 8, C))
    assert owners(ring) == [(0, 256, A)]
    ring.add(first)
    assert owners(ring) == [(0, 8, C), (8, 64, B), (64, 256, A)]


def test_two_grants_of_one_range_are_a_fork_however_they_come() -> None:
    one, two = gives(ROOT, 0, 64, B), gives(ROOT, 32, 96, C)
    step = ring_of(ROOT)
    step.tiles()
    step.add(one)
    step.tiles()
    step.add(two)
    assert step.forks == ring_of(two, one, ROOT).forks == ["10.0.0.32 was granted twice"]
    assert owners(step) == owners(ring_of(two, one, ROOT))
    for low in range(2 * limits.MAX_FORKS):
        step.add(gives(ROOT, low, low + 2, C))
    assert len(step.forks) == limits.MAX_FORKS


def test_a_grant_that_is_dropped_and_comes_again_changes_nothing() -> None:
    first = gives(ROOT, 0, 64, B)
    ring = ring_of(ROOT, first, gives(first, 0, 8, C))
    before = owners(ring)
    ring.drop(first.id)
    assert owners(ring) == [(0, 256, A)]
    ring.add(first)
    ring.add(first)
    assert owners(ring) == before


def test_rows_begin_custody_and_what_led_to_them_is_needless() -> None:
    first, second = gives(ROOT, 0, 64, B), gives(ROOT, 192, 256, B)
    later, beyond = gives(first, 0, 8, C), gives(ROOT, 100, 110, C)
    rows = [row(first, 0, 64), row(ROOT, 64, 192), row(second, 192, 256)]
    ring = ring_of(ROOT, first, second, later, beyond)
    before, version = owners(ring), ring.version
    ring.rest_on(rows)
    assert owners(ring) == before
    for each in (ROOT, first, second):
        ring.drop(each.id)
        ring.add(each)
        ring.drop(each.id)
    assert owners(ring) == before
    assert ring.version == version + 1, "the deeds of the tiles are others"
    tile = ring.tile(AT + 3)
    assert tile is not None and [each.id for each in ring.chain(tile)] == [later.id, first.id]
    assert ring.chain(tile)[-1].donor == ADMIN
    ring.rest_on([])
    assert owners(ring) == []


def test_what_a_row_says_went_elsewhere_stays_there() -> None:
    first = gives(ROOT, 0, 64, B)
    wide = gives(ROOT, 0, 128, C)
    ring = ring_of(wide)
    ring.rest_on([row(first, 0, 64), row(ROOT, 64, 256)])
    assert owners(ring) == [(0, 64, B), (64, 256, A)]


def test_one_deed_may_have_several_rows() -> None:
    hole = gives(ROOT, 64, 128, B)
    left, right = gives(ROOT, 0, 16, C), gives(ROOT, 250, 256, C)
    ring = ring_of(left, right)
    ring.rest_on([row(ROOT, 128, 256), row(ROOT, 0, 64), row(hole, 64, 128)])
    assert owners(ring) == [(0, 16, C), (16, 64, A), (64, 128, B), (128, 250, A), (250, 256, C)]
    ring.add(gives(ROOT, 60, 68, C))  # across two rows
    assert ring.owner(AT + 60) == A and ring.owner(AT + 66) == B


def test_rows_cover_the_pools_exactly() -> None:
    first = gives(ROOT, 0, 64, B)
    rest = row(ROOT, 64, 256)
    assert covers([rest, row(first, 0, 64)], [POOL])
    assert not covers([rest], [POOL])
    assert not covers([row(first, 0, 65), rest], [POOL])
    assert not covers([row(first, 0, 63), rest], [POOL])
    assert not covers([row(first, 0, 64), row(ROOT, 64, 257)], [POOL])
    assert not covers([row(first, 0, 64), rest, row(ROOT, 256, 300)], [POOL])
    assert not covers([], [POOL])
    other = network_of("10.9.0.0/24")
    assert not covers([row(ROOT, 0, 256)], [POOL, other])
    assert covers([], [])


def test_outgrown_is_what_each_row_has_the_version_of() -> None:
    first = gives(ROOT, 0, 64, B)
    later = gives(first, 0, 8, C)
    rows = [row(first, 0, 64), row(ROOT, 64, 256)]
    assert outgrown(ROOT, rows) and outgrown(first, rows) and not outgrown(later, rows)
    assert not outgrown(gives(ROOT, 32, 128, C), rows), "it could count yet in the second row"
    assert not outgrown(gives(ROOT, 300, 310, C), rows) and not outgrown(ROOT, [])


def test_the_same_owners_by_other_deeds_are_not_the_same() -> None:
    there = gives(ROOT, 0, 256, B)
    back = gives(there, 0, 256, A)
    ring = ring_of(ROOT, there, back)
    assert owners(ring) == owners(ring_of(ROOT))
    assert not same_tiles(ring, ring_of(ROOT))
    assert same_tiles(ring, ring.under([row(ROOT, 0, 256)]))
    assert same_tiles(ring, ring.under([row(back, 0, 100), row(back, 100, 256)])), "rows of one deed are one tile"
    ring.drop(there.id)
    assert not same_tiles(ring_of(ROOT, there, back), ring.under([row(ROOT, 0, 256)]))


def test_who_stands_in_for_a_fenced_owner_goes_before_it() -> None:
    fenced: list[tuple[bytes, bytes, bytes]] = []
    ring = Ring([POOL], A, lambda donor, owner, run: (donor, owner, run) in fenced)
    first = gives(ROOT, 0, 64, B)
    instead = gives(first, 0, 64, C, donor=C, run=RUN)
    for each in (ROOT, first, instead):
        ring.add(each)
    assert owners(ring) == [(0, 64, B), (64, 256, A)]
    fenced.append((C, B, RUN))
    assert ring.owner(AT) == B, "until it is told"
    ring.touch()
    assert owners(ring) == [(0, 64, C), (64, 256, A)]
    for low in range(0, 64, 8):
        ring.add(gives(first, low, low + 8, A))
    assert owners(ring) == [(0, 64, C), (64, 256, A)] and not ring.forks, "what was taken over was not its to give"
    assert ring.counts(instead.id) and not ring.counts(b"other")


def test_a_ring_that_takes_another_s_place_goes_on_above_its_version() -> None:
    ring = Ring([POOL], A, version=7)
    ring.add(ROOT)
    assert ring.version == 8
