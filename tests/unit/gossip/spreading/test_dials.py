from __future__ import annotations

from itertools import pairwise
from random import Random

from gossip import limits
from gossip.spreading.dials import Dialer, ring

ME = bytes(32)
PEERS = [bytes([n]) * 32 for n in range(1, 51)]


class Mesh:
    """A dialer and whom the graph of links reaches for it."""

    def __init__(self, count: int, reached: list[bytes] | None = None) -> None:
        self.reached = dict.fromkeys(reached or [])
        self.dialer = Dialer(ME, Random(1), lambda peer: peer in self.reached)
        for peer in PEERS[:count]:
            self.dialer.know(peer, 0.0)

    def run(self, until: float, links: bool, since: float = 0.0) -> list[tuple[float, bytes]]:
        """Every dial up to that time; each brings a link at once, or none does."""
        tries: list[tuple[float, bytes]] = []
        now: float | None = since
        while now is not None and now < until:
            for peer in self.dialer.due(now):
                tries.append((now, peer))
                if links:
                    self.dialer.linked(peer, now)
                    self.reached[peer] = None
            upcoming = self.dialer.next_time()
            assert upcoming is None or upcoming > now or links
            now = upcoming
        return tries


def test_a_small_mesh_is_dialled_whole_and_a_large_one_in_part() -> None:
    assert sorted(peer for _, peer in Mesh(5).run(1.0, links=True)) == PEERS[:5]
    large = Mesh(50, PEERS)
    tries = large.run(1.0, links=True)
    assert 0 < len(tries) <= limits.TARGET_LINKS - limits.RING_LINKS, "the circle's links come later, and to here too"
    large.dialer.review(1.0)
    tries += large.run(60.0, links=True, since=1.0)
    assert len({peer for _, peer in tries}) == len(tries) <= limits.TARGET_LINKS + limits.RING_LINKS
    assert {*PEERS[: limits.RING_LINKS]} <= {peer for _, peer in tries}
    assert large.dialer.next_time() is None and large.dialer.due(999.0) == []


def test_the_circle_wants_the_next_ones_and_waits_until_they_stay_the_same() -> None:
    assert ring(b"5", [b"7", b"1", b"9", b"3"], 2) == [b"7", b"9"]
    assert ring(b"9", [b"7", b"1", b"3"], 2) == [b"1", b"3"]
    mesh = Mesh(50, PEERS[5:])
    for peer in PEERS[40 : 40 + limits.TARGET_LINKS]:
        mesh.dialer.linked(peer, 0.0)
    mesh.dialer.review(0.0)
    early = [peer for _, peer in mesh.run(limits.RING_PATIENCE_S / 2, links=False)]
    assert not mesh.dialer.in_ring(PEERS[0]) and mesh.dialer.in_ring(PEERS[5]) and PEERS[5] not in early
    mesh.reached.update(dict.fromkeys(PEERS[:5]))
    mesh.dialer.review(0.5)
    tries = mesh.run(10.0, links=True, since=0.5)
    assert {peer for _, peer in tries} == {*PEERS[: limits.RING_LINKS]}, "who is the next one now"
    assert all(at >= 0.5 + limits.RING_PATIENCE_S / 2 for at, _ in tries)


def test_a_peer_of_the_circle_that_cannot_be_dialled_is_made_up_for() -> None:
    mesh = Mesh(50, PEERS)
    for peer in PEERS[40 : 38 + limits.TARGET_LINKS]:
        mesh.dialer.linked(peer, 0.0)
    mesh.dialer.review(0.0)
    now = 0.0
    linked = limits.TARGET_LINKS - 2
    while now < 60.0:
        for peer in mesh.dialer.due(now):
            if peer not in PEERS[: limits.RING_LINKS]:
                mesh.dialer.linked(peer, now)
                linked += 1
        now += 0.25
    assert linked == limits.TARGET_LINKS


def test_a_dead_peer_is_tried_ever_more_rarely_but_at_least_every_thirty_seconds() -> None:
    tries = [at for at, _ in Mesh(1).run(300.0, links=False)]
    gaps = [right - left for left, right in pairwise(tries)]
    assert gaps[0] <= limits.FIRST_DIAL_S and limits.MAX_DIAL_S / 2 <= gaps[-1] <= limits.MAX_DIAL_S
    assert len(tries) < 25


def test_with_links_enough_one_that_is_not_reached_is_tried_now_and_then() -> None:
    mesh = Mesh(50, PEERS[:25])
    for peer in PEERS[: limits.TARGET_LINKS]:
        mesh.dialer.linked(peer, 0.0)
    mesh.dialer.review(0.0)
    tries = mesh.run(300.0, links=False)
    assert all(peer in PEERS[25:] for _, peer in tries)
    gaps = [right - left for (left, _), (right, _) in pairwise([(0.0, b""), *tries])]
    assert max(gaps) <= limits.MAX_DIAL_S and len(tries) <= 300 / (limits.MAX_DIAL_S / 2) + 1
    mesh.reached.update(dict.fromkeys(PEERS))
    mesh.dialer.review(300.0)
    assert mesh.run(900.0, links=False, since=300.0) == []


def test_few_dials_begin_at_a_time_and_their_places_become_free_again() -> None:
    mesh = Mesh(20)
    assert len(mesh.dialer.due(0.0)) == limits.MAX_NEW_DIALS and mesh.dialer.due(limits.DIAL_GAP_S / 2) == []
    tries = [at for at, _ in mesh.run(limits.DIAL_PATIENCE_S, links=False)]
    assert len(tries) + limits.MAX_NEW_DIALS == limits.TARGET_LINKS - 2 * limits.RING_LINKS
    assert len(mesh.dialer.due(limits.DIAL_PATIENCE_S)) == limits.MAX_NEW_DIALS, "the first count no longer"


def test_reached_peers_are_dialled_before_the_others() -> None:
    mesh = Mesh(50, PEERS[30:33])
    assert all(peer in PEERS[30:33] for peer in mesh.dialer.due(0.0))


def test_new_addresses_and_a_link_that_lasted_reset_the_pause() -> None:
    made = Mesh(1).dialer
    for now in (0.0, 6.0, 12.0, 20.0):
        made.due(now)
    made.know(PEERS[0], 26.0)
    assert made.due(26.0) == [PEERS[0]]
    made.linked(PEERS[0], 27.0)
    made.unlinked(PEERS[0], 27.0 + limits.SILENCE_S)
    made.due(27.0 + limits.SILENCE_S)
    upcoming = made.next_time()
    assert upcoming is not None and upcoming <= 27.0 + limits.SILENCE_S + limits.FIRST_DIAL_S
    made.forget(PEERS[0])
    assert made.due(99.0) == [] and made.next_time() is None


def test_a_review_that_nothing_calls_for_is_spared() -> None:
    mesh = Mesh(50, PEERS)
    mesh.dialer.settle(0.0)
    mesh.reached.clear()
    mesh.dialer.settle(1.0)
    assert mesh.dialer.in_ring(PEERS[0]), "nobody said that something changed"
    mesh.dialer.linked(PEERS[9], 2.0)
    mesh.dialer.settle(2.0)
    assert not mesh.dialer.in_ring(PEERS[0]) and mesh.dialer.in_ring(PEERS[9])
    mesh.dialer.forget(PEERS[9])
    mesh.dialer.unlinked(PEERS[9], 3.0)
    mesh.dialer.settle(3.0)
    assert not mesh.dialer.in_ring(PEERS[9])
