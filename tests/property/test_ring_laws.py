"""The laws of the ring against a dumb table: any order, any grouping, any repetition, any register gives one answer."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.ipam.ring import Deed, Ring
from gossip.state.address_bodies import Grant
from tests.sim.deeds import NETWORK, History, deed, owners_of
from tests.sim.people import identity_of

PEERS = [identity_of(f"p{n}") for n in range(5)]
CIDR = "10.0.0.0/26"
ADMIN = PEERS[1]

moves = st.lists(
    st.tuples(st.integers(0, 99), st.integers(0, 99), st.integers(0, 99), st.sampled_from(PEERS), st.integers(0, 9)),
    max_size=14,
)
shuffles = st.randoms(use_true_random=False)


def history_of(drawn: list[tuple[int, int, int, bytes, int]], history: History | None = None) -> History:
    """Grants, and one move in ten a reclaim."""
    history = history or History(CIDR, PEERS[0])
    for which, low, high, to, kind in drawn:
        start, end, held = history.pieces()[which % len(history.pieces())]
        left = start + low % (end - start)
        right = left + 1 + high % (end - left)
        if kind == 0 and held.grant.to != to:
            history.seize(start, end, to, bytes((which % 256, *bytes(7))))
        else:
            history.give(left, right, to)
    return history


def shuffled(deeds: list[Deed], rng: Random) -> list[Deed]:
    return rng.sample(deeds, len(deeds))


def seen(ring: Ring) -> list[tuple[int, int, bytes, bytes]]:
    """Everything a ring says."""
    return [(tile.start, tile.end, tile.owner, tile.deed.id) for tile in ring.tiles()]


@given(moves, shuffles)
def test_in_any_order_the_ring_says_what_the_table_says(
    drawn: list[tuple[int, int, int, bytes, int]], rng: Random
) -> None:
    history = history_of(drawn)
    ring = history.ring(shuffled(history.deeds, rng))
    assert owners_of(ring) == history.owners
    assert ring.forks == []


@given(moves, shuffles, st.integers(0, 14), st.integers(0, 14))
def test_grouping_does_not_matter_and_hearing_it_again_changes_nothing(
    drawn: list[tuple[int, int, int, bytes, int]], rng: Random, one: int, two: int
) -> None:
    history = history_of(drawn)
    deeds = shuffled(history.deeds, rng)
    first, second, third = deeds[:one], deeds[one : one + two], deeds[one + two :]
    grouped = [history.ring([*a, *b, *c]) for a, b, c in ((first, second, third), (third, first, second))]
    for ring in grouped:
        ring.tiles()
        version = ring.version
        for each in deeds:
            ring.add(each)
        assert seen(ring) == seen(history.ring(history.deeds))
        assert ring.version == version, "the delta of what is known is nothing"


@given(moves, moves, shuffles, st.data())
def test_a_register_changes_nothing_whatever_older_grants_are_still_heard(
    before: list[tuple[int, int, int, bytes, int]],
    after: list[tuple[int, int, int, bytes, int]],
    rng: Random,
    data: st.DataObject,
) -> None:
    history = history_of(before)
    rows, old = history.settle(ADMIN), list(history.deeds)
    history_of(after, history)
    later = history.deeds[len(old) :]
    kept = data.draw(st.lists(st.sampled_from(old), max_size=len(old), unique_by=lambda each: each.id))
    ring = history.ring(shuffled([*later, *kept], rng))
    ring.rest_on(rows)
    assert owners_of(ring) == history.owners
    assert seen(ring) == seen(history.ring(history.deeds))


@given(moves, shuffles, st.data())
def test_a_grant_that_is_dropped_and_comes_again_changes_nothing(
    drawn: list[tuple[int, int, int, bytes, int]], rng: Random, data: st.DataObject
) -> None:
    history = history_of(drawn)
    ring = history.ring(shuffled(history.deeds, rng))
    whole = seen(ring)
    gone = data.draw(st.lists(st.sampled_from(history.deeds), unique_by=lambda each: each.id))
    for each in gone:
        ring.drop(each.id)
    assert seen(ring) == seen(history.ring([each for each in history.deeds if each not in gone]))
    for each in shuffled(gone, rng):
        ring.add(each)
    assert seen(ring) == whole


wild = st.tuples(
    st.sampled_from(PEERS),
    st.integers(-4, 66),
    st.integers(1, 66),
    st.sampled_from(PEERS),
    st.integers(0, 3),
    st.integers(0, 14),
    st.booleans(),
)


@given(moves, st.lists(wild, max_size=8), shuffles, st.booleans())
@settings(max_examples=150)
def test_whatever_is_forged_each_address_has_one_owner_and_order_does_not_matter(
    drawn: list[tuple[int, int, int, bytes, int]],
    forged: list[tuple[bytes, int, int, bytes, int, int, bool]],
    rng: Random,
    settled: bool,
) -> None:
    history = history_of(drawn)
    rows = history.settle(ADMIN) if settled else []
    deeds = list(history.deeds)
    for donor, start, length, to, version, parent, stead in forged:
        previous = deeds[parent % len(deeds)]
        run = b"no such " if stead else b""
        grant = Grant(NETWORK, max(history.pool.start + start, 0), history.pool.start + start + length, to, 0, b"")
        if version:
            grant = Grant(NETWORK, grant.start, grant.end, to, previous.grant.version + version, previous.id, run=run)
        deeds.append(deed(donor, grant))
    rings = [history.ring(deeds), history.ring(shuffled(deeds, rng))]
    for ring in rings:
        ring.rest_on(rows)
        assert list(owners_of(ring)) == list(range(history.pool.start, history.pool.end))
    assert seen(rings[0]) == seen(rings[1])


@given(moves, moves, st.sampled_from(PEERS), st.integers(0, 63), st.integers(1, 64))
def test_what_a_peer_forges_moves_nothing_that_others_own(
    before: list[tuple[int, int, int, bytes, int]],
    after: list[tuple[int, int, int, bytes, int]],
    forger: bytes,
    start: int,
    length: int,
) -> None:
    history = history_of(before)
    end = min(start + length, 64)
    forged = [
        deed(forger, Grant(NETWORK, history.pool.start + start, history.pool.start + end, forger, v, p, run=run))
        for held in list(history.deeds)
        for v, p in ((held.grant.version + 1, held.id), (held.grant.version + 2, held.id))
        for run in (b"", b"no such ")
        if held.grant.to != forger
    ]
    history_of(after, history)
    assert owners_of(history.ring([*history.deeds, *forged])) == history.owners
