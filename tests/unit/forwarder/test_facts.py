"""Facts on their way up: bounded per kind, the oldest goes first, one wish for a session per peer."""

from __future__ import annotations

import pytest

from meshnet.boundary import FACTS_QUEUED, Counters, Fact, Handshake, Moved, Progress, SessionEnded, Trouble, Wanted
from meshnet.forwarder.counters import Drop, DropCounters
from meshnet.forwarder.facts import Facts

ADDRESS = ("192.0.2.1", 1)


def made() -> tuple[Facts, DropCounters]:
    drops = DropCounters()
    return Facts(drops), drops


def taken(facts: Facts) -> list[Fact]:
    found = []
    while (fact := facts.take()) is not None:
        found.append(fact)
    return found


def sample(kind: str, number: int) -> Fact:
    samples: dict[str, Fact] = {
        "Handshake": Handshake(address=ADDRESS, data=bytes([number & 255])),
        "Moved": Moved(peer=number.to_bytes(32), address=ADDRESS),
        "SessionEnded": SessionEnded(index=number, reason="key expired"),
        "Trouble": Trouble(what=str(number)),
        "Counters": Counters(request=number, drops={}, peers=[]),
        "Progress": Progress(sessions=[]),
    }
    return samples[kind]


@pytest.mark.parametrize("kind", sorted(FACTS_QUEUED))
def test_each_kind_is_bounded_and_the_oldest_goes(kind: str) -> None:
    facts, drops = made()
    sent = [sample(kind, number) for number in range(FACTS_QUEUED[kind] + 3)]
    for fact in sent:
        facts.put(fact)
    assert taken(facts) == sent[3:] and drops[Drop.FACT_QUEUE] == 3


def test_a_flood_of_one_kind_costs_no_other() -> None:
    facts, _ = made()
    facts.session_ended(1, "key expired")
    facts.wanted(b"p")
    for number in range(1000):
        facts.handshake(ADDRESS, bytes([number & 255]))
    found = taken(facts)
    assert SessionEnded(index=1, reason="key expired") in found and Wanted(peer=b"p") in found


def test_a_session_is_wanted_once_per_peer() -> None:
    facts, _ = made()
    for peer in (b"a", b"b", b"a"):
        facts.wanted(peer)
    assert taken(facts) == [Wanted(peer=b"a"), Wanted(peer=b"b")]
    facts.wanted(b"a")
    assert taken(facts) == [Wanted(peer=b"a")]


def test_handshakes_go_first() -> None:
    facts, _ = made()
    facts.trouble("something")
    facts.moved(b"p", ADDRESS)
    facts.handshake(ADDRESS, b"h")
    assert isinstance(facts.take(), Handshake)


@pytest.mark.parametrize("fact", [Wanted(peer=b"a"), *(sample(kind, 1) for kind in sorted(FACTS_QUEUED))])
def test_what_was_put_back_is_next(fact: Fact) -> None:
    facts, _ = made()
    facts.wanted(b"b")
    facts.trouble("later")
    facts.put_back(fact)
    found = taken(facts)
    assert fact in found and next(each for each in found if type(each) is type(fact)) == fact


def test_the_owner_is_told_of_every_fact() -> None:
    facts, _ = made()
    told: list[int] = []
    facts.flush = lambda: told.append(1)
    facts.wanted(b"a")
    facts.trouble("something")
    facts.session_ended(1, "key expired")
    assert len(told) == 3
