"""Scenarios of whole cores: meeting, restarting, leaving, and members that mean harm."""

from __future__ import annotations

import pytest

from gossip import limits
from gossip.errors import LocalError, Refusal
from gossip.events import (
    SPACE_OWN,
    CloseLink,
    Dial,
    EndpointGone,
    EndpointSet,
    Lease,
    PeerLeft,
    PeerSeen,
    Reachable,
    Trouble,
)
from gossip.spreading.codec import Delta, encode
from gossip.state.address_bodies import ENDPOINT, EndpointBody
from gossip.state.bodies import LINKS, PEER, LinksBody, encode_body
from gossip.state.statements import parse
from tests.sim.people import admit, identity_of, mac_of, peer_body
from tests.unit.gossip.cores import DEFAULT, Core, Wires, founder, member, say, wire_of

A, B, C = identity_of("h0"), identity_of("h1"), identity_of("h2")


def endpoint(core: Core, name: bytes, now: float = 0.0) -> EndpointBody:
    output, lease = core.node.allocate(1, name, now)
    assert isinstance(lease, Lease)
    core.take(output)
    body = EndpointBody(1, mac_of(name), [(lease.address, lease.number)], "")
    core.take(core.node.set_endpoint(body, now))
    return body


def three() -> tuple[Wires, Core, Core, Core]:
    wires, a = Wires(), founder()
    b, c = member("h1", a), member("h2", a)
    wires.link(a, b)
    wires.link(b, c)
    return wires, a, b, c


def test_two_peers_that_link_hold_the_same() -> None:
    wires, a = Wires(), founder()
    b = member("h1", a)
    wires.link(b, a)
    wires.tick(3.0)
    assert a.node.summary() == b.node.summary()
    assert [view.identity for view in a.node.peers()] == sorted([A, B])
    assert Reachable(B, True) in a.events and Reachable(A, True) in b.events
    assert a.node.networks() == b.node.networks() == [DEFAULT]


def test_an_endpoint_is_told_to_others_and_gone_when_dropped() -> None:
    wires, a, _, c = three()
    body = endpoint(a, b"web")
    wires.pump(1.0)
    assert c.told(EndpointSet) == [EndpointSet(A, body)]
    assert a.told(EndpointSet) == []
    a.take(a.node.drop_endpoint(1, body.mac, 1.0))
    wires.pump(1.0)
    assert c.told(EndpointGone) == [EndpointGone(A, 1, body.mac)]
    assert a.node.endpoints() == c.node.endpoints() == []


def test_c_knows_only_b_and_learns_a_and_dials_it() -> None:
    wires, a = Wires(), founder()
    b = member("h1", a)
    wires.link(a, b)
    c = Core("h2").begin()
    c.take(c.node.absorb(wire_of(b, "h1", PEER), 0.0))
    assert [event.peer for event in c.told(Dial)] == [B]
    wires.link(c, b)
    wires.tick(5.0)
    assert PeerSeen(A, peer_body("h0", "h0:6799")) in c.events
    assert A in [event.peer for event in c.told(Dial)]
    assert next(event for event in c.told(Dial) if event.peer == A).addresses == ["h0:6799"]
    assert Reachable(A, True) in c.events and Reachable(C, True) in a.events


def test_a_restart_keeps_leases_ranges_and_endpoints_and_takes_the_next_incarnation() -> None:
    wires, a, b, _ = three()
    body = endpoint(b, b"web")
    wires.pump(1.0)
    again = b.again().begin(2.0)
    assert again.node.incarnation == b.node.incarnation + 1
    assert again.node.leases() == b.node.leases()
    assert again.node.endpoints() == [(B, body)]
    assert again.node.ranges(1) == b.node.ranges(1)
    wires = Wires()
    wires.link(a, again, 3.0)
    wires.tick(6.0, 3.0)
    assert a.node.summary() == again.node.summary()
    assert a.told(EndpointGone) == []


def test_what_a_restarted_peer_no_longer_says_vanishes_with_its_manifest() -> None:
    wires, a, b, _ = three()
    body = endpoint(b, b"web")
    wires.pump(1.0)
    forgetful = Core("h1", {key: value for key, value in b.store.items() if key[0] == SPACE_OWN}).begin(2.0)
    assert forgetful.node.incarnation == b.node.incarnation + 1
    Wires().link(a, forgetful, 3.0)
    assert a.told(EndpointGone) == [EndpointGone(B, 1, body.mac)]
    assert forgetful.node.ranges(1) == a.node.ranges(1)


def test_half_of_a_new_incarnation_voids_nothing() -> None:
    _, a, b, _ = three()
    endpoint(b, b"web")
    b.take(b.node.update_peer(peer_body("h1", "h1:6799"), 1.0))
    a.take(a.node.absorb(b.node.export(), 1.0))
    newer = say("h1", (PEER, b""), (9, 1), encode_body(PEER, peer_body("h1", "elsewhere:1")))
    a.take(a.node.absorb([newer.wire()], 2.0))
    assert [owner for owner, _ in a.node.endpoints()] == [B]


def test_state_that_was_rolled_back_takes_the_heard_incarnation_plus_one_and_gives_up_what_it_gave() -> None:
    a = founder()
    old = dict(a.store)
    b = member("h1", a)
    for now in (1.0, 2.0):
        a = a.again().begin(now)
    Wires().link(a, b)
    rolled_back = Core("h0", old).begin(10.0)
    assert [each.owner for each in rolled_back.node.ranges(1)] == [A]
    Wires().link(rolled_back, b, 11.0)
    assert rolled_back.node.incarnation == a.node.incarnation + 1
    assert [each.owner for each in rolled_back.node.ranges(1)] == [A, B]
    assert rolled_back.told(Trouble)
    assert rolled_back.node.summary() == b.node.summary()


def test_leaving_hands_everything_back_and_lasts() -> None:
    wires, a, b, c = three()
    endpoint(b, b"web")
    wires.pump(1.0)
    b.take(b.node.leave(2.0))
    wires.pump(2.0)
    wires.link(a, c, 2.0)
    assert a.told(PeerLeft) == c.told(PeerLeft) == [PeerLeft(B)]
    assert B not in [each.owner for each in a.node.ranges(1)]
    assert a.node.endpoints() == [] and b.node.leases() == []
    assert a.node.summary() == c.node.summary()
    with pytest.raises(Refusal):
        b.node.allocate(1, b"x", 3.0)
    assert next(view for view in a.again().node.peers() if view.identity == B).left
    for link, _ in b.node.links():
        b.take(b.node.link_down(link, 3.0))
    b.take(b.node.handle_timer(9.0))
    timer = b.node.next_timer()
    assert timer is not None and timer[0] > 9.0, "a peer that left keeps no timer busy"


def test_of_two_links_both_ends_keep_the_one_opened_by_the_smaller_identity() -> None:
    wires, a = Wires(), founder()
    b = member("h1", a)
    small, large = sorted((a, b), key=lambda core: core.identity)
    first = wires.link(large, small)
    second = wires.link(small, large)
    assert small.node.links() == [(second[0], large.identity)]
    assert large.node.links() == [(second[1], small.identity)]
    assert {event.link for core in (a, b) for event in core.told(CloseLink)} == set(first)
    third = wires.link(large, small)
    assert {event.link for core in (a, b) for event in core.told(CloseLink)} == {*first, *third}


def test_a_silent_link_is_closed_and_its_peer_unreachable() -> None:
    a = founder()
    b = member("h1", a)
    wires = Wires()
    here, _ = wires.link(a, b)
    wires.tick(1.0)
    del wires.cores["h1"]
    wires.far.clear()
    wires.tick(limits.SILENCE_S + 1, 1.0)
    assert CloseLink(here, "silent for too long") in a.events
    assert a.events.index(Reachable(B, True)) < a.events.index(Reachable(B, False))
    assert a.node.endpoints() == [] and len(a.node.peers()) == 2


def test_before_start_nothing_is_said() -> None:
    core = Core("h0")
    assert core.node.next_timer() is None
    with pytest.raises(LocalError):
        core.node.found_network(DEFAULT, 0.0)
    with pytest.raises(LocalError):
        core.begin().node.start(peer_body("h0"), 1.0)


def _hostile() -> dict[str, list[bytes]]:
    links = encode_body(LINKS, LinksBody([]))
    mine = EndpointBody(1, mac_of(b"x"), [("10.32.0.9/12", 1)], "")
    return {
        "in another's name": [say("h0", (LINKS, b""), (99, 1), links, signer="h2").wire()],
        "unsigned": [say("h2", (LINKS, b""), (99, 1), links, signer="h1").wire()],
        "oversized": [b"\x92\xc5\x20\x00" + bytes(8192) + b"\xc4\x40" + bytes(64)],
        "huge seq": [say("h0", (LINKS, b""), (1, limits.U64_MAX), links, signer="h2").wire()],
        "deep": [b"\x91" * 4000, say("h2", (LINKS, b""), (9, 1), b"\x91" * 4000).wire()],
        "another mesh": [say("h2", (LINKS, b""), (9, 1), links).wire().replace(b"simulated", b"different")],
        "a key that does not fit": [say("h2", (ENDPOINT, b"0123456789"), (9, 1), encode_body(ENDPOINT, mine)).wire()],
        "a stranger": [say("h9", (LINKS, b""), (1, 1), links).wire()],
        "not a member": [say("h9", (PEER, b""), (1, 1), encode_body(PEER, peer_body("h8"))).wire()],
    }


@pytest.mark.parametrize("case", sorted(_hostile()))
def test_a_hostile_member_leaves_others_state_as_it_was(case: str) -> None:
    wires, a, _, _ = three()
    endpoint(a, b"web")
    wires.tick(2.0)
    before, store = a.node.summary(), dict(a.store)
    link = next(link for link, peer in a.node.links() if peer == B)
    a.take(a.node.receive(link, encode(Delta(_hostile()[case][:1])), 2.1))
    a.take(a.node.absorb(_hostile()[case], 2.1))
    assert a.node.summary() == before
    assert a.store == store
    assert [link for link, _ in a.node.links()] == [link]
    assert sum(a.node.counters.values()) > 0


def test_an_endpoint_at_anothers_address_is_kept_but_does_not_count() -> None:
    _, a, b, c = three()
    body = endpoint(a, b"web")
    stolen = EndpointBody(1, mac_of(b"thief"), [(body.addresses[0][0], limits.U64_MAX)], "")
    lie = say("h2", (ENDPOINT, stolen.key), (9, 1), encode_body(ENDPOINT, stolen))
    b.take(b.node.absorb([*a.node.export(), *c.node.export(), lie.wire()], 1.0))
    assert b.node.endpoints() == [(A, body)]


def test_a_member_that_says_two_things_at_once_is_not_heeded_until_it_restarts() -> None:
    wires, a, b, c = three()
    body = endpoint(c, b"web")
    wires.pump(1.0)
    wire = wire_of(a, "h2", ENDPOINT)[0]
    assert [owner for owner, _ in a.node.endpoints()] == [C]
    version = (c.node.incarnation, parse(wire).seq)
    twin = say("h2", (ENDPOINT, body.key), version, encode_body(ENDPOINT, EndpointBody(1, body.mac, [], "")))
    a.take(a.node.absorb([twin.wire()], 2.0))
    assert [type(event) for event in a.events if isinstance(event, EndpointGone | Trouble)] == [Trouble, EndpointGone]
    assert a.node.links()
    wires.pump(2.0)
    assert b.told(EndpointGone), "the proof travels"
    assert c.node.incarnation == version[0] + 1, "who hears it of itself begins anew"
    wires.tick(8.0, 2.0)
    assert [owner for owner, _ in a.node.endpoints()] == [C]
    assert a.node.summary() == b.node.summary() == c.node.summary()
    assert a.again().node.endpoints() == a.node.endpoints()


def test_the_greatest_seq_locks_nobody_out() -> None:
    links = encode_body(LINKS, LinksBody([]))
    a = founder()
    last = say("h0", (LINKS, b""), (1, limits.U64_MAX), links)
    a.take(a.node.absorb([last.wire()], 1.0))
    assert a.node.incarnation == 2
    a.take(a.node.update_peer(peer_body("h0", "new:1"), 2.0))
    a.node._replica.seq = limits.U64_MAX
    a.take(a.node.update_peer(peer_body("h0", "newer:1"), 3.0))
    assert a.node.incarnation == 3
    assert a.node.peers()[0].body.addresses == ["newer:1"]
    very_last = say("h0", (LINKS, b""), (limits.U64_MAX, limits.U64_MAX), links)
    a.take(a.node.absorb([very_last.wire()], 10.0))
    assert any("used up" in event.what for event in a.told(Trouble))
    with pytest.raises(Refusal) as refusal:
        a.node.update_peer(peer_body("h0"), 11.0)
    assert refusal.value.code == "exhausted"
    a.take(a.node.handle_timer(20.0))
    a.again().begin(30.0)


def test_a_message_that_is_no_message_closes_the_link() -> None:
    _, a, _, _ = three()
    link = a.node.links()[0][0]
    a.take(a.node.receive(link, b"\xc1", 1.0))
    assert a.told(CloseLink)[-1].link == link
    assert a.node.links() == []
    assert a.node.receive(link, b"\xc1", 1.0).tell == []


def test_a_chain_is_asked_of_the_caller() -> None:
    with pytest.raises(ValueError):
        admit(B, peer_body("h2").chain)


def test_unknown_kinds_are_kept_and_relayed_byte_for_byte() -> None:
    wires, a = Wires(), founder()
    b, c = member("h1", a), member("h2", a)
    a.take(a.node.absorb(c.node.export(), 0.0))
    wires.link(a, b)
    strange = say("h2", ("tomorrow", b"key"), (c.node.incarnation, 1000), b"\x93who knows")
    a.take(a.node.absorb([strange.wire()], 1.0))
    wires.pump(1.0)
    assert strange.wire() in b.node.export()
    assert strange.wire() in b.again().node.export()
