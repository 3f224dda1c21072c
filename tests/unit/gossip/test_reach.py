from __future__ import annotations

from gossip.reach import reached

ME, A, B, C = (bytes([n]) for n in range(4))


def test_an_edge_counts_only_if_both_ends_assert_it() -> None:
    assert list(reached(ME, [A], {A: [ME, B], B: [A, C], C: []})) == [ME, A, B]
    assert list(reached(ME, [A], {A: [ME, B]})) == [ME, A]
    assert list(reached(ME, [], {A: [ME], ME: [A]})) == [ME]


def test_own_links_are_known_first_hand_and_loops_end() -> None:
    assert list(reached(ME, [A], {})) == [ME, A]
    assert sorted(reached(ME, [A], {A: [B, C], B: [A, C], C: [A, B]})) == [ME, A, B, C]
