from __future__ import annotations

import pytest

from gossip import limits
from gossip.errors import Refusal
from gossip.events import ReclaimDone, ReclaimSettled, Trouble
from gossip.state.address_bodies import FENCE, GRANT, RECLAIM, ReclaimBody
from gossip.state.bodies import encode_body
from tests.sim.people import identity_of
from tests.unit.gossip.cores import Core, member
from tests.unit.gossip.dying import LONG, Dying, admin, all_owned, give, of_kind, owned, promised

WHOLE = 2**20  # addresses of the default network


def dead(mesh: Dying, *cores: Core) -> None:
    """They die, and are not heard of any more."""
    for core in cores:
        mesh.kill(core)
    mesh.pass_(LONG)


def done(answer: ReclaimDone | Refusal | None) -> ReclaimDone:
    assert isinstance(answer, ReclaimDone), answer
    return answer


def refused(answer: ReclaimDone | Refusal | None) -> str:
    assert isinstance(answer, Refusal), answer
    return answer.code


# --- what an operator sees --------------------------------------------------------------------------------------------


def test_what_a_dead_peer_owned_is_the_admins_when_all_agree() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    before = owned(one, one), owned(one, lost)
    assert mesh.reclaim(one, lost) is None
    answer = done(mesh.settled(one, 1.0))
    assert answer.peers == [lost.identity] and answer.quarantined == []
    assert sum(end - start for _, start, end in answer.ranges) == before[1]
    for core in (one, two):
        assert owned(core, one) == sum(before) and owned(core, lost) == 0 and all_owned(core) == WHOLE
        assert promised(core) == [] and core.node.check() == []


def test_the_last_one_alive_reclaims_without_asking_anybody() -> None:
    mesh = Dying(2)
    founder, last = mesh.cores
    dead(mesh, founder)
    answer = done(mesh.reclaim(last, founder))
    assert {number for number, _, _ in answer.ranges} == {0, 1}
    assert owned(last, last) == WHOLE and last.node.registrar() == last.identity
    assert done(answer).run and not last.told(ReclaimSettled)


def test_the_plan_says_what_would_happen_and_changes_nothing() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    before = one.node.summary()
    plan = one.node.reclaim_plan([lost.identity], mesh.now)
    assert plan.refusal is not None and plan.refusal.code == "alive"
    assert plan.heard_ago == {lost.identity: 0.0}
    dead(mesh, lost)
    plan = one.node.reclaim_plan([lost.identity, lost.identity], mesh.now)
    assert plan.refusal is None and plan.peers == [lost.identity]
    assert plan.must_consent == [two.identity] and plan.unreachable == []
    ago = plan.heard_ago[lost.identity]
    assert ago is not None and LONG - 2 < ago <= LONG
    assert sum(end - start for _, start, end in plan.ranges) == owned(one, lost)
    assert len(one.node.summary()) >= len(before) and not of_kind(one, one, RECLAIM)


def test_it_is_refused_for_a_reason() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    plain = member("h9", one)
    mesh.link(plain, one)
    mesh.pass_(1.0)
    assert refused(mesh.reclaim(plain, lost)) == "role"
    mesh.kill(plain)
    assert refused(mesh.reclaim(one, one)) == "invalid"
    assert refused(mesh.reclaim(one)) == "invalid"
    assert refused(mesh.reclaim(one, Core("h77"))) == "invalid"
    assert refused(mesh.reclaim(one, lost)) == "alive"
    dead(mesh, lost, two)
    assert refused(mesh.reclaim(one, lost)) == "unreachable"
    done(mesh.reclaim(one, lost, two, plain))
    assert owned(one, one) == WHOLE
    assert refused(mesh.reclaim(one, lost)) == "invalid"  # it owns nothing any more


def test_one_run_at_a_time() -> None:
    mesh = Dying(4)
    one, two, three, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    assert refused(mesh.reclaim(one, lost)) == "taken"
    mesh.wires.pump(mesh.now)
    done(mesh.settled(one, 1.0))
    assert owned(three, one) + owned(three, two) + owned(three, three) == WHOLE


def test_more_than_a_host_may_say_is_refused_before_anything_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh = Dying(3)
    one, _, lost = mesh.cores
    dead(mesh, lost)
    for bound in ("MAX_OWN_GRANTS", "MAX_OWN_FENCES", "MAX_STATEMENTS_PER_OWNER"):
        with monkeypatch.context() as patched:
            patched.setattr(limits, bound, 0)
            assert refused(mesh.reclaim(one, lost)) == "exhausted"
    assert not of_kind(one, one, RECLAIM, FENCE)


def test_forced_it_passes_over_who_cannot_be_reached() -> None:
    mesh = Dying(4)
    one, two, away, lost = mesh.cores
    dead(mesh, lost, away)
    assert refused(mesh.reclaim(one, lost)) == "unreachable"
    assert mesh.reclaim(one, lost, forced=True) is None
    done(mesh.settled(one, 1.0))
    assert owned(two, lost) == 0


def test_a_member_that_cannot_be_asked_any_more_is_named_when_it_is_too_late() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    one.sent = []
    mesh.kill(two)
    answer = mesh.settled(one)
    assert refused(answer) == "unreachable" and isinstance(answer, Refusal) and "h1" in answer.why
    assert owned(one, lost) > 0 and not of_kind(one, one, FENCE)


# --- what somebody knows that the asker does not ----------------------------------------------------------------------


def test_a_range_the_dead_peer_gave_away_unheard_stays_with_who_got_it() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    mesh.cut(one)
    give(lost, two, mesh.now)
    mesh.wires.pump(mesh.now)
    dead(mesh, lost)
    had = owned(two, two)
    assert owned(one, two) == had - 16
    mesh.link(one, two)
    mesh.pass_(LONG)
    assert mesh.reclaim(one, lost) is None
    done(mesh.settled(one, 4.0))
    assert owned(one, two) == owned(two, two) == had and all_owned(one) == WHOLE


def test_a_grant_that_only_a_member_knows_holds_the_run_up() -> None:
    """What is kept from the asker: no run comes through as long as the two differ."""
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    tile = give(lost, two, mesh.now)
    two.take(two.node.absorb([tile.wire()], mesh.now))
    two.sent = [each for each in two.sent if tile.blob not in each[1]]
    assert mesh.reclaim(one, lost) is None
    mesh.wires.pump(mesh.now)
    assert promised(two) == [lost.identity]
    assert not one.told(ReclaimSettled)
    one.take(one.node.absorb([tile.wire()], mesh.now))
    done(mesh.settled(one, 4.0))
    assert owned(one, two) == owned(two, two)


def test_a_member_the_asker_never_heard_of_must_agree_too() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    hidden = admin("h5", two, mesh.now)  # nobody told the asker
    two.take(two.node.absorb(hidden.node.export(), mesh.now))
    give_late = give(lost, hidden, mesh.now)
    hidden.take(hidden.node.absorb([give_late.wire()], mesh.now))
    two.sent = []
    assert one.node.peer(hidden.identity) is None
    assert mesh.reclaim(one, lost) is None
    mesh.wires.pump(mesh.now)
    assert not one.told(ReclaimSettled) and not of_kind(one, one, FENCE)


# --- who comes, goes and returns in the middle ------------------------------------------------------------------------


def test_two_who_reclaim_the_same_peer_do_not_both_get_it() -> None:
    mesh = Dying(4)
    one, two, three, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None and mesh.reclaim(two, lost) is None
    mesh.wires.pump(mesh.now)
    mesh.pass_(11.0)
    answers = [core.told(ReclaimSettled)[-1].answer for core in (one, two)]
    assert sum(isinstance(answer, ReclaimDone) for answer in answers) == 1
    assert "taken" in [answer.code for answer in answers if isinstance(answer, Refusal)]
    for core in (one, two, three):
        assert all_owned(core) == WHOLE and owned(core, lost) == 0 and core.node.check() == []


def test_a_named_peer_that_returns_in_the_middle_keeps_what_it_has() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    had = owned(one, lost)
    assert mesh.reclaim(one, lost) is None
    one.sent, held = [], one.sent
    back = mesh.restart(lost, two)
    mesh.link(back, one)
    one.sent += held
    answer = mesh.settled(one, 4.0)
    assert refused(answer) == "alive"
    mesh.pass_(1.0)
    for core in (one, two, back):
        assert owned(core, back) == had and promised(core) == []


def test_a_member_that_joins_in_the_middle_is_asked_as_well() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    one.sent, under_way = [], one.sent
    late = admin("h5", two, mesh.now)
    one.sent += under_way
    mesh.link(late, two)
    done(mesh.settled(one, 8.0))
    for core in (one, two, late):
        assert owned(core, lost) == 0 and all_owned(core) == WHOLE and promised(core) == []


def test_an_asker_that_restarts_gives_the_promises_back() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    two.take(two.node.absorb(of_kind(one, one, RECLAIM), mesh.now))
    assert promised(two) == [lost.identity]
    late = give(lost, two, mesh.now)
    again = mesh.restart(one, two)
    mesh.pass_(1.0)
    assert promised(two) == [] and owned(two, lost) > 0
    had = owned(two, two)
    two.take(two.node.absorb([late.wire()], mesh.now))
    assert owned(two, two) == had + 16
    mesh.pass_(2.0)
    assert mesh.reclaim(again, lost) is None
    done(mesh.settled(again, 4.0))
    assert owned(again, two) == had + 16


def test_an_asker_that_dies_when_it_is_through_is_not_taken_for_failed() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    late = give(lost, two, mesh.now)
    assert mesh.reclaim(one, lost) is None
    two.take(two.node.absorb(of_kind(one, one, RECLAIM), mesh.now))
    one.sent = []
    one.take(one.node.absorb(of_kind(two, two, "consent"), mesh.now))
    done(one.told(ReclaimSettled)[-1].answer)
    one.sent = []
    again = mesh.restart(one)  # nobody heard that it is through
    two.take(two.node.absorb(of_kind(again, again, RECLAIM), mesh.now))
    assert promised(two) == [lost.identity]
    two.take(two.node.absorb([late.wire()], mesh.now))
    had = owned(two, two)
    mesh.link(again, two)
    mesh.pass_(2.0)
    assert promised(two) == [] and owned(two, two) == had, "what the dead peer gave after all agreed is nothing"
    assert owned(two, again) == owned(again, again) == WHOLE - had


def test_an_asker_that_died_is_reclaimed_first_and_its_run_is_void_for_good() -> None:
    mesh = Dying(4)
    one, two, three, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    request = of_kind(one, one, RECLAIM)
    for core in (two, three):
        core.take(core.node.absorb(request, mesh.now))
    one.sent = []
    for core in (two, three):
        one.take(one.node.absorb(of_kind(core, core, "consent"), mesh.now))
    done(one.told(ReclaimSettled)[-1].answer)  # it is through, and dies before it says so
    mesh.kill(one)
    mesh.pass_(LONG)
    assert refused(mesh.reclaim(two, lost)) == "taken"
    assert mesh.reclaim(two, lost, one) is None
    done(mesh.settled(two, 4.0))
    assert promised(three) == promised(two) == []
    share = {core.name: owned(two, core) for core in (two, three)}
    back = mesh.restart(one, two, three)
    mesh.pass_(4.0)
    for core in (two, three, back):
        assert {each.name: owned(core, each) for each in (two, three)} == share
        assert owned(core, lost) == 0 and owned(core, one) == 0
        assert core.node.networks() and all_owned(core) == WHOLE


# --- the dead peer returns --------------------------------------------------------------------------------------------


def test_a_reclaimed_peer_that_returns_gives_up_its_ranges() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    done(mesh.settled(one, 1.0))
    back = mesh.restart(lost, two)
    mesh.pass_(2.0)
    assert owned(back, back) == 0
    assert any("took this host for dead" in each.what for each in back.told(Trouble))
    assert back.node.incarnation > 1
    output, answer = back.node.allocate(1, b"new", mesh.now)
    back.take(output)
    assert answer is None
    mesh.pass_(1.0)
    assert len(back.node.leases()) == 1 and all_owned(one) == WHOLE


def test_a_live_peer_that_hears_of_its_fence_begins_a_new_incarnation() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    mesh.cut(lost)
    mesh.pass_(LONG)
    assert mesh.reclaim(one, lost) is None
    done(mesh.settled(one, 1.0))
    assert one.node._fences.fenced_out(lost.identity)
    before = lost.node.incarnation
    mesh.link(lost, two)
    mesh.pass_(1.0)
    assert lost.node.incarnation > before and owned(lost, lost) == 0
    assert not one.node._fences.fenced_out(lost.identity)


def test_a_returned_peer_that_heard_half_of_it_gives_up_all() -> None:
    mesh = Dying(3)
    one, _, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    done(mesh.settled(one, 1.0))
    back = mesh.restart(lost)
    back.take(back.node.absorb(of_kind(one, one, FENCE), mesh.now))
    assert owned(back, back) == 0 and owned(back, one) == WHOLE - owned(one, mesh.cores[1])
    mesh.link(back, one)
    mesh.pass_(2.0)
    assert [owned(core, one) for core in (one, back)] == [WHOLE - owned(one, mesh.cores[1])] * 2


def test_what_a_returned_peer_gave_away_before_it_heard_is_nothing() -> None:
    """Whoever promised keeps it back until it has heard all of the reclaim, in whatever order that comes."""
    mesh = Dying(3)
    one, two, lost = mesh.cores
    dead(mesh, lost)
    assert mesh.reclaim(one, lost) is None
    two.take(two.node.absorb(of_kind(one, one, RECLAIM), mesh.now))
    one.sent = []
    one.take(one.node.absorb(of_kind(two, two, "consent"), mesh.now))
    done(one.told(ReclaimSettled)[-1].answer)
    one.sent = []
    back = mesh.restart(lost)
    had = owned(two, two)
    late = give(back, two, mesh.now)
    two.take(two.node.absorb([late.wire()], mesh.now))
    assert owned(two, two) == had
    two.take(two.node.absorb(of_kind(one, one, FENCE), mesh.now))
    assert owned(two, two) == had and promised(two) == [lost.identity]
    two.take(two.node.absorb(of_kind(one, one, GRANT), mesh.now))
    assert owned(two, two) == had and promised(two) == []


def test_a_stranger_to_the_role_reclaims_nothing() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    plain = member("h9", one)
    mesh.link(plain, one)
    dead(mesh, lost)
    body = ReclaimBody(b"run 0001", [lost.identity])
    plain.take(plain.node._say((RECLAIM, body.key), encode_body(RECLAIM, body), mesh.now))
    mesh.wires.pump(mesh.now)
    assert promised(one) == promised(two) == []
    assert identity_of("h9") == plain.identity and of_kind(one, plain, RECLAIM)
