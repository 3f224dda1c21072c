"""What this host answers: freshness under wrong clocks, races, the budget's reserve, where a session leads."""

from __future__ import annotations

import random

import pytest

from crypto.cookie import REPLY_SIZE, cookie, mac2
from crypto.handshake import INITIATION_SIZE, initiate, read_initiation
from crypto.keys import StaticKey
from meshnet.boundary import Address
from meshnet.control.handshakes.answering import RACE_S
from meshnet.control.handshakes.peer_output import InstallSession, SendDatagram
from meshnet.control.handshakes.peers import COMPUTED_BURST, COMPUTED_RESERVE, Peers
from tests.unit.control.handshaking import (
    AT_LARGE,
    AT_SMALL,
    COOKIE_SECRET,
    LARGE,
    LARGE_ID,
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
    shake,
    small_knows_large,
)

YEAR = 365 * 86_400 * 10**9
ELSEWHERE: Address = ("198.51.100.7", 9)


@pytest.fixture
def small() -> Peers:
    return small_knows_large()


@pytest.fixture
def large() -> Peers:
    return large_knows_small()


def challenge(address: Address = AT_SMALL) -> bytes:
    return cookie(COOKIE_SECRET, *address)[:8]


# --- freshness


@pytest.mark.parametrize("ahead", [10 * YEAR, -10 * YEAR], ids=["clock ahead", "clock behind"])
def test_a_sender_with_a_wrong_clock_gets_in_by_a_cookie(large: Peers, ahead: int) -> None:
    stale = forged(offer_at(WALL_NS + ahead))
    reply = only(large.receive(AT_SMALL, stale, 0.0), SendDatagram)
    assert len(reply.data) == REPLY_SIZE < INITIATION_SIZE
    echoed = forged(offer_at(WALL_NS + ahead + 1, challenge=challenge()))
    only(large.receive(AT_SMALL, echoed, 0.1), InstallSession)
    assert large.receive(AT_SMALL, echoed, 0.2) == [], "once"
    only(large.receive(AT_SMALL, forged(offer_at(WALL_NS)), 0.3), InstallSession)


def test_two_ends_with_clocks_years_apart_come_to_a_session(small: Peers) -> None:
    rng = random.Random(9)
    large = Peers(
        local(LARGE), bytes(8), entropy=rng.randbytes, rng=rng, wall_ns=lambda: WALL_NS - 10 * YEAR, features=0,
        largest_record=9_000, reserved=b"",
    )  # fmt: skip
    large.cookies(COOKIE_SECRET, b"")
    large.know(SMALL_ID, SMALL.public, [AT_SMALL], (), 0.0)
    first = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    reply = only(large.receive(AT_SMALL, first.data, 0.1), SendDatagram)
    second = only(small.receive(AT_LARGE, reply.data, 0.2), SendDatagram)
    answer = large.receive(AT_SMALL, second.data, 0.3)
    ours = only(small.receive(AT_LARGE, only(answer, SendDatagram).data, 0.4), InstallSession)
    assert ours.send_key == only(answer, InstallSession).receive_key


def test_a_challenge_is_for_one_address(large: Peers) -> None:
    echoed = forged(offer_at(WALL_NS - YEAR, challenge=challenge(ELSEWHERE)))
    assert len(only(large.receive(AT_SMALL, echoed, 0.0), SendDatagram).data) == REPLY_SIZE


def test_a_recording_of_before_we_knew_the_peer_is_none_of_a_new_one(large: Peers) -> None:
    """A daemon that restarts has forgotten what it took; what was recorded before must not count again."""
    recorded = forged(offer_at(WALL_NS))
    only(large.receive(AT_SMALL, recorded, 0.0), InstallSession)
    later = peers_of(LARGE)
    for _ in range(2_000):
        later.view(SMALL_ID, 0.0)
    rng = random.Random(4)
    later = Peers(
        local(LARGE), bytes(8), entropy=rng.randbytes, rng=rng, wall_ns=lambda: WALL_NS + 10**9, features=0,
        largest_record=9_000, reserved=b"",
    )  # fmt: skip
    later.know(SMALL_ID, SMALL.public, [AT_SMALL], (), 0.0)
    assert later.receive(AT_SMALL, recorded, 0.0) == []
    only(later.receive(AT_SMALL, forged(offer_at(WALL_NS + 2 * 10**9)), 0.0), InstallSession)


def test_who_is_not_known_gets_no_cookie(large: Peers) -> None:
    assert large.receive(AT_SMALL, forged(offer_at(0), STRANGER), 0.0) == []


# --- the budget


def test_the_reserve_is_for_who_shows_its_address(large: Peers) -> None:
    strangers = [StaticKey.generate(random.Random(n).randbytes) for n in range(9, 9 + COMPUTED_BURST)]
    for stranger in strangers:
        large.receive(ELSEWHERE, forged(offer_at(WALL_NS), stranger), 0.0)
    genuine = forged(offer_at(WALL_NS))
    assert large.receive(AT_SMALL, genuine, 0.0) == [], "one among all others"
    shown = genuine[:-16] + mac2(cookie(COOKIE_SECRET, *AT_SMALL), genuine)
    assert large.receive(ELSEWHERE, shown, 0.0) == [], "the cookie is another address's"
    only(large.receive(AT_SMALL, shown, 0.0), InstallSession)
    again = forged(offer_at(WALL_NS + 1))
    only(large.receive(AT_SMALL, again, 0.0), InstallSession)  # where a peer is known to be by now
    assert COMPUTED_RESERVE > 2
    for n in range(2, COMPUTED_RESERVE):
        large.receive(AT_SMALL, forged(offer_at(WALL_NS + n)), 0.0)
    assert large.receive(AT_SMALL, forged(offer_at(WALL_NS + 99)), 0.0) == [], "the reserve has an end too"


def test_a_response_finds_room_in_a_flood(small: Peers, large: Peers) -> None:
    sent = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    response = only(large.receive(AT_SMALL, sent.data, 0.0), SendDatagram)
    for n in range(9, 9 + COMPUTED_BURST):
        stranger = StaticKey.generate(random.Random(n).randbytes)
        small.receive(ELSEWHERE, forged(offer_at(WALL_NS), stranger, SMALL), 0.0)
    only(small.receive(AT_LARGE, response.data, 0.0), InstallSession)


# --- races, with keys that change meanwhile


def test_a_race_is_settled_by_the_keys_of_the_two_initiations(small: Peers, large: Peers) -> None:
    """The large one takes the smallest key of all; both ends must come to the same winner."""
    keys = (StaticKey.generate(random.Random(n).randbytes) for n in range(99))
    tiny = next(key for key in keys if key.public < SMALL.public)
    from_small = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    large.rekeyed(local(tiny))
    small.know(LARGE_ID, tiny.public, [AT_LARGE], (), 0.0)
    from_large = only(large.wanted(SMALL_ID, 0.0), SendDatagram)
    answer = small.receive(AT_LARGE, from_large.data, 0.1)
    assert only(answer, InstallSession), "its key is smaller now"
    assert large.receive(AT_SMALL, from_small.data, 0.1) == [], "it was made for a key that is gone"
    only(large.receive(AT_SMALL, only(answer, SendDatagram).data, 0.2), InstallSession)


# --- where a session leads


def test_an_initiation_from_elsewhere_draws_no_traffic_while_there_is_a_session(small: Peers, large: Peers) -> None:
    _, theirs = shake(small, large, LARGE_ID, 0.0)
    large.progressed([row(theirs, received=1, ages=(-1.0, 0.0))], 1.0)
    passed_on = only(small.rebooted(LARGE_ID, b"new boot", 2.0), SendDatagram)
    outputs = large.receive(ELSEWHERE, passed_on.data, 2.1)
    assert only(outputs, SendDatagram).address == ELSEWHERE
    assert only(outputs, InstallSession).address == AT_SMALL == large.view(SMALL_ID, 3.0).address
    large.moved(SMALL_ID, ELSEWHERE)
    assert large.view(SMALL_ID, 3.0).address == ELSEWHERE


def test_without_a_session_it_leads_to_where_the_initiation_came_from(large: Peers) -> None:
    made = only(large.receive(ELSEWHERE, forged(offer_at(WALL_NS)), 0.0), InstallSession)
    assert made.address == ELSEWHERE


def test_the_winner_of_a_race_insists_once(small: Peers, large: Peers) -> None:
    """A firewall may let only the other one's initiations pass."""
    small.wanted(LARGE_ID, 0.0)
    lost = only(large.wanted(SMALL_ID, 0.1), SendDatagram)
    assert small.receive(AT_LARGE, lost.data, 0.1) == []
    sent = small.next_timer(), large.next_timer()
    assert sent[0] is not None and sent[1] is not None and sent[1] - sent[0] < RACE_S
    only(small.handle_timer(sent[0]), SendDatagram)
    again = only(large.handle_timer(sent[1]), SendDatagram)
    answer = only(small.receive(AT_LARGE, again.data, sent[1]), SendDatagram)
    only(large.receive(AT_SMALL, answer.data, sent[1]), InstallSession)


def test_the_winner_of_a_race_insists_where_the_other_is(small: Peers, large: Peers) -> None:
    nowhere: Address = ("203.0.113.9", 1)
    small.know(LARGE_ID, LARGE.public, [nowhere], (), 0.0)
    small.wanted(LARGE_ID, 0.0)
    small.handle_timer(2.0)
    from_large = only(large.wanted(SMALL_ID, 2.0), SendDatagram)
    again = only(small.receive(AT_LARGE, from_large.data, 2.0 + RACE_S / 2), SendDatagram)
    assert again.address == AT_LARGE
    assert read_initiation(local(LARGE), again.data)
    assert initiate(local(SMALL), LARGE.public, 1, offer_at(0), random.Random(1).randbytes).datagram != again.data


def test_an_initiation_from_a_barred_address_makes_no_session(small: Peers, large: Peers) -> None:
    first = only(small.wanted(LARGE_ID, 0.0), SendDatagram)
    large._own.barred = lambda peer_id, address: (peer_id, address) == (SMALL_ID, ELSEWHERE)
    assert large.receive(ELSEWHERE, first.data, 0.0) == []
    assert large.counters["initiation from an address that is not to be used"] == 1
    answer = large.receive(AT_SMALL, first.data, 0.1)
    assert only(answer, InstallSession).address == AT_SMALL, "nothing was taken of the one that was refused"
