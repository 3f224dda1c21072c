from __future__ import annotations

from random import Random
from time import process_time

import pytest

from gossip import limits
from gossip.people.reach import Reach
from gossip.people.routes import Route, Routes, search

ME, A, B, C, D = (bytes([n]) for n in range(5))
Costs = dict[bytes, dict[bytes, int]]


def graph(*edges: tuple[bytes, bytes, int]) -> Costs:
    made: Costs = {}
    for one, two, cost in edges:
        made.setdefault(one, {})[two] = made.setdefault(two, {})[one] = cost
    return made


def reach_of(own: bytes, costs: Costs) -> Reach:
    made = Reach(own, lambda peer: False)
    for peer, links in costs.items():
        made.hear(peer, sorted(links), [links[other] for other in sorted(links)])
    made.survey(sorted(costs.get(own, {})))
    return made


def routes_of(own: bytes, costs: Costs) -> Routes:
    return Routes(own, reach_of(own, costs))


def test_the_cheapest_path_wins_also_over_a_link_of_its_own() -> None:
    routes = routes_of(ME, graph((ME, A, 3), (A, B, 3), (ME, B, 9)))
    assert routes.to(A) == Route(A, 4)
    assert routes.to(B) == Route(A, 8)
    assert routes.to(ME) is None and routes.to(C) is None


def test_of_equal_paths_the_shorter_wins_and_then_the_smaller_peer() -> None:
    assert routes_of(ME, graph((ME, A, 1), (A, B, 1), (ME, B, 2))).to(B) == Route(B, 2)
    assert routes_of(ME, graph((ME, C, 3), (C, D, 3), (ME, B, 3), (B, D, 3))).to(D) == Route(B, 8)


def test_an_edge_costs_what_the_end_that_says_more_says_and_counts_only_if_both_say_it() -> None:
    made = Reach(ME, lambda peer: False)
    made.hear(ME, [A], [2])
    made.hear(A, [ME, B, C], [5, 1, 1])
    made.hear(B, [A], [7])
    made.hear(C, [])
    made.survey([A])
    routes = Routes(ME, made)
    assert routes.to(A) == Route(A, 16)
    assert routes.to(B) == Route(A, 16 + 64)
    assert routes.to(C) is None


def test_what_nobody_measured_counts_as_far() -> None:
    made = Reach(ME, lambda peer: False)
    made.hear(A, [ME, B])
    made.hear(B, [A])
    made.survey([A])
    assert Routes(ME, made).to(B) == Route(A, 2 * limits.UNKNOWN_RTT_MS)


def test_nobody_routes_through_who_does_not_count() -> None:
    barred = [A]
    made = Reach(ME, lambda peer: peer in barred)
    for peer, links in graph((ME, A, 1), (A, B, 1), (ME, C, 5), (C, B, 5)).items():
        made.hear(peer, sorted(links), [links[each] for each in sorted(links)])
    made.survey([C])
    assert Routes(ME, made).to(B) == Route(C, 32)
    assert Routes(ME, made).to(A) is None


def test_nothing_is_searched_until_asked_and_then_once_for_all_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def counted(own, edges):  # type: ignore[no-untyped-def]
        searches.append(own)
        return search(own, edges)

    monkeypatch.setattr("gossip.people.routes.search", counted)
    reach = reach_of(ME, graph((ME, A, 1), (A, B, 1)))
    routes = Routes(ME, reach)
    assert searches == []
    assert [routes.to(peer) is None for peer in (A, B, C)] == [False, False, True] and len(searches) == 1
    reach.hear(B, [A, C], [1, 1])
    reach.hear(C, [B], [1])
    assert len(searches) == 1
    assert routes.to(C) == Route(A, 3) and len(searches) == 2
    reach.judge()
    reach.survey([])
    assert routes.to(C) is None and len(searches) == 3


def mesh(rng: Random, count: int) -> Costs:
    peers = [number.to_bytes(2, "big") * 16 for number in range(count)]
    edges = [(peer, peers[(at + step) % count]) for at, peer in enumerate(peers) for step in (1, 2)]
    edges += [(peer, other) for peer in peers for other in rng.sample(peers, 2) if other != peer]
    return graph(*((one, two, rng.randrange(1, 8)) for one, two in edges))


@pytest.mark.parametrize("seed", range(5))
def test_the_next_hop_is_nearer_to_the_goal_whoever_asks(seed: int) -> None:
    costs = mesh(Random(seed), 24)
    routes = {peer: routes_of(peer, costs) for peer in costs}
    for peer in costs:
        for goal in costs:
            if peer == goal:
                continue
            route = routes[peer].to(goal)
            assert route is not None and route.via in costs[peer]
            rest = routes[route.via].to(goal)
            left = 0 if rest is None else rest.cost_ms
            assert route.cost_ms == left + (1 << costs[peer][route.via] - 1)
            assert (rest is None) == (route.via == goal)


def test_a_thousand_peers_cost_milliseconds() -> None:
    costs = mesh(Random(1), 1000)
    own = min(costs)
    reach = reach_of(own, costs)
    took = []
    for _ in range(10):
        routes = Routes(own, reach)
        began = process_time()
        assert routes.to(max(costs)) is not None
        took.append(process_time() - began)
    assert min(took) < 0.02
