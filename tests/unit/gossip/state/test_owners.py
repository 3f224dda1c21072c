from __future__ import annotations

import pytest

from gossip import limits
from gossip.state.bodies import PEER, encode_body
from gossip.state.owners import Owners
from gossip.state.statements import Statement
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

NAMES = [f"h{number}" for number in range(6)]


def of(name: str) -> list[Statement]:
    body = encode_body(PEER, peer_body(name))
    return [say(name, (PEER, b""), (2, 1), body), say(name, ("note", b"1"), (3, 2), b"x")]


def crowd() -> Owners:
    owners = Owners()
    for name in NAMES:
        owner = owners.add(identity_of(name))
        owner.held.update({statement.slot: statement for statement in of(name)})
        owner.settled = 7
        owner.changed()
    return owners


def test_who_rests_is_one_byte_string_and_comes_back_as_it_was() -> None:
    owners = crowd()
    before = {identity: (owner.digest(), owner.in_order(), owner.settled) for identity, owner in owners.items()}
    owners.rest()
    assert owners.awake == 0 and all(isinstance(row, bytes) for row in owners._rows)
    assert {identity: owners.digest(identity) for identity in owners} == {each: before[each][0] for each in before}
    assert [owners.first(identity_of(name)) for name in NAMES] == [of(name)[0] for name in NAMES]
    assert owners.awake == 0, "neither wakes anybody"
    assert {identity: (owner.digest(), owner.in_order(), owner.settled) for identity, owner in owners.items()} == before
    assert owners.awake == len(NAMES)


def test_few_are_awake_and_what_somebody_still_has_hold_of_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AWAKE_OWNERS", 2)
    owners = crowd()
    kept = owners[identity_of("h0")]
    assert all(owners[identity_of(name)].held and owners.awake <= 2 for name in NAMES[1:])
    late = say("h0", ("memo", b""), (3, 3), b"y")
    kept.held[late.slot] = late
    assert owners[identity_of("h0")].held[late.slot] == late


def test_proofs_and_the_order_of_slots_outlast_a_rest() -> None:
    owners = crowd()
    owner = owners[identity_of("h1")]
    one, two = (say("h1", ("note", b""), (9, 9), body) for body in (b"1", b"2"))
    plain = owner.digest()
    owner.changed()
    owner.proofs = {9: (one, two)}
    owners[identity_of("h2")].ranked = []
    assert owner.digest() != plain, "a quarantined incarnation is part of what others compare"
    owners.rest()
    assert owners.awake == 0 and owners[identity_of("h1")] is owner and owners[identity_of("h2")].ranked == []
    assert owner.proofs[9] == (one, two) and owner.first() == of("h1")[0] and owner.in_order() == of("h1")


def test_a_stranger_is_nobody() -> None:
    owners = crowd()
    stranger = identity_of("x")
    assert stranger not in owners and owners.get(stranger) is None and len(owners) == len(NAMES)
    assert owners.first(stranger) is None and owners.digest(stranger) is None
