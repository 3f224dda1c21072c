from __future__ import annotations

import pytest

from gossip import limits
from gossip.state.address_bodies import GRANT
from gossip.state.bodies import LEFT, MANIFEST, PEER, REVOKE, LeftBody, RevokeBody, encode_body
from gossip.state.statements import parse
from gossip.state.view import Standing, View, manifest_of
from tests.sim.people import identity_of, peer_body
from tests.unit.gossip.cores import say

A = identity_of("a")


def manifest(incarnation: int, seq: int, *slots: str) -> bytes:
    said = [say("a", (slot, b""), (incarnation, 1), b"") for slot in slots]
    return say("a", (MANIFEST, b""), (incarnation, seq), encode_body(MANIFEST, manifest_of(said, incarnation))).wire()


def test_the_higher_version_wins_whichever_comes_first() -> None:
    old, new = say("a", ("note", b""), (1, 9), b"old"), say("a", ("note", b""), (2, 1), b"new")
    for order in ((old, new), (new, old)):
        view = View()
        for statement in order:
            view.merge(statement)
        assert view.get(A, ("note", b"")) == new
    assert view.standing(old) is Standing.OLD and view.standing(new) is Standing.OLD


def test_equal_versions_keep_the_smaller_digest_and_leave_a_proof() -> None:
    twins = sorted((say("a", ("note", b""), (1, 1), body) for body in (b"1", b"2")), key=lambda s: s.digest)
    for order in (twins, twins[::-1]):
        view = View()
        for statement in order:
            view.merge(statement)
        assert view.get(A, ("note", b"")) == twins[0]
        assert view.quarantined(A, 1) and not view.quarantined(A, 2)


def test_proofs_kept_of_one_owner_are_bounded() -> None:
    view = View()
    for incarnation in range(1, 20):
        for body in (b"1", b"2"):
            view.merge(say("a", ("note", b""), (incarnation, 1), body))
    assert sorted(view.owners[A].proofs) == [16, 17, 18, 19]


def test_a_satisfied_manifest_voids_older_incarnations_and_an_unsatisfied_one_does_not() -> None:
    view = View()
    view.merge(say("a", ("note", b""), (1, 1), b"old"))
    view.merge(parse(manifest(2, 5, "memo")))
    assert view.get(A, ("note", b"")) is not None
    changes = view.merge(say("a", ("memo", b""), (2, 1), b"new"))
    assert view.get(A, ("note", b"")) is None
    assert [(change.slot[0], change.new is None) for change in changes] == [("memo", False), ("note", True)]
    assert view.standing(say("a", ("note", b""), (1, 8), b"late")) is Standing.OLD


def test_left_voids_what_is_not_newer() -> None:
    view = View()
    view.merge(say("a", ("note", b""), (1, 1), b"x"))
    view.merge(say("a", (LEFT, b""), (2, 1), encode_body(LEFT, LeftBody())))
    assert [statement.kind for statement in view.statements()] == [LEFT]
    assert view.merge(say("a", ("note", b""), (2, 9), b"x")) == []
    assert view.merge(say("a", ("note", b""), (3, 1), b"x"))


def test_a_withdrawn_grant_is_forgotten_with_its_incarnation_however_late_it_comes() -> None:
    given, withdrawn = say("a", (GRANT, b"id"), (1, 1), b"x"), say("a", (GRANT, b"id"), (1, 2), None)
    left = say("a", (LEFT, b""), (2, 9), encode_body(LEFT, LeftBody()))
    for end in ([parse(manifest(2, 8))], [left], [parse(manifest(2, 8)), left]):
        for order in ([given, withdrawn, *end], [given, *end, withdrawn], [*end, withdrawn]):
            view = View()
            changes = [change for statement in order for change in view.merge(statement)]
            assert view.get(A, (GRANT, b"id")) is None and view.standing(withdrawn) is Standing.OLD
            assert [change.new for change in changes if change.slot[0] == GRANT][-1:] in ([None], [])
    view = View()
    for statement in (given, left):
        view.merge(statement)
    assert view.get(A, (GRANT, b"id")) == given, "what it gave away stays given away"


def test_an_owner_over_its_quota_keeps_its_first_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_STATEMENTS_PER_OWNER", 3)
    said = [say("a", ("note", bytes([n])), (1, n + 1), b"") for n in range(6)]
    for order in (said, said[::-1], said[3:] + said[:3]):
        view = View()
        for statement in order:
            view.merge(statement)
        assert view.statements() == said[:3]


def test_the_number_of_owners_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_OWNERS", 2)
    view = View()
    for name in "abc":
        view.merge(say(name, ("note", b""), (1, 1), b""))
    assert sorted(view.owners) == sorted([A, identity_of("b")])


def test_what_bars_somebody_survives_restarts_and_leaving_and_travels_behind_the_peers() -> None:
    view = View()
    view.merge(say("b", ("note", b""), (1, 1), b""))
    revocation = say("a", (REVOKE, A), (1, 2), encode_body(REVOKE, RevokeBody(A, 0, "")))
    view.merge(revocation)
    view.merge(parse(manifest(2, 5)))
    view.merge(say("a", (LEFT, b""), (3, 1), encode_body(LEFT, LeftBody())))
    for name in "ab":
        view.merge(say(name, (PEER, b""), (1, 1), encode_body(PEER, peer_body(name))))
    assert [s.kind for s in view.statements()] == [PEER, PEER, REVOKE, *[s.kind for s in view.statements()[3:]]]
    assert view.get(A, (REVOKE, A)) == revocation


def test_at_rest_nothing_is_held_parsed_and_nothing_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "AWAKE_OWNERS", 2)
    view = View()
    said = [say(name, ("note", bytes([n])), (1, n), b"x") for name in "abcd" for n in range(3)]
    for statement in said:
        view.merge(statement)
        assert view.owners.awake <= 2
    view.merge(say("a", ("note", b""), (2, 1), b"1"))
    view.merge(say("a", ("note", b""), (2, 1), b"2"))
    view.rest()
    assert view.owners.awake == 0 and view.quarantined(A, 2)
    assert [view.get(statement.owner, statement.slot) for statement in said] == said
    assert view.peer(A) is None and view.standing(said[0]) is Standing.OLD
    view.rest()
    peer = say("a", (PEER, b""), (2, 9), encode_body(PEER, peer_body("a")))
    view.merge(peer)
    for _ in range(2):
        assert view.peer(A) == peer
        view.rest()
    assert view.peer(A) == peer and view.owners.awake == 0, "asking for it wakes nobody"
