"""The handshakes of all peers, one rule at a time. Two hosts over a bad link are in tests/sim."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crypto.cookie import REPLY_SIZE
from crypto.handshake import INITIATION_SIZE, RESPONSE_SIZE, mac1, mac1_key
from crypto.keys import StaticKey
from meshnet.boundary import Address
from meshnet.control.handshakes import trying
from meshnet.control.handshakes.answering import RACE_S
from meshnet.control.handshakes.peer_output import InstallSession, PeerState, PeerView, SendDatagram
from meshnet.control.handshakes.peers import COMPUTED_BURST, COMPUTED_RESERVE, Peers
from meshnet.control.handshakes.trying import PENDING_MAX
from tests.unit.control.handshaking import (
    AT_LARGE,
    AT_SMALL,
    LARGE,
    LARGE_ID,
    RESERVED,
    SECRET,
    SMALL,
    SMALL_ID,
    STRANGER,
    WALL_NS,
    forged,
    large_knows_small,
    local,
    offer_at,
    only,
    peers_of,
    row,
    small_knows_large,
)


@pytest.fixture
def small() -> Peers:
    return small_knows_large()


@pytest.fixture
def large() -> Peers:
    return large_knows_small()


# --- the plain case


def test_a_session_is_made_and_both_ends_agree(small: Peers, large: Peers) -> None:
    begun = small.wanted(LARGE_ID, 10.0)
    sent = only(begun, SendDatagram)
    assert sent.address == AT_LARGE and len(sent.data) == INITIATION_SIZE
    assert begun == [sent, PeerState(LARGE_ID, "connecting")]
    assert small.wanted(LARGE_ID, 10.1) == []
    answer = large.receive(AT_SMALL, sent.data, 10.2)
    assert [type(output) for output in answer] == [InstallSession, SendDatagram], "installed before it is answered"
    theirs, response = only(answer, InstallSession), only(answer, SendDatagram)
    assert response.address == AT_SMALL and len(response.data) == RESPONSE_SIZE
    done = small.receive(AT_LARGE, response.data, 10.3)
    ours = only(done, InstallSession)
    assert done == [ours, PeerState(LARGE_ID, "up")]
    assert (ours.initiator, theirs.initiator, ours.peer_id, theirs.peer_id) == (True, False, LARGE_ID, SMALL_ID)
    assert (ours.local_index, ours.remote_index) == (theirs.remote_index, theirs.local_index)
    assert (ours.send_key, ours.receive_key) == (theirs.receive_key, theirs.send_key)
    assert (ours.features, theirs.features) == (4, 31)
    assert ours.largest_record == theirs.largest_record == 32_000 and ours.version == theirs.version == 1
    assert (ours.address, theirs.address) == (AT_LARGE, AT_SMALL)
    assert str(ours.send_key) not in repr(ours)
    assert large.view(SMALL_ID, 10.3).state == "idle"
    assert large.progressed([row(theirs, received=1, ages=(-1.0, 0.0))], 11.0) == [PeerState(SMALL_ID, "up")]
    assert small.view(LARGE_ID, 12.3) == PeerView("up", 2.0, AT_LARGE)


def test_who_is_not_known(small: Peers, large: Peers) -> None:
    assert small.wanted(b"x" * 32, 0.0) == [] and small.view(b"x" * 32, 0.0).state == "idle"
    assert large.receive(AT_SMALL, forged(offer_at(WALL_NS), STRANGER), 0.0) == []
    assert large.counters == {"initiation of an unknown peer": 1}
    assert large.next_timer() is None


def test_indexes_are_random_not_zero_and_unique() -> None:
    rng = random.Random(3)
    script = [bytes(4), b"\0\0\0\1", b"\0\0\0\1", b"\0\0\0\2"]
    peers = Peers(
        local(SMALL), bytes(8), rng=rng, wall_ns=lambda: WALL_NS, features=0, largest_record=9_000, reserved=b"",
        entropy=lambda size: script.pop(0) if size == 4 else rng.randbytes(size),
    )  # fmt: skip
    peers.stamps_reserved(RESERVED, 0.0)
    for peer_id, static in ((LARGE_ID, LARGE), (b"t" * 32, STRANGER)):
        peers.know(peer_id, static.public, [AT_LARGE], (), 0.0)
    made = [only(peers.wanted(peer_id, 0.0), SendDatagram).data[4:8] for peer_id in (LARGE_ID, b"t" * 32)]
    assert made == [b"\0\0\0\1", b"\0\0\0\2"] and not script


# --- retries


def test_retries_take_the_addresses_in_turn_and_give_up(small: Peers) -> None:
    other: Address = ("198.51.100.7", 1)
    small.know(LARGE_ID, LARGE.public, [AT_LARGE, other], (), 0.0)
    sent = [(0.0, only(small.wanted(LARGE_ID, 0.0), SendDatagram))]
    states = []
    while (due := small.next_timer()) is not None:
        for output in small.handle_timer(due):
            if isinstance(output, SendDatagram):
                sent.append((due, output))
            else:
                states.append((due, output))
    gaps = [later - earlier for (earlier, _), (later, _) in pairwise(sent)]
    assert all(1 <= gap < 1.34 for gap in gaps[:2]) and all(5 <= gap < 5.34 for gap in gaps[2:])
    assert [datagram.address for _, datagram in sent[:4]] == [AT_LARGE, other, AT_LARGE, other]
    assert len({datagram.data for _, datagram in sent}) == len(sent) > 15, "each try is a new initiation"
    assert len(states) == 1 and states[0][1] == PeerState(LARGE_ID, "down") and 90 <= states[0][0] < 96
    assert only(small.wanted(LARGE_ID, 200.0), SendDatagram).address == AT_LARGE


def test_only_the_newest_initiation_may_be_answered(small: Peers, large: Peers) -> None:
    first = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    second = only(small.handle_timer(2.0), SendDatagram)
    early = only(large.receive(AT_SMALL, first.data, 2.0), SendDatagram)
    late = only(large.receive(AT_SMALL, second.data, 2.0), SendDatagram)
    assert small.receive(AT_LARGE, early.data, 2.1) == []
    assert small.counters == {"response to no initiation of ours": 1}
    only(small.receive(AT_LARGE, late.data, 2.1), InstallSession)
    assert small.receive(AT_LARGE, late.data, 2.2) == [], "a replayed response"


def test_a_peer_without_an_address_is_tried_when_one_is_known(small: Peers) -> None:
    small.know(LARGE_ID, LARGE.public, [], (), 0.0)
    assert small.wanted(LARGE_ID, 0.0) == [PeerState(LARGE_ID, "connecting")]
    small.know(LARGE_ID, LARGE.public, [AT_LARGE], (), 0.0)
    due = small.next_timer()
    assert due is not None and due < 2
    assert only(small.handle_timer(due), SendDatagram).address == AT_LARGE


def test_a_static_key_that_is_none_ends_the_attempt(small: Peers) -> None:
    small.know(b"z" * 32, bytes(32), [AT_LARGE], (), 0.0)
    assert small.wanted(b"z" * 32, 0.0) == [PeerState(b"z" * 32, "down")]
    assert small.counters == {"public key of low order": 1} and small.next_timer() is None


# --- freshness, bounds


def test_an_initiation_counts_once_and_only_if_newer(large: Peers) -> None:
    newer, older = forged(offer_at(WALL_NS + 1)), forged(offer_at(WALL_NS))
    only(large.receive(AT_SMALL, newer, 0.0), InstallSession)
    assert large.receive(AT_SMALL, newer, 0.0) == []
    reply = only(large.receive(AT_SMALL, older, 0.0), SendDatagram)
    assert (reply.address, len(reply.data)) == (AT_SMALL, REPLY_SIZE), "asked to show that it is new"
    assert large.counters == {"initiation that was taken before": 1, "initiation that is not newer than the last": 1}
    only(large.receive(AT_SMALL, forged(offer_at(WALL_NS + 2)), 0.0), InstallSession)


def test_our_own_stamps_grow_though_the_clock_stands_still(small: Peers, large: Peers) -> None:
    small.wanted(LARGE_ID, 0.0)
    for now in (2.0, 8.0, 14.0):
        assert large.receive(AT_SMALL, only(small.handle_timer(now), SendDatagram).data, now)
    assert not large.counters


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"min_version": 2, "max_version": 3}, "initiation without a wire version of ours"),
        ({"largest_record": 100}, "handshake with an impossible record size"),
    ],
)
def test_offers_that_cannot_be_met(large: Peers, change: dict[str, int], reason: str) -> None:
    assert large.receive(AT_SMALL, forged(offer_at(WALL_NS, **change)), 0.0) == []
    assert large.counters == {reason: 1}
    assert large.receive(AT_SMALL, forged(offer_at(WALL_NS)), 0.0), "its stamp was not spent"


def test_a_budget_of_answers(large: Peers) -> None:
    free = COMPUTED_BURST - COMPUTED_RESERVE
    initiations = [
        forged(offer_at(WALL_NS), StaticKey.generate(random.Random(n).randbytes)) for n in range(9, free + 29)
    ]
    for initiation in initiations:
        assert large.receive(AT_LARGE, initiation, 0.0) == []
    assert large.counters == {"initiation of an unknown peer": free, "more handshakes than are computed": 20}
    assert large.receive(AT_SMALL, forged(offer_at(WALL_NS)), 0.5), "there is room again"


def test_handshakes_under_way_are_bounded(small: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PENDING_MAX >= 100
    monkeypatch.setattr(trying, "PENDING_MAX", 1)
    small.know(b"t" * 32, STRANGER.public, [AT_SMALL], (), 0.0)
    only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    assert small.wanted(b"t" * 32, 0.0) == [PeerState(b"t" * 32, "connecting")]
    small.forget(LARGE_ID)
    assert only(small.handle_timer(2.0), SendDatagram).address == AT_SMALL


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200), st.integers(0, INITIATION_SIZE), st.booleans())
def test_no_datagram_raises(data: bytes, position: int, whole: bool) -> None:
    large = peers_of(LARGE)
    large.know(SMALL_ID, SMALL.public, [AT_SMALL], (), 0.0)
    genuine = forged(offer_at(WALL_NS))
    datagram = data if whole else genuine[:position] + data + genuine[position + len(data) :]
    key = mac1_key(SECRET.mac1_subkey(), LARGE.public)
    for candidate in (datagram, datagram[:-32] + mac1(key, datagram) + bytes(16)):
        large.receive(AT_SMALL, candidate, 0.0)


# --- both begin at once


def test_the_smaller_key_s_initiation_wins(small: Peers, large: Peers) -> None:
    from_small = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    from_large = only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    assert small.receive(AT_LARGE, from_large.data, 0.1) == []
    assert small.counters == {"initiation that lost a race": 1}
    answer = only(large.receive(AT_SMALL, from_small.data, 0.1), SendDatagram)
    only(small.receive(AT_LARGE, answer.data, 0.2), InstallSession)


def test_the_larger_key_abandons_its_own(small: Peers, large: Peers) -> None:
    from_large = only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    response = only(small.receive(AT_LARGE, from_large.data, 0.1), SendDatagram)
    from_small = forged(offer_at(WALL_NS + 5))
    session = only(large.receive(AT_SMALL, from_small, 0.2), InstallSession)
    assert large.receive(AT_SMALL, response.data, 0.3) == []
    assert large.counters == {"response to no initiation of ours": 1}
    due = large.next_timer()
    assert due is not None and 5.2 <= due < 5.6, "it tries again only if no record comes"
    confirmed = large.progressed([row(session, received=1, ages=(-1.0, 0.0))], 1.0)
    assert confirmed == [PeerState(SMALL_ID, "up")]
    assert large.handle_timer(6.0) == []


def test_the_larger_key_tries_again_when_the_winner_is_silent(large: Peers) -> None:
    only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    only(large.receive(AT_SMALL, forged(offer_at(WALL_NS)), 0.2), InstallSession)
    due = large.next_timer()
    assert due is not None
    only(large.handle_timer(due), SendDatagram)


def test_an_old_initiation_of_the_smaller_key_does_not_keep_it_from_answering(small: Peers, large: Peers) -> None:
    small.wanted(LARGE_ID, 0.0)
    from_large = only(large.wanted(SMALL_ID, RACE_S), SendDatagram)
    answer = small.receive(AT_LARGE, from_large.data, RACE_S)
    only(large.receive(AT_SMALL, only(answer, SendDatagram).data, RACE_S), InstallSession)


def test_the_winner_moves_to_where_the_loser_s_initiation_came_from(small: Peers, large: Peers) -> None:
    small.know(LARGE_ID, LARGE.public, [("203.0.113.9", 1)], (), 0.0)
    small.wanted(LARGE_ID, 0.0)
    from_large = only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    again = only(small.receive(AT_LARGE, from_large.data, 0.1), SendDatagram)
    assert again.address == AT_LARGE
    answer = only(large.receive(AT_SMALL, again.data, 0.1), SendDatagram)
    only(small.receive(AT_LARGE, answer.data, 0.2), InstallSession)
