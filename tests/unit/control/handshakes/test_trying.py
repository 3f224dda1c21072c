"""What this host begins: stamps that wait for the disk, cookies it was given, where a new session leads."""

from __future__ import annotations

import itertools
import random

import pytest

from crypto.cookie import SECRET_LIFE_S, cookie, has_mac2, seal_reply
from crypto.handshake import handshake_keys, read_initiation
from meshnet.boundary import Address
from meshnet.control.handshakes.peer_output import InstallSession, PeerState, ReserveStamps, SendDatagram
from meshnet.control.handshakes.peers import Peers
from meshnet.control.handshakes.trying import HURRIES_MAX, RESERVED_WITHIN_S
from tests.unit.control.handshaking import (
    AT_LARGE,
    AT_SMALL,
    LARGE,
    LARGE_ID,
    SMALL,
    SMALL_ID,
    WALL_NS,
    large_knows_small,
    local,
    only,
    small_knows_large,
)

ELSEWHERE: Address = ("198.51.100.7", 9)


def given(initiation: bytes, value: bytes) -> bytes:
    """The reply by which the large one's forwarder gives a cookie (16 bytes)."""
    (row,) = handshake_keys(local(LARGE).keyring, [LARGE])
    index = int.from_bytes(initiation[4:8])
    return seal_reply(row.cookie_key, row.epoch, index, initiation[-32:-16], value, bytes(24))


@pytest.fixture
def small() -> Peers:
    return small_knows_large()


# --- stamps


def unreserved(reserved: bytes = b"") -> Peers:
    rng, wall = random.Random(5), itertools.count(WALL_NS - 2 * 10**9, 10**6)
    peers = Peers(
        local(SMALL), bytes(8), entropy=rng.randbytes, rng=rng, wall_ns=lambda: next(wall), features=0,
        largest_record=9_000, reserved=reserved,
    )  # fmt: skip
    peers.know(LARGE_ID, LARGE.public, [AT_LARGE], (), 0.0)
    return peers


def test_no_initiation_leaves_before_its_stamp_is_reserved() -> None:
    peers = unreserved()
    begun = peers.wanted(LARGE_ID, 0.0)
    until = only(begun, ReserveStamps).until
    assert [type(output) for output in begun] == [ReserveStamps, PeerState]
    assert peers.handle_timer(RESERVED_WITHIN_S) == [], "the disk is slow"
    sent = only(peers.stamps_reserved(until, 1.5), SendDatagram)
    assert read_initiation(local(LARGE), sent.data).offer.stamp <= until
    assert peers.stamps_reserved(until, 1.6) == [], "nobody waits any more"


def test_an_attempt_that_waits_for_the_disk_ends_like_any_other() -> None:
    peers = unreserved()
    peers.wanted(LARGE_ID, 0.0)
    while (due := peers.next_timer()) is not None:
        outputs = peers.handle_timer(due)
    assert outputs == [PeerState(LARGE_ID, "down")] and due is None


def test_a_peer_that_initiates_meanwhile_is_answered_and_not_tried_at_once() -> None:
    peers = unreserved()
    until = only(peers.wanted(LARGE_ID, 0.0), ReserveStamps).until
    large = large_knows_small()
    first = only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    del large
    peers.receive(AT_LARGE, first.data, 0.1)
    assert not [o for o in peers.stamps_reserved(until, 0.2) if isinstance(o, SendDatagram)]


# --- cookies


def test_a_cookie_is_answered_at_once_with_mac2_and_challenge(small: Peers) -> None:
    small.know(LARGE_ID, LARGE.public, [ELSEWHERE, AT_LARGE], (), 0.0)
    first = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    second = only(small.receive(AT_LARGE, given(first.data, b"k" * 16), 0.1), SendDatagram)
    assert second.address == ELSEWHERE, "where the cookie is of use, which need not be where the reply came from"
    assert has_mac2(b"k" * 16, second.data) and not has_mac2(b"k" * 16, first.data)
    assert read_initiation(local(LARGE), second.data).offer.challenge == b"k" * 8
    third = only(small.handle_timer(3.0), SendDatagram)
    assert third.address == AT_LARGE and not has_mac2(b"k" * 16, third.data)


def test_each_address_has_a_cookie_of_its_own(small: Peers) -> None:
    """Else a peer that is tried at two addresses in turn would carry the other one's cookie for ever."""
    small.know(LARGE_ID, LARGE.public, [ELSEWHERE, AT_LARGE], (), 0.0)
    sent = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    small.receive(ELSEWHERE, given(sent.data, b"e" * 16), 0.1)
    sent = only(small.handle_timer(3.0), SendDatagram)
    small.receive(AT_LARGE, given(sent.data, b"a" * 16), 3.1)
    later = [only(small.handle_timer(due), SendDatagram) for due in (6.0, 12.0)]
    assert {one.address: has_mac2(b"e" * 16, one.data) for one in later} == {ELSEWHERE: True, AT_LARGE: False}
    assert {one.address: has_mac2(b"a" * 16, one.data) for one in later} == {ELSEWHERE: False, AT_LARGE: True}


def test_a_cookie_is_kept_for_two_minutes_and_hurried_for_once(small: Peers) -> None:
    first = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    second = only(small.receive(AT_LARGE, given(first.data, b"k" * 16), 0.1), SendDatagram)
    assert small.receive(AT_LARGE, given(first.data, b"k" * 16), 0.2) == [], "that one is not in flight any more"
    assert small.receive(AT_LARGE, given(second.data, b"k" * 16), 0.3) == [], "the same again helps nobody"
    sent = [only(small.handle_timer(due), SendDatagram) for due in (2.0, 8.0)]
    assert all(has_mac2(b"k" * 16, datagram.data) for datagram in sent)
    late = only(small.rebooted(LARGE_ID, b"new boot", 0.4 + SECRET_LIFE_S), PeerState)
    assert late.state == "down"
    again = only(small.wanted(LARGE_ID, 0.5 + SECRET_LIFE_S), SendDatagram)
    assert not has_mac2(b"k" * 16, again.data)


def test_who_gives_cookies_for_ever_is_not_followed(small: Peers) -> None:
    sent = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    for number in range(HURRIES_MAX):
        sent = only(small.receive(AT_LARGE, given(sent.data, bytes([number]) * 16), 0.1), SendDatagram)
    assert small.receive(AT_LARGE, given(sent.data, b"z" * 16), 0.1) == []


def test_a_forged_cookie_changes_nothing(small: Peers) -> None:
    sent = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    genuine = given(sent.data, b"k" * 16)
    for position in range(len(genuine)):
        forged = bytearray(genuine)
        forged[position] ^= 1
        assert small.receive(AT_LARGE, bytes(forged), 0.1) == []
    assert small.counters.total() == len(genuine)
    assert only(small.receive(AT_LARGE, genuine, 0.1), SendDatagram)


def test_a_response_can_need_the_cookie_too() -> None:
    small, large = small_knows_large(), large_knows_small()
    first = only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    (row,) = handshake_keys(local(SMALL).keyring, [SMALL])
    value = cookie(b"s" * 32, *AT_LARGE)
    reply = seal_reply(row.cookie_key, 0, int.from_bytes(first.data[4:8]), first.data[-32:-16], value, bytes(24))
    large.receive(AT_SMALL, reply, 0.1)
    initiation = only(small.wanted(LARGE_ID, 2.0), SendDatagram)
    response = only(large.receive(AT_SMALL, initiation.data, 2.1), SendDatagram)
    assert has_mac2(value, response.data)


# --- where a session leads


def test_a_response_from_elsewhere_leads_where_the_initiation_was_sent(small: Peers) -> None:
    large = large_knows_small()
    sent = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    response = only(large.receive(AT_SMALL, sent.data, 0.1), SendDatagram)
    made = only(small.receive(ELSEWHERE, response.data, 0.2), InstallSession)
    assert made.address == AT_LARGE and small.view(LARGE_ID, 0.2).address == AT_LARGE


# --- addresses that are not to be used


def bar(peers: Peers, *addresses: Address) -> None:
    peers._own.barred = lambda peer_id, address: address in addresses


def test_a_barred_address_is_never_tried_whoever_named_it(small: Peers) -> None:
    small.know(LARGE_ID, LARGE.public, [ELSEWHERE, AT_LARGE], (), 0.0)
    bar(small, ELSEWHERE)
    small.moved(LARGE_ID, ELSEWHERE)
    sent = [only(small.wanted(LARGE_ID, 0.0), SendDatagram)]
    sent += [only(small.handle_timer(due), SendDatagram) for due in (6.0, 12.0)]
    assert [one.address for one in sent] == [AT_LARGE] * 3
    bar(small)
    sent = [only(small.handle_timer(due), SendDatagram) for due in (18.0, 24.0)]
    assert {one.address for one in sent} == {AT_LARGE, ELSEWHERE}, "it is asked anew for each try"


def test_a_peer_with_barred_addresses_alone_is_given_up_like_any_other(small: Peers) -> None:
    bar(small, AT_LARGE)
    assert not [o for o in small.wanted(LARGE_ID, 0.0) if isinstance(o, SendDatagram)]
    while (due := small.next_timer()) is not None:
        outputs = small.handle_timer(due)
    assert outputs == [PeerState(LARGE_ID, "down")] and due is None
