"""Faults planted in loans, registers and reclaims, each of which the lives and stories of addresses must notice."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

import gossip.reclaiming.succession
from gossip.custody.editions import Edition
from gossip.custody.register import Register
from gossip.events import SPACE_STATEMENT, Output, Put, ReclaimDone
from gossip.ipam.addresses import Addresses
from gossip.ipam.allocator import Allocator
from gossip.node import Node
from gossip.reclaiming.consents import Consents
from gossip.reclaiming.fences import Fences
from gossip.reclaiming.reclaim import Reclaims
from gossip.reclaiming.succession import Succession
from gossip.state.address_bodies import LOAN, AckBody, Grant, LoanBody, RequestBody
from gossip.state.replica import Replica
from gossip.state.statements import parse
from tests.planted.detection import first_red_address_seed, revival_is_red, store_late
from tests.sim import test_late_void
from tests.unit.gossip.reclaiming import test_succession


def test_a_lender_that_leases_what_it_lent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Allocator, "lend", lambda allocator, network, address: None)
    assert first_red_address_seed() is not None


@pytest.mark.slow
def test_a_lender_that_forgets_its_loans_on_restart_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    load = Replica.load

    def forgetful(replica: Replica, space: str, key: bytes, value: bytes) -> None:
        if space == SPACE_STATEMENT:
            statement = parse(value)
            if statement.kind == LOAN and statement.owner == replica.identity:
                return
        load(replica, space, key, value)

    monkeypatch.setattr(Replica, "load", forgetful)
    assert first_red_address_seed() is not None


@pytest.mark.slow
def test_a_loan_that_is_told_before_it_is_stored_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    store_late(monkeypatch, _lends)
    assert first_red_address_seed() is not None


def _lends(node: Node, put: Put) -> bool:
    if put.space != SPACE_STATEMENT or put.value is None:
        return False
    statement = parse(put.value)
    return statement.kind == LOAN and statement.owner == node.identity


def test_a_lender_that_hears_no_requests_for_what_it_lent_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def in_use(addresses: Addresses, loan: LoanBody) -> bool:
        return addresses._directory.says(loan.to, loan.network, int.from_bytes(loan.address, "big"))

    monkeypatch.setattr(Addresses, "in_use", in_use)
    assert first_red_address_seed() is not None


def test_a_borrower_that_says_no_more_what_it_borrowed_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def borrows(addresses: Addresses, request: RequestBody) -> bool:
        return False

    monkeypatch.setattr(Addresses, "borrows", borrows)
    assert first_red_address_seed() is not None


def test_a_register_that_is_settled_without_all_acknowledgements_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def acknowledged(register: Register, edition: Edition) -> bool:
        wanted = AckBody(edition.network, edition.author, edition.number, edition.digest)
        said = [register._editions.ack(edition.network, peer) for peer in register._members()]
        return sum(ack == wanted for ack in said) >= 2

    monkeypatch.setattr(Register, "_acknowledged", acknowledged)
    monkeypatch.setattr(Register, "_holds_back", lambda register, peer, base: False)
    monkeypatch.setattr(Register, "_near", lambda register, peer: True)
    assert first_red_address_seed() is not None


def test_a_promise_that_is_not_stored_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Consents, "load", lambda consents, rows: None)
    assert revival_is_red(restart=True)


@pytest.mark.parametrize("restart", [False, True])
def test_a_promise_that_is_not_kept_is_noticed(monkeypatch: pytest.MonkeyPatch, restart: bool) -> None:
    monkeypatch.setattr(Consents, "keeps_back", lambda consents, change: False)
    assert revival_is_red(restart=restart)


@pytest.mark.slow
def test_a_reclaim_that_does_not_wait_for_all_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reclaims, "_asked", lambda reclaims, named: [])
    assert first_red_address_seed() is not None


def test_a_takeover_that_lets_a_known_network_go_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    take_over = Succession.take_over

    def nameless(succession: Succession, out: Output, run: bytes, peers: Sequence[bytes]) -> ReclaimDone:
        grant = succession._addresses.grant

        def nameless_grant(out: Output, said: Grant) -> None:
            grant(out, msgspec.structs.replace(said, name=""))

        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(succession._addresses, "grant", nameless_grant)
            return take_over(succession, out, run, peers)

    monkeypatch.setattr(Succession, "take_over", nameless)
    assert first_red_address_seed() is not None


def test_a_fence_that_nobody_heeds_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Fences, "fenced", lambda fences, donor, owner, run: False)
    assert first_red_address_seed() is not None


def test_a_takeover_that_lends_nothing_to_who_used_it_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gossip.reclaiming.succession, "_in_use", lambda estate: [])
    with pytest.raises(AssertionError):
        test_succession.test_what_an_endpoint_uses_is_nobody_elses_until_released()


@pytest.mark.slow
def test_without_a_fault_the_same_lives_are_green() -> None:
    assert first_red_address_seed(range(3)) is None
    assert not revival_is_red(restart=False) and not revival_is_red(restart=True)


def test_a_run_that_nobody_voids_late_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Reclaims, "_void_late", lambda reclaims, out: None)
    with pytest.raises(AssertionError):
        test_late_void.test_a_promise_that_only_a_reclaimed_host_knew_of_ends_when_it_returns()
