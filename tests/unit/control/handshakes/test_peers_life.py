"""The life of sessions, and peers and forwarders that come and go."""

from __future__ import annotations

import pytest

from crypto import lifetime
from crypto.handshake import Local
from crypto.keyring import Keyring
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.boundary import ProgressRow, SessionRow
from meshnet.control.handshakes.known_peers import FORMER_STATIC_S
from meshnet.control.handshakes.peer_output import DropSession, InstallSession, PeerState, SendDatagram
from meshnet.control.handshakes.peers import Peers
from meshnet.control.handshakes.trying import CONFIRM_S
from tests.unit.control.handshaking import (
    AT_LARGE,
    AT_SMALL,
    LARGE,
    LARGE_ID,
    MESH,
    SECRET,
    SMALL,
    SMALL_ID,
    STRANGER,
    WALL_NS,
    forged,
    large_knows_small,
    offer_at,
    only,
    row,
    shake,
    small_knows_large,
)

NEXT = MeshSecret(1, b"n" * 32)


@pytest.fixture
def small() -> Peers:
    return small_knows_large()


@pytest.fixture
def large() -> Peers:
    return large_knows_small()


# --- the life of a session


@pytest.mark.parametrize(
    ("age", "sent", "sent_age", "received_age", "initiator", "expected"),
    [
        (119.0, 5, 0.0, 0.0, True, False),
        (121.0, 5, 0.0, 0.0, True, True),
        (121.0, 5, 0.0, 0.0, False, False),
        (130.0, 5, 20.0, 0.0, True, False),  # nothing was sent since the key was 120 s old
        (164.0, 0, -1.0, 0.0, True, False),
        (166.0, 0, -1.0, 0.0, True, True),
        (166.0, 0, -1.0, 0.0, False, False),
        (5.0, lifetime.REKEY_AFTER_RECORDS, 0.0, 0.0, True, True),
        (5.0, lifetime.REKEY_AFTER_RECORDS, 0.0, 0.0, False, True),
    ],
)
def test_when_keys_are_changed(
    small: Peers, large: Peers, age: float, sent: int, sent_age: float, received_age: float, initiator: bool,
    expected: bool,
) -> None:  # fmt: skip
    ours, theirs = shake(small, large, LARGE_ID, 0.0)
    large.progressed([row(theirs, received=1, ages=(-1.0, 0.0))], 1.0)
    peers, session = (small, ours) if initiator else (large, theirs)
    outputs = peers.progressed([row(session, sent=sent, received=9, ages=(sent_age, received_age))], age)
    assert [type(output) for output in outputs] == ([SendDatagram] if expected else [])
    if expected:
        repeated = peers.progressed([row(session, sent=sent, received=9, ages=(sent_age, 0.0))], age + 0.5)
        assert repeated == [], "one attempt at a time"


def test_a_frame_without_an_answer_brings_a_new_handshake(small: Peers, large: Peers) -> None:
    ours, _ = shake(small, large, LARGE_ID, 0.0)
    small.progressed([row(ours, sent=1, ages=(0.0, -1.0))], 20.0)
    assert small.next_timer() == 35.0 and small.handle_timer(34.9) == []
    only(small.handle_timer(35.0), SendDatagram)


def test_an_answer_ends_the_wait(small: Peers, large: Peers) -> None:
    ours, _ = shake(small, large, LARGE_ID, 0.0)
    small.progressed([row(ours, sent=1, ages=(0.0, -1.0))], 20.0)
    small.progressed([row(ours, sent=1, received=1, ages=(10.0, 0.0))], 30.0)
    assert small.next_timer() == 180.0


def test_a_session_ends_with_its_key(small: Peers, large: Peers) -> None:
    ours, theirs = shake(small, large, LARGE_ID, 0.1)
    assert small.next_timer() == large.next_timer() == 180.1
    assert small.handle_timer(180.0) == []
    assert small.handle_timer(180.1) == [DropSession(ours.local_index), PeerState(LARGE_ID, "idle")]
    assert large.handle_timer(180.1) == [DropSession(theirs.local_index)]
    assert small.next_timer() is large.next_timer() is None


def test_a_lost_session_is_made_again_when_it_is_wanted(small: Peers, large: Peers) -> None:
    ours, _ = shake(small, large, LARGE_ID, 0.0)
    assert small.wanted(LARGE_ID, 1.0) == [], "the wish crossed the installation"
    assert small.session_lost(ours.local_index) == [PeerState(LARGE_ID, "idle")]
    assert small.session_lost(ours.local_index) == []
    only(small.wanted(LARGE_ID, 1.0), SendDatagram)


def test_a_session_the_peer_just_made_is_given_time_to_prove_itself(small: Peers, large: Peers) -> None:
    _, theirs = shake(small, large, LARGE_ID, 0.0)
    assert large.wanted(SMALL_ID, 0.5) == [PeerState(SMALL_ID, "connecting")]
    assert large.next_timer() == CONFIRM_S
    assert large.progressed([row(theirs, received=1, ages=(-1.0, 0.0))], 1.0) == [PeerState(SMALL_ID, "up")]
    assert large.handle_timer(CONFIRM_S) == []


def test_a_session_that_proves_itself_late_does_not_replace_a_newer_one(small: Peers, large: Peers) -> None:
    _, older = shake(small, large, LARGE_ID, 0.0)
    newer = only(large.wanted(SMALL_ID, 3.0), SendDatagram)
    answer = only(small.receive(AT_LARGE, newer.data, 3.0), SendDatagram)
    installed = only(large.receive(AT_SMALL, answer.data, 3.0), InstallSession)
    large.progressed([row(older, received=1, ages=(-1.0, 0.5))], 3.5)
    assert large.view(SMALL_ID, 4.0).session_age_s == 1.0
    large.session_lost(installed.local_index)
    assert large.view(SMALL_ID, 4.0).session_age_s is None


def test_a_moved_peer_is_tried_at_its_new_address(small: Peers, large: Peers) -> None:
    ours, _ = shake(small, large, LARGE_ID, 0.0)
    moved = ("198.51.100.1", 4)
    small.moved(LARGE_ID, moved)
    small.moved(b"x" * 32, moved)
    small.session_lost(ours.local_index)
    assert only(small.wanted(LARGE_ID, 9.0), SendDatagram).address == moved


# --- peers and forwarders that come and go


def test_a_peer_with_a_new_forwarder_is_tried_at_once_unless_the_session_is_with_that_one(
    small: Peers, large: Peers
) -> None:
    shake(small, large, LARGE_ID, 0.0)
    assert small.rebooted(LARGE_ID, bytes(8), 1.0) == []
    (sent,) = (output for output in small.rebooted(LARGE_ID, b"new boot", 1.0) if isinstance(output, SendDatagram))
    assert sent.address == AT_LARGE
    assert small.rebooted(b"nobody" * 6, b"new boot", 1.0) == []
    # While it is being tried, the news is worth a try at once instead of after the retry's delay.
    (again,) = (output for output in small.rebooted(LARGE_ID, b"new boot", 1.5) if isinstance(output, SendDatagram))
    assert again.data != sent.data


def test_forgetting_ends_everything(small: Peers, large: Peers) -> None:
    ours, _ = shake(small, large, LARGE_ID, 0.0)
    assert small.forget(LARGE_ID) == [DropSession(ours.local_index), PeerState(LARGE_ID, "idle")]
    assert small.forget(LARGE_ID) == [] and small.next_timer() is None
    assert small.progressed([row(ours, sent=1, ages=(0.0, 0.0))], 1.0) == []
    assert small.receive(AT_LARGE, forged(offer_at(WALL_NS), LARGE, SMALL), 1.0) == []
    assert small.counters == {"initiation of an unknown peer": 1}


def test_a_forgotten_peer_s_answer_is_refused(small: Peers, large: Peers) -> None:
    sent = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    answer = only(large.receive(AT_SMALL, sent.data, 0.0), SendDatagram)
    small.forget(LARGE_ID)
    assert small.receive(AT_LARGE, answer.data, 0.1) == []


def test_a_peer_s_changed_static_key_ends_nothing_and_the_former_one_counts_ten_minutes(
    small: Peers, large: Peers
) -> None:
    shake(small, large, LARGE_ID, 0.0)
    assert small.know(LARGE_ID, STRANGER.public, [AT_LARGE], (), 10.0) == []
    assert small.view(LARGE_ID, 10.0).state == "up"
    assert small.receive(AT_LARGE, forged(offer_at(WALL_NS + 1), LARGE, SMALL), 11.0)
    assert small.receive(AT_LARGE, forged(offer_at(WALL_NS + 2), STRANGER, SMALL), 11.0)
    drop_all(small, until=10.0 + FORMER_STATIC_S)
    assert small.receive(AT_LARGE, forged(offer_at(WALL_NS + 3), LARGE, SMALL), 999.0) == []
    assert small.counters == {"initiation of an unknown peer": 1}
    assert small.receive(AT_LARGE, forged(offer_at(WALL_NS + 4), STRANGER, SMALL), 999.0)


def drop_all(peers: Peers, until: float) -> None:
    """Lets every timer fire up to then."""
    while (due := peers.next_timer()) is not None and due <= until:
        peers.handle_timer(due)


def test_nobody_takes_another_peer_s_static_key_or_ours(small: Peers, large: Peers) -> None:
    small.know(b"t" * 32, LARGE.public, [AT_SMALL], (), 0.0)
    small.know(b"u" * 32, SMALL.public, [AT_SMALL], (), 0.0)
    assert small.wanted(b"t" * 32, 0.0) == small.wanted(b"u" * 32, 0.0) == []
    assert not small.knows(b"t" * 32) and small.knows(LARGE_ID)
    assert only(small.wanted(LARGE_ID, 0.0), SendDatagram).address == AT_LARGE
    # Nor a key that another had a moment ago; and who claims another's loses what it had.
    small.know(b"t" * 32, STRANGER.public, [AT_SMALL], (), 0.0)
    small.know(b"t" * 32, LARGE.public, [AT_SMALL], (), 0.0)
    assert not small.knows(b"t" * 32)


def test_our_own_change_of_keys_ends_nothing(small: Peers, large: Peers) -> None:
    first = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    rekeyed = Local(MESH, Suite.AESGCM, Keyring(SECRET).installed(NEXT).switched(), STRANGER, SMALL)
    small.rekeyed(rekeyed)
    answer = only(large.receive(AT_SMALL, first.data, 0.1), SendDatagram)
    assert only(small.receive(AT_LARGE, answer.data, 0.2), InstallSession), "it was in flight"
    small.know(LARGE_ID, LARGE.public, [AT_LARGE], [SECRET.tag()], 1.0)
    again = only(small.rebooted(LARGE_ID, b"new boot", 1.0), SendDatagram)
    assert again.data[1] == SECRET.epoch, "under the secret that the peer holds"
    large.know(SMALL_ID, STRANGER.public, [AT_SMALL], (), 1.0)
    assert only(large.receive(AT_SMALL, again.data, 1.1), InstallSession)
    assert small.receive(AT_LARGE, forged(offer_at(WALL_NS), LARGE, SMALL), 9.0), "to our former keys"


def test_adopted_sessions_go_on_and_old_ones_are_made_anew(small: Peers) -> None:
    small.know(b"t" * 32, STRANGER.public, [AT_SMALL], (), 0.0)
    rows = [
        SessionRow(1, LARGE_ID, 50.0, True, True, AT_LARGE),
        SessionRow(2, LARGE_ID, 150.0, True, False, AT_LARGE),
        SessionRow(3, b"t" * 32, 101.0, False, True, AT_SMALL),
        SessionRow(4, b"x" * 32, 10.0, True, True, AT_SMALL),
    ]
    outputs = small.adopted(rows, 1000.0)
    assert only(outputs, DropSession) == DropSession(4)
    assert only(outputs, SendDatagram).address == AT_SMALL, "the one over 100 s"
    assert {output for output in outputs if isinstance(output, PeerState)} == {
        PeerState(LARGE_ID, "up"),
        PeerState(b"t" * 32, "up"),
    }
    assert small.view(LARGE_ID, 1000.0).session_age_s == 50.0
    assert small.progressed([ProgressRow(2, 0, 5, 0, 0, -1.0, 0.0)], 1001.0) == []
    assert small.view(LARGE_ID, 1001.0).session_age_s == 51.0
    assert DropSession(2) in small.handle_timer(1030.0)


def test_a_new_forwarder_gets_new_sessions_the_busiest_first(small: Peers, large: Peers) -> None:
    small.know(b"t" * 32, STRANGER.public, [AT_SMALL], (), 0.0)
    small.adopted(
        [SessionRow(1, LARGE_ID, 5.0, True, True, AT_LARGE), SessionRow(2, b"t" * 32, 5.0, True, True, AT_SMALL)], 100.0
    )
    small.progressed([ProgressRow(1, 10, 10, 0, 0, 0.0, 0.0), ProgressRow(2, 99, 9, 0, 0, 0.0, 0.0)], 101.0)
    outputs = small.restarted(b"newboot!", 102.0)
    sent = [output.address for output in outputs if isinstance(output, SendDatagram)]
    assert sent == [AT_SMALL, AT_LARGE]
    assert PeerState(LARGE_ID, "connecting") in outputs
    assert small.session_lost(1) == [] and not any(isinstance(output, DropSession) for output in outputs)
