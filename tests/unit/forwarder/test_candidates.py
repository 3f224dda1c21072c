"""Addresses a peer may have moved to: probed at a bounded rate, believed for their own token alone."""

from __future__ import annotations

from meshnet.forwarder.candidates import CANDIDATE_S, CANDIDATES, PROBE_EVERY_S, SETTLED_S, Candidates

HERE, THERE = ("192.0.2.1", 6799), ("192.0.2.2", 6799)
ONE, OTHER = b"onetoken", b"othertok"


def address(number: int) -> tuple[str, int]:
    return (f"198.51.100.{number}", 6799)


def test_the_echo_of_a_probe_from_where_it_was_sent_confirms_once() -> None:
    made = Candidates()
    assert made.probe(THERE, ONE, 0.0) == ONE
    assert not made.confirm(THERE, OTHER, 0.1)
    assert not made.confirm(HERE, ONE, 0.1)
    assert not made.confirm(("192.0.2.2", 6800), ONE, 0.1)
    assert made.confirm(THERE, ONE, 0.1)
    assert not made.confirm(THERE, ONE, 0.1)


def test_nothing_is_confirmed_that_was_not_probed() -> None:
    assert not Candidates().confirm(THERE, bytes(8), 0.0)


def test_one_probe_an_address_and_second_always_with_the_same_token() -> None:
    made = Candidates()
    assert made.probe(THERE, ONE, 0.0) == ONE
    assert made.probe(THERE, OTHER, PROBE_EVERY_S - 0.01) is None
    assert made.probe(THERE, OTHER, PROBE_EVERY_S) == ONE
    assert made.probe(THERE, OTHER, PROBE_EVERY_S + 0.5) is None
    assert made.confirm(THERE, ONE, 1.9), "a slow echo of the first probe counts"


def test_a_token_is_good_for_some_seconds() -> None:
    made = Candidates()
    made.probe(THERE, ONE, 0.0)
    assert not made.confirm(THERE, ONE, CANDIDATE_S)
    assert made.probe(THERE, OTHER, CANDIDATE_S) == OTHER
    assert not made.confirm(THERE, ONE, CANDIDATE_S + 0.1) and made.confirm(THERE, OTHER, CANDIDATE_S + 0.1)


def test_the_addresses_that_wait_are_bounded_and_the_oldest_give_way_in_time() -> None:
    made = Candidates()
    for number in range(CANDIDATES):
        assert made.probe(address(number), ONE, 0.0) == ONE
    assert made.probe(THERE, ONE, 0.5) is None and len(made) == CANDIDATES
    assert made.probe(THERE, ONE, PROBE_EVERY_S) == ONE and len(made) == CANDIDATES
    assert not made.confirm(address(0), ONE, 1.1) and made.confirm(THERE, ONE, 1.1)
    assert len(made) == 0, "the peer is at one place: no other echo may move it on"


def test_after_a_move_the_address_that_was_left_is_no_candidate_for_a_moment() -> None:
    made = Candidates()
    made.probe(THERE, ONE, 10.0)
    assert made.confirm(THERE, ONE, 10.1)
    made.left(HERE, 10.1)
    assert made.probe(HERE, ONE, 10.1 + SETTLED_S - 0.01) is None
    assert made.probe(address(1), ONE, 10.2) == ONE, "but it may move on at once"
    assert made.probe(HERE, ONE, 10.1 + SETTLED_S) == ONE
