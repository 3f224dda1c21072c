"""Faults planted in gossip and addresses, each of which the simulation's invariants must notice."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gossip import limits
from gossip.errors import Refusal
from gossip.events import SPACE_STATEMENT, Output, Put
from gossip.networks.claims import Claim, Claims
from gossip.networks.numbers import number_of
from gossip.node import Node
from gossip.state.address_bodies import GRANT, Grant, NetworkBody
from gossip.state.bodies import decode_body, encode_body, known
from gossip.state.replica import Replica
from gossip.state.statements import Statement, parse
from gossip.state.view import Standing, View
from tests.planted.detection import first_red_seed, store_late
from tests.sim.hostile import QUOTA, Siege, names
from tests.sim.invariants import InvariantBroken
from tests.sim.people import MESH
from tests.sim.versions import check_relayed


def test_a_merge_that_ignores_seq_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = View.standing

    def standing(view: View, statement: Statement) -> Standing:
        held = view.get(statement.owner, statement.slot)
        if held is not None and held.incarnation == statement.incarnation:
            return Standing.OLD  # whatever its seq: what came first stays
        return honest(view, statement)

    monkeypatch.setattr(View, "standing", standing)
    assert first_red_seed() is not None


def test_a_grant_sent_before_it_is_stored_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    donate, handle_timer = Node.donate, Node.handle_timer
    late: dict[int, list[Put]] = {}

    def early(node: Node, network: int, to: bytes, now: float) -> Output:
        output = donate(node, network, to, now)
        late.setdefault(id(node), []).extend(output.persist)
        return replace(output, persist=[])

    def then_stored(node: Node, now: float) -> Output:
        output = handle_timer(node, now)
        return replace(output, persist=[*late.pop(id(node), []), *output.persist])

    monkeypatch.setattr(Node, "donate", early)
    monkeypatch.setattr(Node, "handle_timer", then_stored)
    assert first_red_seed() is not None


def test_a_donor_that_forgets_its_grants_on_restart_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Replica.load

    def forgetful(replica: Replica, space: str, key: bytes, value: bytes) -> None:
        if space == SPACE_STATEMENT:
            statement = parse(value)
            if statement.kind == GRANT and statement.owner == replica.identity and statement.seq > 3:
                return
        load(replica, space, key, value)

    monkeypatch.setattr(Replica, "load", forgetful)
    assert first_red_seed() is not None


def test_a_registrar_that_answers_two_claims_of_one_name_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def free(claims: Claims, name: str) -> bool:
        return claims._directory.numbers.registrar() == claims._identity

    monkeypatch.setattr(Claims, "_free", free)
    assert first_red_seed() is not None


def test_a_grant_that_answers_a_request_before_it_is_stored_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    store_late(monkeypatch, _answers)
    assert first_red_seed() is not None


def _answers(node: Node, put: Put) -> bool:
    """Whether the write is an own grant that answers a request."""
    if put.space != SPACE_STATEMENT or put.value is None:
        return False
    statement = parse(put.value)
    if statement.kind != GRANT or statement.owner != node.identity or statement.body is None:
        return False
    grant = decode_body(GRANT, statement.body)
    return isinstance(grant, Grant) and grant.answers != b""


def test_a_claimer_that_founds_without_its_grant_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    advance = Claims._advance

    def hasty(claims: Claims, out: Output, claim: Claim) -> NetworkBody | Refusal | None:
        answer = advance(claims, out, claim)
        number = number_of(MESH, claim.name)
        return claims._found(out, claim, number) if answer is None and claim.of is not None else answer

    monkeypatch.setattr(Claims, "_advance", hasty)
    assert first_red_seed() is not None


def test_a_relay_that_encodes_anew_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    check_relayed()

    def wire(statement: Statement) -> bytes:
        body = statement.body
        if body is not None and known(statement.kind):
            body = encode_body(statement.kind, decode_body(statement.kind, body))  # what this version understood of it
        version = (statement.incarnation, statement.seq)
        blob = msgspec.msgpack.encode((statement.mesh, statement.owner, *statement.slot, *version, body))
        return msgspec.msgpack.encode((blob, statement.signature))

    monkeypatch.setattr(Statement, "wire", wire)
    with pytest.raises(InvariantBroken):
        check_relayed()


def test_a_quota_that_is_not_counted_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    flood = names(QUOTA + 100)
    siege = Siege()
    siege.say(flood)
    siege.check()
    monkeypatch.setattr(limits, "MAX_STATEMENTS_PER_OWNER", 1 << 30)
    siege = Siege()
    siege.say(flood)
    with pytest.raises(InvariantBroken):
        siege.check()


def test_without_a_fault_the_same_lives_are_green() -> None:
    assert first_red_seed(range(3)) is None
