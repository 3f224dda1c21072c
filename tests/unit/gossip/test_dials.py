from __future__ import annotations

from itertools import pairwise
from random import Random

from gossip import limits
from gossip.dials import Dialer

PEERS = [bytes([n]) * 32 for n in range(50)]


def dialer(count: int) -> Dialer:
    made = Dialer(Random(1))
    for peer in PEERS[:count]:
        made.know(peer, 0.0)
    return made


def test_a_small_mesh_is_dialled_whole_and_a_large_one_in_part() -> None:
    assert sorted(dialer(5).due(0.0)) == PEERS[:5]
    large = dialer(50)
    chosen = large.due(0.0)
    assert len(set(chosen)) == limits.TARGET_LINKS
    assert large.due(0.0) == []
    for peer in chosen:
        large.linked(peer, 0.1)
    assert large.next_time() is None and large.due(99.0) == []


def test_a_dead_peer_is_tried_ever_more_rarely_but_at_least_every_thirty_seconds() -> None:
    made = dialer(1)
    tries: list[float] = []
    now = 0.0
    while now < 300:
        if made.due(now):
            tries.append(now)
        upcoming = made.next_time()
        assert upcoming is not None and upcoming > now
        now = upcoming
    gaps = [right - left for left, right in pairwise(tries)]
    assert gaps[0] <= limits.FIRST_DIAL_S and limits.MAX_DIAL_S / 2 <= gaps[-1] <= limits.MAX_DIAL_S
    assert len(tries) < 25


def test_places_under_way_become_free_again() -> None:
    made = dialer(20)
    assert len(made.due(0.0)) == limits.TARGET_LINKS
    upcoming = made.next_time()
    assert upcoming == limits.DIAL_PATIENCE_S
    assert len(made.due(upcoming)) == limits.TARGET_LINKS


def test_new_addresses_and_a_link_that_lasted_reset_the_pause() -> None:
    made = dialer(1)
    for now in (0.0, 2.0, 6.0, 20.0):
        made.due(now)
    made.know(PEERS[0], 21.0)
    assert made.due(21.0) == [PEERS[0]]
    made.linked(PEERS[0], 22.0)
    made.unlinked(PEERS[0], 22.0 + limits.SILENCE_S)
    upcoming = made.next_time()
    assert upcoming is not None and upcoming <= 22.0 + limits.SILENCE_S + limits.FIRST_DIAL_S
    made.forget(PEERS[0])
    assert made.next_time() is None
