from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

import pytest

from gossip.people.reach import Reach
from gossip.state.identities import Identities

ME, A, B, C, D = (bytes([n]) for n in range(5))


def reach(asserted: Mapping[bytes, Sequence[bytes]], *barred: bytes) -> Reach:
    made = Reach(ME, lambda peer: peer in barred)
    for peer, others in asserted.items():
        made.hear(peer, others)
    made.judge()
    return made


def found(made: Reach, linked: Sequence[bytes]) -> list[bytes]:
    made.survey(linked)
    return [peer for peer in (ME, A, B, C, D) if peer in made]


def due(made: Reach) -> bool:
    return made.dirty


def test_an_edge_counts_only_if_both_ends_assert_it() -> None:
    assert found(reach({A: [ME, B], B: [A, C], C: []}), [A]) == [ME, A, B]
    assert found(reach({A: [ME, B]}), [A]) == [ME, A]
    assert found(reach({A: [ME], ME: [A]}), []) == [ME]


def test_own_links_are_known_first_hand_and_loops_end() -> None:
    assert found(reach({}), [A]) == [ME, A]
    assert found(reach({A: [B, C], B: [A, C], C: [A, B]}), [A, ME]) == [ME, A, B, C]


def test_what_a_barred_peer_asserts_does_not_count() -> None:
    assert found(reach({A: [ME, B], B: [A]}, A), [A]) == [ME, A]
    assert found(reach({A: [ME, B], B: [A, C], C: [B]}, B), [A]) == [ME, A]


def test_only_what_changed_is_told_and_nothing_new_needs_no_survey() -> None:
    made = reach({A: [B], B: [A]})
    assert made.survey([A]) == [(A, True), (B, True)]
    made.hear(C, [D])
    made.hear(D, [C])
    assert not due(made), "an edge between two that are not reached"
    made.hear(B, [A, C])
    made.hear(C, [B, D])
    assert due(made)
    assert made.survey([A]) == [(C, True), (D, True)]
    made.hear(C, [D])
    assert made.survey([A]) == [(C, False), (D, False)]


def test_the_loss_of_an_edge_that_nobody_is_reached_by_costs_no_search() -> None:
    made = reach({A: [B, C], B: [A, C], C: [A, B]})
    made.survey([A])
    made.hear(C, [A])
    assert not due(made)
    assert C in made
    made.hear(A, [B])
    assert due(made)
    assert made.survey([A]) == [(C, False)]


def test_identities_that_say_nothing_themselves_are_not_remembered_beyond_what_names_them() -> None:
    identities = Identities()
    made = Reach(ME, lambda peer: False, identities)
    for number in range(200):
        made.hear(A, [number.to_bytes(32, "big")])
        made.survey([])
    assert list(identities.all()) == [A] and len(made._named) == 1
    made.hear(A, None)
    assert made._named == {}


def test_who_was_named_before_it_said_anything_is_held_like_all_others_later() -> None:
    identities = Identities()
    made = Reach(ME, lambda peer: False, identities)
    made.hear(A, [B, C], [1, 2])
    made.hear(B, [A], [3])
    assert made.survey([A]) == [(A, True), (B, True)] and isinstance(made._said[0], tuple)
    assert made.edges(A) == [(B, 4)] and made.edges(B) == [(A, 4)]
    made.hear(C, [A])
    assert made.survey([A]) == [(C, True)]
    assert all(isinstance(said, bytes) for said in made._said) and made._named == {}
    assert made.edges(A) == [(B, 4), (C, 2)] and made.edges(C) == [(A, 2)]


def anew(linked: Sequence[bytes], asserted: Mapping[bytes, Sequence[bytes]]) -> dict[bytes, None]:
    """The search written down as its rule says, without memory."""
    reached, edge = dict.fromkeys([ME, *linked]), list(linked)
    while edge:
        peer = edge.pop()
        for other in asserted.get(peer, ()):
            if other not in reached and other != ME and peer in asserted.get(other, ()):
                reached[other] = None
                edge.append(other)
    return reached


@pytest.mark.parametrize("seed", range(20))
def test_growing_the_tree_gives_what_a_search_from_nothing_gives(seed: int) -> None:
    rng = Random(seed)
    peers = [bytes([n]) for n in range(1, 30)]
    made, asserted, linked = Reach(ME, lambda peer: False), dict[bytes, list[bytes]](), list[bytes]()
    before: dict[bytes, None] = {ME: None}
    for _ in range(150):
        if rng.random() < 0.1:
            linked = sorted(rng.sample(peers, rng.randrange(3)))
            made.judge()
        one, two = rng.sample(peers, 2)
        for peer, other in ((one, two), (two, one)):
            links = asserted.setdefault(peer, [])
            if other in links:
                links.remove(other)
            else:
                links.append(other)
            made.hear(peer, list(links))
        if rng.random() < 0.5:
            changed = made.survey(linked)
            now = anew(linked, asserted)
            expected = sorted(
                [(p, True) for p in now if p not in before] + [(p, False) for p in before if p not in now]
            )
            assert changed == expected and len(made) == len(now)
            before = now
