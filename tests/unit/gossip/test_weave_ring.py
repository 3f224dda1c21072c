"""The cases by which Weave Net's ring was shown right, for the ring of this mesh.

Each test names the case in its docstring. What Weave answers with an error on merging (two owners of one range, another
seed, an update to an own range) is here a grant that does not count: merging never fails.
"""

from __future__ import annotations

from random import Random

import pytest

from gossip.ipam.ring import Deed, Ring
from gossip.state.address_bodies import Grant
from tests.sim.deeds import NETWORK, History, deed, owners_of
from tests.sim.people import identity_of

P = [identity_of(f"p{number}") for number in range(100)]
CIDR = "10.0.0.0/28"
AT = int.from_bytes(bytes((10, 0, 0, 0)), "big")


def told(ring: Ring) -> list[tuple[int, int, bytes]]:
    """The tiles with addresses counted from the pool's first."""
    return [(tile.start - AT, tile.end - AT, tile.owner) for tile in ring.tiles()]


def begun() -> History:
    return History(CIDR, P[0])


def test_a_pool_is_tiled_and_a_grant_beyond_it_is_nothing() -> None:
    """Invariants."""
    history = begun()
    beyond = deed(P[0], Grant(NETWORK, AT - 2, AT + 2, P[1], 1, history.deeds[0].id))
    ring = history.ring([*history.deeds, beyond])
    assert told(ring) == [(0, 16, P[0])]
    assert ring.owner(AT - 1) is None and ring.owner(AT + 16) is None


def test_a_new_owner_stands_between_two_parts_of_the_old_one() -> None:
    """Insert, Between."""
    history = begun()
    history.give(AT + 5, AT + 6, P[1])
    ring = history.ring(history.deeds)
    assert told(ring) == [(0, 5, P[0]), (5, 6, P[1]), (6, 16, P[0])]
    assert [ring.owner(AT + at) for at in (4, 5, 6)] == [P[0], P[1], P[0]]


def test_a_whole_range_changes_hands() -> None:
    """GrantSimple."""
    history = begun()
    history.give(AT, AT + 16, P[1])
    assert told(history.ring(history.deeds)) == [(0, 16, P[1])]


@pytest.mark.parametrize(("start", "end"), [(0, 8), (8, 16), (4, 12)])
def test_a_range_is_split_where_it_is_given(start: int, end: int) -> None:
    """GrantSplit, SplitRangeAtBeginning."""
    history = begun()
    history.give(AT + start, AT + end, P[1])
    ring = history.ring(history.deeds)
    assert (start, end, P[1]) in told(ring)
    assert owners_of(ring) == history.owners


def test_what_two_peers_granted_apart_comes_together() -> None:
    """MergeSimple, MergeSplit, MergeMore: apart for a while, each gives of its own; joined, all of it counts."""
    history = begun()
    history.give(AT + 8, AT + 16, P[1])
    common = list(history.deeds)
    history.give(AT, AT + 4, P[2])
    left = history.deeds[len(common) :]
    history.give(AT + 8, AT + 12, P[3])
    history.give(AT + 10, AT + 12, P[4])
    right = history.deeds[len(common) + len(left) :]
    one, two = history.ring([*common, *left]), history.ring([*common, *right])
    assert told(one) != told(two)
    for each in right:
        one.add(each)
    for each in left:
        two.add(each)
    assert told(one) == told(two)
    assert owners_of(one) == history.owners


def conflicts() -> dict[str, Deed]:
    """Six ways to say what is not so, of a pool whose upper half p1 owns by the second deed."""
    history = begun()
    gift = history.give(AT + 8, AT + 16, P[1])
    root = history.deeds[0]
    return {
        "another founder": deed(P[1], Grant(NETWORK, AT, AT + 16, P[1], 0, b"")),
        "what another owns": deed(P[1], Grant(NETWORK, AT, AT + 4, P[1], 1, root.id)),
        "what was given away": deed(P[0], Grant(NETWORK, AT + 8, AT + 16, P[0], 2, gift.id)),
        "a version too high": deed(P[1], Grant(NETWORK, AT + 8, AT + 16, P[2], 3, gift.id)),
        "more than the ancestor has": deed(P[1], Grant(NETWORK, AT, AT + 16, P[2], 2, gift.id)),
        "in the stead of who is there": deed(P[2], Grant(NETWORK, AT + 8, AT + 16, P[2], 2, gift.id, run=b"nonsense")),
    }


@pytest.mark.parametrize("case", conflicts())
def test_a_conflicting_grant_does_not_count_and_hurts_nothing(case: str) -> None:
    """MergeWithConflicts, MergeErrors."""
    history = begun()
    history.give(AT + 8, AT + 16, P[1])
    ring = history.ring([conflicts()[case], *history.deeds])
    assert told(ring) == [(0, 8, P[0]), (8, 16, P[1])]


def test_one_range_given_twice_by_its_owner_is_told_and_settled_alike_everywhere() -> None:
    """MergeWithConflicts: the donor that signs twice."""
    history = begun()
    root = history.deeds[0].id
    twice = [deed(P[0], Grant(NETWORK, AT, AT + 8, to, 1, root)) for to in (P[1], P[2])]
    one, two = history.ring([*history.deeds, *twice]), history.ring([*reversed(twice), *history.deeds])
    assert told(one) == told(two)
    assert one.forks and one.forks == two.forks


def test_nothing_heard_and_old_things_heard_change_nothing() -> None:
    """EmptyGossip, MergeOldMessage."""
    history = begun()
    history.give(AT, AT + 8, P[1])
    history.give(AT, AT + 8, P[2])
    ring = history.ring(history.deeds)
    before = told(ring)
    for each in history.deeds[:2]:
        ring.add(each)
    assert told(ring) == before
    assert told(history.ring([])) == []


def test_a_peers_ranges_are_its_tiles_and_those_of_nobody_none() -> None:
    """OwnedRange, Owner, Misc."""
    history = begun()
    history.give(AT, AT + 4, P[1])
    history.give(AT + 8, AT + 12, P[1])
    ring = history.ring(history.deeds)
    assert [(tile.start - AT, tile.end - AT) for tile in ring.owned(P[1])] == [(0, 4), (8, 12)]
    assert ring.owned(P[5]) == []


def test_what_a_dead_peer_owned_goes_to_who_reclaims_it() -> None:
    """Transfer: in its stead, also against a grant that the dead peer had made and nobody knew of."""
    history = begun()
    history.give(AT + 4, AT + 8, P[1])
    unknown = deed(P[1], Grant(NETWORK, AT + 4, AT + 6, P[3], 2, history.deeds[1].id))
    history.seize(AT + 4, AT + 8, P[2], b"run.....")
    assert told(history.ring([*history.deeds, unknown])) == [(0, 4, P[0]), (4, 8, P[2]), (8, 16, P[0])]


@pytest.mark.parametrize("count", range(1, 13))
def test_one_to_twelve_peers_divide_eight_addresses(count: int) -> None:
    """ClaimForPeers: each address has one owner, and as many peers own some as there are addresses for."""
    history = History("10.0.0.0/29", P[0])
    for number in range(1, min(count, 8)):
        start, end, _ = max(history.pieces(), key=lambda piece: (piece[1] - piece[0], -piece[0]))
        history.give((start + end) // 2, end, P[number])
    ring = history.ring(history.deeds)
    assert owners_of(ring) == history.owners
    assert len({tile.owner for tile in ring.tiles()}) == min(count, 8)


@pytest.mark.parametrize("seed", range(5))
def test_good_and_bad_merges_among_25_peers(seed: int) -> None:
    """FuzzRing: 1,000 merges, one in five of them bad."""
    rng = Random(seed)
    history = History("10.0.0.0/24", P[0])
    heard = [history.ring(history.deeds) for _ in range(25)]
    for _ in range(1000):
        start, end, held = rng.choice(history.pieces())
        if rng.random() < 0.2:
            liar, version = rng.choice([p for p in P[:25] if p != held.grant.to]), held.grant.version
            bad = deed(liar, Grant(NETWORK, start, end, liar, version + rng.choice((1, 2)), held.id))
            rng.choice(heard).add(bad)
        elif len(history.deeds) < 200:
            left = rng.randrange(start, end)
            history.give(left, rng.randint(left + 1, end), rng.choice(P[:25]))
        rng.choice(heard).add(rng.choice(history.deeds))
    for ring in heard:
        for each in history.deeds:
            ring.add(each)
        assert owners_of(ring) == history.owners


def test_a_hundred_peers_grant_gossip_and_die_for_three_thousand_steps() -> None:
    """FuzzRingHard: at the end all have heard all, and agree."""
    rng = Random(1)
    history = History("10.0.0.0/22", P[0])
    heard = [history.ring(history.deeds[:1]) for _ in P]
    live = list(range(len(P)))
    for step in range(3000):
        act = rng.random()
        start, end, held = rng.choice(history.pieces()) if act < 0.2 else (0, 0, history.deeds[0])
        if act < 0.19:
            left = rng.randrange(start, end)
            history.give(left, rng.randint(left + 1, end), P[rng.choice(live)])
        elif act < 0.2 and len(live) > 10 and held.grant.to != P[live[0]]:
            dead = held.grant.to
            live = [number for number in live if P[number] != dead]
            for low, high, piece in history.pieces():
                if piece.grant.to == dead:
                    history.seize(low, high, P[live[0]], step.to_bytes(8, "big"))
        else:
            heard[rng.choice(live)].add(rng.choice(history.deeds))
    assert len(live) < len(P), "somebody died"
    for number in live:
        for each in history.deeds:
            heard[number].add(each)
        assert owners_of(heard[number]) == history.owners
