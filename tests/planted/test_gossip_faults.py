"""Faults planted in gossip and addresses, each of which the simulation's invariants must notice."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gossip.bodies import GRANT
from gossip.events import SPACE_STATEMENT, Output, Put
from gossip.node import Node
from gossip.replica import Replica
from gossip.statements import Statement, parse
from gossip.view import Standing, View
from tests.planted.detection import first_red_seed


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


def test_without_a_fault_the_same_lives_are_green() -> None:
    assert first_red_seed(range(3)) is None
