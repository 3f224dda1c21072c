"""A rolled-back host gives nothing out until those it is linked with hold what it holds of itself."""

from __future__ import annotations

import pytest

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Heard, Lease, Trouble
from gossip.spreading.codec import Digest, decode
from gossip.state.doubt import Doubt
from tests.sim.people import identity_of
from tests.unit.gossip.cores import Wires, founder, member

A, B = b"a" * 32, b"b" * 32


def test_without_a_rollback_there_is_no_doubt() -> None:
    doubt = Doubt(False)
    doubt.agrees(A)
    assert not doubt.alive and not doubt.settle([A], True, 0.0)


def test_all_who_are_linked_must_agree_and_not_at_once() -> None:
    doubt = Doubt(True)
    assert not doubt.settle([A, B], True, 0.0)
    doubt.agrees(A)
    doubt.agrees(B)
    assert not doubt.settle([A, B], True, limits.DOUBT_S - 0.1)
    assert doubt.settle([A, B], True, limits.DOUBT_S)
    assert not doubt.settle([A, B], True, limits.DOUBT_S + 1), "told once"


def test_who_does_not_agree_keeps_it_up_and_who_was_cut_off_must_agree_anew() -> None:
    doubt = Doubt(True)
    doubt.settle([A, B], True, 0.0)
    doubt.agrees(A)
    assert not doubt.settle([A, B], True, 100.0)
    assert not doubt.settle([B], True, 101.0)
    doubt.agrees(B)
    assert not doubt.settle([A, B], True, 102.0)
    doubt.agrees(A)
    assert doubt.settle([A, B], True, 103.0)


def test_nobody_linked_ends_it_only_where_nobody_else_is_known() -> None:
    doubt = Doubt(True)
    doubt.settle([], True, 0.0)
    assert not doubt.settle([], True, 10 * limits.LONE_S)
    lone = Doubt(True)
    lone.settle([], False, 0.0)
    assert not lone.settle([], False, limits.LONE_S - 0.1)
    assert lone.settle([], False, limits.LONE_S)


def test_what_was_given_away_since_the_copy_is_heard_before_anything_is_given_out() -> None:
    a = founder()
    b = member("h1", a)
    wires = Wires()
    wires.link(b, a)
    wires.tick(2.0)
    copy = dict(b.store)
    given = identity_of("h7")
    b.take(b.node.donate(1, given, 2.0))
    wires.pump(2.0)
    lost = [view for view in b.node.ranges(1) if view.owner == given]
    assert lost

    back = b.rolled_back(copy).begin(3.0)
    assert not [view for view in back.node.ranges(1) if view.owner == given], "the copy does not know of it"
    with pytest.raises(Refusal, match="older copy") as refusal:
        back.node.allocate(1, b"new", 3.0)
    assert refusal.value.code == "rolled-back"
    with pytest.raises(Refusal):
        back.node.donate(1, identity_of("h8"), 3.0)

    wires.link(back, a, 3.0)
    wires.tick(3.0 + limits.DOUBT_S - 1, 3.0)
    with pytest.raises(Refusal):
        back.node.allocate(1, b"new", 3.0 + limits.DOUBT_S - 1)
    wires.tick(3.0 + 2 * limits.DOUBT_S, 3.0 + limits.DOUBT_S - 1)
    assert len(back.told(Heard)) == 1
    assert [view for view in back.node.ranges(1) if view.owner == given] == lost and back.told(Trouble)
    assert isinstance(back.node.allocate(1, b"new", 30.0)[1], Lease)


def test_a_lone_host_goes_on_after_a_while_and_no_other_before_it_was_heard() -> None:
    a = founder()
    copy = dict(a.store)
    lone = a.rolled_back(copy).begin(0.0)
    wires = Wires()
    wires.cores["h0"] = lone
    wires.tick(limits.LONE_S + 2)
    assert len(lone.told(Heard)) == 1 and isinstance(lone.node.allocate(1, b"new", 70.0)[1], Lease)

    b = member("h1", a)
    cut_off = b.rolled_back(dict(b.store)).begin(0.0)
    wires.cores = {"h1": cut_off}
    wires.tick(10 * limits.LONE_S)
    assert not cut_off.told(Heard)


def test_only_who_holds_exactly_the_same_of_a_host_agrees_about_it() -> None:
    a = founder()
    b = member("h1", a)
    a.take(a.node.absorb(b.node.export(), 0.0))

    def agree() -> bool:
        digest = decode(a.node._replica.spread.digest())
        assert isinstance(digest, Digest)
        return b.node._replica.spread.agrees(digest, b.identity)

    assert agree()
    b.take(b.node.donate(1, identity_of("h7"), 1.0))
    assert not agree()
    a.take(a.node.absorb(b.node.export(), 1.0))
    assert agree()
