from __future__ import annotations

from collections.abc import Callable

import pytest

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Cloned, EndpointSet, Lease, LeaseSettled, Trouble
from gossip.node import Node
from gossip.state.address_bodies import EndpointBody
from gossip.state.bodies import PEER, encode_body
from gossip.state.clones import Clones
from tests.sim.people import identity_of, mac_of, peer_body
from tests.unit.gossip.cores import Core, Wires, founder, member, say

US, THEM, OTHERS = b"our boot", b"theirs..", b"others.."


def test_one_sign_is_a_rolled_back_disk_and_an_answer_is_somebody_alive() -> None:
    clones = Clones()
    clones.own(US)
    assert not clones.sign(THEM, 9, 3, 0.0)
    assert not clones.alive(0.0)
    assert clones.sign(THEM, 11, 10, 1.0)
    assert clones.alive(1.0)
    assert not clones.sign(THEM, 13, 12, 2.0), "it is known already"


def test_what_proves_nothing() -> None:
    clones = Clones()
    clones.own(US)
    clones.sign(THEM, 9, 3, 0.0)
    assert not clones.sign(THEM, 9, 10, 1.0), "what is older than this incarnation was said before it"
    assert not clones.sign(US, 12, 10, 1.0), "this run's own words come back"
    assert not clones.sign(OTHERS, 12, 10, 1.0), "each of two earlier lives left something"
    assert not clones.sign(OTHERS, 14, 12, 1.0), "nothing was begun above the first sign yet"
    assert not clones.alive(1.0)


def test_it_counts_until_the_other_was_silent_for_long() -> None:
    clones = Clones()
    for incarnation in (3, 5, 7):
        clones.sign(THEM, incarnation, incarnation - 1, 100.0 * incarnation)
    assert clones.alive(700.0 + limits.CLONED_S - 1)
    assert not clones.alive(700.0 + limits.CLONED_S)
    assert clones.sign(THEM, 20, 19, 5000.0), "then it is news again"


def test_the_first_answers_come_soon_and_then_they_are_rare() -> None:
    clones = Clones()
    clones.answered()
    assert clones.pace(0.0) == limits.RENEW_PACE_S
    for incarnation in (3, 5):
        clones.sign(THEM, incarnation, incarnation - 1, 100.0)
    for _ in range(limits.CLONED_ANSWERS):
        assert clones.pace(100.0) == limits.RENEW_PACE_S
        clones.answered()
    assert clones.pace(100.0) == limits.CLONED_PACE_S
    assert clones.pace(100.0 + limits.CLONED_S) == limits.RENEW_PACE_S, "it is over"
    clones.sign(THEM, 9, 8, 5000.0)
    assert clones.pace(5000.0) == limits.RENEW_PACE_S, "and begins again"


def test_the_boots_remembered_are_bounded() -> None:
    clones = Clones()
    for number in range(100):
        clones.own(number.to_bytes(8, "big"))
        clones.sign(b"other%03d" % number, 1, 1, 0.0)
    assert len(clones._boots) == len(clones._rivals) == limits.MAX_BOOTS


def twins() -> tuple[Wires, Core, Core, Core, Core]:
    """h1 and its copy as started from one disk at 3.0, and the two others of the mesh, linked to each other."""
    a = founder()
    b = member("h1", a)
    c = member("h2", a)
    wires = Wires()
    wires.link(a, c)
    wires.link(b, a)
    wires.tick(2.0)
    b.take(b.node.allocate(1, b"old", 2.0)[0])
    b.sent.clear()
    one = b.again().begin(3.0, body=peer_body("h1", "one:1", boot=1))
    two = b.again().begin(3.0, body=peer_body("h1", "two:1", boot=2))
    one.name, two.name = "one", "two"
    del wires.cores["h1"]
    return wires, a, c, one, two


def together() -> tuple[Wires, Core, Core, Core]:
    """The two, each with a link of its own, ten seconds later."""
    wires, a, c, one, two = twins()
    wires.link(one, a, 3.0)
    wires.link(two, c, 3.1)
    wires.tick(13.0, 3.0)
    return wires, a, one, two


def check_both_know(one: Core, two: Core, now: float) -> None:
    for core in (one, two):
        assert len(core.told(Cloned)) == 1 and core.node.cloned(now)
        assert len(core.told(Trouble)) <= 2, "they do not fill the log"
        for act in ACTS:
            with pytest.raises(Refusal) as refusal:
                act(core.node, now)
            assert refusal.value.code == "cloned"
        assert isinstance(core.node.allocate(1, b"old", now)[1], Lease), "what it has it keeps"


ACTS: list[Callable[[Node, float], object]] = [
    lambda node, now: node.allocate(1, b"new", now),
    lambda node, now: node.allocate(1, b"old", now, "10.32.0.99"),
    lambda node, now: node.create_network("web", [], None, now),
    lambda node, now: node.donate(1, identity_of("h7"), now),
]


def test_two_live_hosts_with_one_identity_both_notice_and_give_nothing_out() -> None:
    _, a, one, two = together()
    check_both_know(one, two, 13.0)
    assert not a.told(Cloned) and not a.node.cloned(13.0)


def test_they_notice_over_one_peer_that_has_only_one_link_for_both() -> None:
    wires, a, _, one, two = twins()
    for turn in range(10):
        wires.link((one, two)[turn % 2], a, 3.0 + turn)
        wires.tick(4.0 + turn, 3.0 + turn)
    check_both_know(one, two, 13.0)


def test_clones_renew_now_and_then_and_not_in_a_race() -> None:
    wires, _, one, two = together()
    wires.tick(20.0, 13.0)
    before = max(one.node.incarnation, two.node.incarnation)
    wires.tick(320.0, 20.0)
    renewed = max(one.node.incarnation, two.node.incarnation) - before
    assert 2 <= renewed <= 2 * 300 / limits.CLONED_PACE_S + 2
    assert one.node.cloned(320.0) and two.node.cloned(320.0)


def test_a_clone_does_not_answer_requests() -> None:
    wires, a, one, two = together()
    guest = Core("h3").begin(13.0)
    guest.take(guest.node.absorb(a.node.export(), 13.0))
    mine = [view for view in a.node.ranges(1) if view.owner == one.identity]
    wanted = f"{mine[0].start + 9 >> 24}.{mine[0].start + 9 >> 16 & 255}.{mine[0].start + 9 >> 8 & 255}.{9}"
    wires.link(guest, a, 13.0)
    output, answer = guest.node.allocate(1, b"guest", 13.0, wanted)
    assert answer is None
    guest.take(output)
    wires.tick(14.5, 13.0)
    settled = guest.told(LeaseSettled)
    assert len(settled) == 1 and isinstance(settled[0].answer, Refusal)
    assert one.node.ranges(1) == two.node.ranges(1) == a.node.ranges(1)


def test_after_one_of_them_is_gone_the_other_recovers() -> None:
    wires, a, one, _ = together()
    wires.tick(40.0, 13.0)
    for key in [key for key in wires.far if "two" in (key[0], wires.far[key][0].name)]:
        del wires.far[key]
    del wires.cores["two"]
    wires.tick(40.0 + limits.CLONED_S + 60, 40.0, 1.0)
    now = 40.0 + limits.CLONED_S + 60
    assert not one.node.cloned(now)
    output, lease = one.node.allocate(1, b"new", now)
    assert isinstance(lease, Lease)
    one.take(output)
    body = EndpointBody(1, mac_of(b"new"), [(lease.address, lease.number)], "")
    one.take(one.node.set_endpoint(body, now))
    wires.pump(now)
    assert a.told(EndpointSet) == [EndpointSet(one.identity, body)]


def test_a_disk_that_was_rolled_back_is_no_clone() -> None:
    a = founder()
    b = member("h1", a)
    old = dict(b.store)
    for life in (1, 2, 3):
        b = b.again().begin(float(life), body=peer_body("h1", "h1:1", boot=life))
    wires = Wires()
    wires.link(a, b, 4.0)
    later = say("h1", (PEER, b""), (b.node.incarnation + 3, 1), encode_body(PEER, peer_body("h1", boot=9)))
    back = Core("h1", old).begin(10.0, body=peer_body("h1", "h1:1", boot=7))
    wires = Wires()
    wires.link(back, a, 10.0)
    a.take(a.node.absorb([later.wire()], 13.0))
    wires.pump(13.0)
    wires.tick(30.0, 13.0)
    assert back.node.incarnation == later.incarnation + 1
    assert back.told(Trouble) and not back.told(Cloned) and not back.node.cloned(30.0)
