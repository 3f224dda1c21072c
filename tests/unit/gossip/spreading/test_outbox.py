from __future__ import annotations

import pytest

from gossip import limits
from gossip.spreading.codec import Delta, Proofs, decode
from gossip.spreading.outbox import Outbox
from gossip.state.bodies import encode_body
from gossip.state.statements import Statement, parse
from tests.sim.people import peer_body
from tests.unit.gossip.cores import say


def note(name: str, seq: int, size: int = 10, key: bytes = b"") -> Statement:
    return say(name, ("note", key), (1, seq), bytes(size))


def taken(outbox: Outbox) -> list[Statement]:
    messages = [decode(message) for message in outbox.take()]
    return [parse(wire) for message in messages if isinstance(message, Delta) for wire in message.statements]


def test_the_newest_of_a_slot_takes_the_place_of_the_older() -> None:
    outbox = Outbox()
    for seq in range(5):
        assert outbox.put(note("a", seq))
    outbox.put(note("b", 1))
    assert [(s.seq, s.owner) for s in taken(outbox)] == [(s.seq, s.owner) for s in (note("a", 4), note("b", 1))]
    assert not outbox and outbox.take() == []


def test_what_the_far_end_showed_is_not_sent_to_it_and_nothing_else_is_dropped() -> None:
    outbox, one, two = Outbox(), note("a", 1), note("b", 1)
    outbox.put(one)
    outbox.put(two)
    outbox.heard([one.wire(), note("b", 0).wire(), b""])
    assert taken(outbox) == [two]
    outbox.put(note("a", 2))
    outbox.heard([one.wire()])
    assert taken(outbox) == [note("a", 2)], "an older one shows nothing"


def test_one_burst_at_a_time_and_peers_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUSH_BURST_B", 3000)
    outbox = Outbox()
    for number in range(6):
        outbox.put(note("a", number, 1000, bytes([number])))
    outbox.put(say("b", ("peer", b""), (1, 0), encode_body("peer", peer_body("b"))))
    first = taken(outbox)
    assert first[0].kind == "peer" and len(first) == 4 and len(outbox) == 3
    assert len(taken(outbox)) == 3 and not outbox


def test_a_link_far_behind_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PENDING", 3)
    outbox = Outbox()
    assert [outbox.put(note(name, 1)) for name in "abcd"] == [True, True, True, False]
    assert not outbox and outbox.put(note("e", 1))
    outbox.heard([note("a", 1).wire()])
    assert taken(outbox) == [note("e", 1)]


def test_proofs_go_along_and_are_bounded() -> None:
    outbox, proof = Outbox(), (note("a", 1), note("a", 1, 11))
    for _ in range(limits.MAX_PROOFS_PER_MESSAGE + 1):
        outbox.put_proof(proof)
    [message] = outbox.take()
    found = decode(message)
    assert isinstance(found, Proofs) and len(found.pairs) == limits.MAX_PROOFS_PER_MESSAGE


def test_who_says_much_delays_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PUSH_BURST_B", 3000)
    outbox = Outbox()
    for number in range(100):
        outbox.put(note("a", number, 1000, bytes([number])))
    outbox.put(note("b", 1, 1000))
    assert [statement.owner for statement in taken(outbox)][1:2] == [note("b", 1).owner]
