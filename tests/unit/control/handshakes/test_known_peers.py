"""The books of handshakes: whatever leads to a peer is gone when the peer is, and nothing else."""

from __future__ import annotations

import random

from crypto.handshake import initiate
from meshnet.control.handshakes.freshness import Freshness
from meshnet.control.handshakes.known_peers import FORMER_STATIC_S, FORMER_STATICS_KEPT, KnownPeers
from meshnet.control.handshakes.remote import SESSIONS_MAX, Attempt, Remote, Session
from tests.unit.control.handshaking import LARGE, SMALL, WALL_NS, local, offer_at

HERE, THERE = ("192.0.2.1", 6799), ("192.0.2.2", 6799)
ONE, TWO, THREE, FOUR = (bytes([number]) * 32 for number in range(1, 5))


def remote(peer_id: bytes = ONE, static: bytes = ONE) -> Remote:
    return Remote(peer_id, static, (HERE,), (), Freshness(bytes(12)))


def books() -> KnownPeers:
    return KnownPeers(random.Random(1).randbytes)


def begun(known: KnownPeers, peer: Remote) -> int:
    """An initiation to the peer is in flight; its index."""
    made = initiate(local(SMALL), LARGE.public, known.new_index(), offer_at(WALL_NS), random.Random(2).randbytes)
    peer.attempt = Attempt(0.0, 1.0, initiation=made)
    known.sent(peer, made)
    return made.sender_index


def test_former_static_keys_are_found_for_a_time_and_bounded() -> None:
    known, peer = books(), remote()
    known.add(peer)
    known.change_static(peer, TWO, 100.0)
    assert known.by_static(ONE) is known.by_static(TWO) is peer
    assert peer.due() == 100.0 + FORMER_STATIC_S
    known.change_static(peer, THREE, 200.0)
    known.forget_former_statics(peer, 100.0 + FORMER_STATIC_S)
    assert known.by_static(ONE) is None and known.by_static(TWO) is known.by_static(THREE) is peer
    known.change_static(peer, TWO, 900.0)
    assert [static for static, _ in peer.former] == [THREE], "the one it went back to is no former one"
    for number in range(10, 20):
        known.change_static(peer, bytes([number]) * 32, 900.0)
    assert len(peer.former) == FORMER_STATICS_KEPT and known.by_static(TWO) is None


def test_only_peers_with_something_that_has_its_time_stir() -> None:
    known, peers = books(), [remote(one, one) for one in (ONE, TWO, THREE)]
    for peer in peers:
        known.add(peer)
    assert known.stirring() == []
    known.add_session(peers[0], Session(7, True, 0.0, True))
    known.change_static(peers[1], FOUR, 0.0)
    peers[2].attempt = Attempt(0.0, 1.0)
    known.stir(peers[2])
    assert known.stirring() == peers
    known.lose(peers[0], 7)
    peers[2].attempt = None
    assert known.stirring() == [peers[1]]
    known.remove(peers[1])
    assert known.stirring() == []


def test_a_removed_peer_leaves_nothing() -> None:
    known, peer, other = books(), remote(), remote(TWO, TWO)
    known.add(peer)
    known.add(other)
    known.change_static(peer, THREE, 0.0)
    known.add_session(peer, Session(7, True, 0.0, True))
    known.prove(peer, HERE)
    known.prove(other, THERE)
    index = begun(known, peer)
    known.remove(peer)
    assert known.by_static(ONE) is known.by_static(THREE) is known.of_session(7) is known.of_initiation(index) is None
    assert list(known.remotes) == [TWO] and known.under_way == 0
    assert not known.is_proved(HERE) and known.is_proved(THERE)
    assert known.by_static(TWO) is other


def test_an_address_stays_proved_while_one_of_two_peers_is_there() -> None:
    known, peer, other = books(), remote(), remote(TWO, TWO)
    known.prove(peer, HERE)
    known.prove(other, HERE)
    known.prove(peer, THERE)
    assert known.is_proved(HERE) and known.is_proved(THERE)
    known.prove(other, THERE)
    assert not known.is_proved(HERE)


def test_sessions_that_made_room_are_found_no_more() -> None:
    known, peer = books(), remote()
    for index in range(1, SESSIONS_MAX + 3):
        known.add_session(peer, Session(index, False, 0.0, False))
    assert known.of_session(1) is known.of_session(2) is None and known.of_session(3) is peer
    known.lose(peer, 3)
    assert known.of_session(3) is None and 3 not in peer.sessions


def test_an_index_in_use_is_not_given_again() -> None:
    script = [bytes(4), b"\0\0\0\7", b"\0\0\0\7", b"\0\0\0\x09"]
    known, peer = KnownPeers(lambda size: script.pop(0)), remote()
    first = begun(known, peer)
    known.add_session(peer, Session(8, True, 0.0, True))
    assert (first, known.new_index()) == (7, 9)
    known.abandon(peer)
    assert known.of_initiation(7) is None and peer.attempt is not None and peer.attempt.initiation is None
