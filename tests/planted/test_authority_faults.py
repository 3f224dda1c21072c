"""Faults planted in the judgement of who counts, each of which the simulation's invariants must notice."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from gossip.events import SPACE_STATEMENT, Put, Revocation
from gossip.people import authority
from gossip.people.authority import Admitted, Revoked
from gossip.state.bodies import REVOKE, RevokeBody
from gossip.state.statements import parse
from tests.planted.detection import store_late
from tests.sim import revoking
from tests.sim.invariants import InvariantBroken
from tests.sim.revoking import members, mesh, rest, revoke

SEEDS = range(15, 75)


def first_red_seed() -> int | None:
    """The first seed whose life with admins breaks an invariant."""
    for seed in SEEDS:
        try:
            revoking.live(seed)
        except InvariantBroken:
            return seed
    return None


def test_a_revocation_that_counts_without_the_role_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    def anybody(admitted: Mapping[bytes, Admitted], said: Mapping[bytes, Mapping[bytes, RevokeBody]]) -> Revoked:
        counting = Revoked()
        for by, revokes in sorted(said.items()):
            for identity, body in sorted(revokes.items()):
                counting.add(0, Revocation(identity, by, body.from_serial, body.reason))
        return counting

    monkeypatch.setattr(authority, "revoked", anybody)
    world = mesh(7)
    for name in ("h0", "h1", "h2"):
        revoking.lie(world.hosts[3], name)
    world.clock.run(world.clock.now + 2.0)
    assert revoke(world.hosts[0], "h5"), "what an admin says has all of it weighed"
    with pytest.raises(InvariantBroken):
        rest(world)


def test_a_revocation_told_before_it_is_stored_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    store_late(monkeypatch, lambda _, put: _revokes(put), ("receive", "revoke", "absorb"))
    assert first_red_seed() is not None


def test_a_judgement_that_depends_on_the_order_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = authority.Authority.settle

    def stubborn(judge: authority.Authority) -> list[bytes]:
        before = dict(judge.bars)
        turned = honest(judge)
        judge.bars.update(before)  # who is out once stays out, whatever is heard of who said so
        return [identity for identity in turned if identity not in before]

    monkeypatch.setattr(authority.Authority, "settle", stubborn)
    assert first_red_seed() is not None


def _revokes(put: Put) -> bool:
    return put.space == SPACE_STATEMENT and put.value is not None and parse(put.value).kind == REVOKE


def test_without_a_fault_one_is_revoked_and_all_is_well() -> None:
    world = mesh(7)
    assert revoke(world.hosts[0], "h3")
    rest(world)
    assert members(world) == ["h0", "h1", "h2", "h4", "h5"]
