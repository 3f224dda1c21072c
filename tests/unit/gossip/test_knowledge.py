"""What a core tells and answers once somebody does not count any more, or counts again."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from gossip.errors import Refusal
from gossip.events import (
    CloseLink,
    Dial,
    EndpointGone,
    EndpointSet,
    Lease,
    NetworkSettled,
    PeerRevoked,
    PeerSeen,
    Reachable,
    Readmitted,
    RotationView,
    SecretRotation,
    Trouble,
)
from gossip.spreading.codec import Delta, decode
from gossip.state.address_bodies import REQUEST, EndpointBody
from gossip.state.bodies import (
    ALLOW,
    INSTALL,
    PEER,
    REVOKE,
    SECRET,
    SWITCH,
    AllowBody,
    RevokeBody,
    SecretBody,
    encode_body,
)
from gossip.state.statements import parse
from tests.sim.people import chain_of, identity_of, mac_of, peer_body
from tests.unit.gossip.cores import Core, Wires, founder, member, say

A, B, C = identity_of("h0"), identity_of("h1"), identity_of("h2")
KEY = b"k" * 32


def mesh() -> tuple[Wires, Core, Core, Core]:
    """h0 - h1 - h2, an endpoint on h1, at rest at 3.0."""
    wires, a = Wires(), founder()
    b, c = member("h1", a), member("h2", a)
    wires.link(a, b)
    wires.link(b, c)
    attach(b, b"web")
    wires.tick(3.0)
    for core in (a, b, c):
        core.events.clear()
    return wires, a, b, c


def attach(core: Core, name: bytes, now: float = 1.0) -> EndpointBody:
    output, lease = core.node.allocate(1, name, now)
    assert isinstance(lease, Lease)
    core.take(output)
    body = EndpointBody(1, mac_of(name), [(lease.address, lease.number)], "")
    core.take(core.node.set_endpoint(body, now))
    return body


def test_a_revoked_peer_hears_of_it_and_is_cut_off_by_all() -> None:
    wires, a, b, c = mesh()
    ranges = a.node.ranges(1)
    a.take(a.node.revoke(B, 0, "lost", 3.0))
    assert [type(e) for e in a.events][:2] == [PeerRevoked, EndpointGone]
    wires.pump(3.0)
    for core in (a, b, c):
        assert core.told(PeerRevoked) == [PeerRevoked(B, A, "lost")]
        assert core.node.endpoints() == [] and len(core.told(EndpointGone)) == 1
        assert core.node.ranges(1) == ranges, "custody does not depend on it"
        assert not core.node.member(B) and [v.identity for v in core.node.peers() if v.revoked] == [B]
    assert [event.reason for event in a.told(CloseLink)] == ["the peer does not count as a member"]
    assert a.node.links() == [] and c.node.links() == []
    wires.tick(40.0, 3.0)
    assert B not in [event.peer for core in (a, c) for event in core.told(Dial)]
    assert b.told(Dial) == [], "nor does it dial any more"
    assert Reachable(B, False) in a.events and Reachable(B, False) in c.events


def test_what_bars_a_peer_is_durable_in_the_step_that_tells_it_and_told_at_every_start() -> None:
    wires, a, _, c = mesh()
    out = a.node.revoke(B, 0, "lost", 3.0)
    assert [parse(put.value).kind for put in out.persist if put.value] == [REVOKE]
    assert [decode(message) for _, message in out.send] == [Delta([out_wire(out.persist[0].value)])]
    a.take(out)
    wires.pump(3.0)
    again = c.again().begin(5.0)
    assert again.told(PeerRevoked) == [PeerRevoked(B, A, "lost")]
    assert [event.peer for event in again.told(PeerSeen)] == [A]
    assert again.told(EndpointSet) == []


def out_wire(value: bytes | None) -> bytes:
    assert value is not None
    return value


def test_a_link_of_a_barred_peer_is_closed_at_once() -> None:
    wires, a, b, _ = mesh()
    a.take(a.node.revoke(B, 0, "", 3.0))
    wires.pump(3.0)
    a.events.clear()
    here, _ = wires.link(b, a, 4.0)[::-1]
    assert [event.link for event in a.told(CloseLink)] == [here]
    assert a.node.links() == []


def test_its_own_host_gives_and_takes_nothing_any_more() -> None:
    wires, a, b, _ = mesh()
    body = next(body for owner, body in a.node.endpoints() if owner == B)
    a.take(a.node.revoke(B, 0, "lost", 3.0))
    wires.pump(3.0)
    for act in (
        lambda: b.node.allocate(1, b"new", 4.0),
        lambda: b.node.allocate(1, b"web", 4.0),
        lambda: b.node.set_endpoint(replace(body, name="other"), 4.0),
        lambda: b.node.create_network("web", [], None, 4.0),
        lambda: b.node.donate(1, C, 4.0),
    ):
        with pytest.raises(Refusal) as refusal:
            act()
        assert refusal.value.code == "revoked" and "h0" in refusal.value.why and "lost" in refusal.value.why
    again = b.again().begin(5.0)
    again.take(again.node.set_endpoint(body, 5.0))
    assert again.node.endpoints() == [], "a host that starts again says what it said, and is not heeded"
    b.take(b.node.drop_endpoint(1, body.mac, 5.0))
    b.take(b.node.release(1, b"web", 5.0))
    b.take(b.node.leave(6.0))
    with pytest.raises(Refusal) as refusal:
        a.node.donate(1, B, 5.0)
    assert refusal.value.code == "revoked"


def test_its_own_host_hears_of_a_list_and_of_being_on_it_after_all() -> None:
    wires, a, b, _ = mesh()
    a.take(a.node.allow(None, True, 3.0))
    wires.pump(3.0)
    assert PeerRevoked(B, A, "it is not on the allow-list") in b.told(PeerRevoked)
    with pytest.raises(Refusal) as refusal:
        b.node.allocate(1, b"new", 4.0)
    assert refusal.value.code == "revoked" and "allow-list" in refusal.value.why
    assert not b.node.member(B) and b.node.roles(B) == () and b.told(Readmitted) == []
    again = b.again().begin(5.0)
    assert PeerRevoked(B, A, "it is not on the allow-list") in again.told(PeerRevoked)
    a.take(a.node.allow(B, True, 6.0))
    again.take(again.node.absorb(a.node.export(), 6.0))
    assert len(again.told(Readmitted)) == 1 and again.node.member(B)
    assert isinstance(again.node.allocate(1, b"new", 7.0)[1], Lease)
    assert [event.peer for event in again.told(PeerSeen)] == [A], "the other is on no list"


def test_who_holds_a_void_certificate_is_out_and_hears_why() -> None:
    a = founder()
    inviter = Core("h3").begin(body=peer_body("h3", chain=chain_of("h3", ("h0", 4), roles=("invite",))))
    body = peer_body("h1", "h1:1", chain=chain_of("h1", ("h3", 6), ("h0", 4)))
    guest = Core("h1").begin(body=body)
    for core in (inviter, guest):
        a.take(a.node.absorb(core.node.export(), 1.0))
    a.take(a.node.donate(1, B, 1.0))
    guest.take(guest.node.absorb(a.node.export(), 1.0))
    attach(guest, b"web")
    a.take(a.node.absorb(guest.node.export(), 2.0))
    a.take(a.node.revoke(identity_of("h3"), 7, "", 3.0))
    assert a.node.member(B), "its certificate is older than what is void"
    a.events.clear()
    a.take(a.node.revoke(identity_of("h3"), 6, "", 3.0))
    guest.take(guest.node.absorb(a.node.export(), 3.0))
    for core in (a, guest, a.again().begin(4.0), guest.again().begin(4.0, body=body)):
        reasons = [event.reason for event in core.told(PeerRevoked) if event.peer == B]
        assert len(reasons) == 1 and "void" in reasons[0]
        assert not core.node.member(B) and core.node.endpoints() == []
    assert [event.owner for event in a.told(EndpointGone)] == [B]
    with pytest.raises(Refusal) as refusal:
        guest.node.set_endpoint(EndpointBody(1, mac_of(b"web"), [], ""), 4.0)
    assert refusal.value.code == "revoked"


def test_it_is_not_asked_for_its_addresses() -> None:
    wires, a, _, c = mesh()
    theirs = next(view for view in a.node.ranges(1) if view.owner == B)
    wanted = f"10.{theirs.start >> 16 & 255}.0.9"
    output, answer = c.node.allocate(1, b"before", 3.0, wanted)
    assert answer is None, "who counts is asked"
    c.take(output)
    a.take(a.node.revoke(B, 0, "", 4.0))
    wires.pump(4.0)
    wires.link(a, c, 4.0)
    wires.tick(6.0, 4.0)
    output, answer = c.node.allocate(1, b"after", 6.0, wanted)
    assert isinstance(answer, Refusal) and answer.code == "foreign", "nobody else could give it"
    assert [put for put in output.persist if put.value and parse(put.value).kind == REQUEST] == []


def test_requests_of_a_barred_peer_are_dropped() -> None:
    wires, a, b, _ = mesh()
    with_request = b.node.create_network("web", [], None, 3.0)
    assert with_request[1] is None
    a.take(a.node.revoke(B, 0, "", 3.0))
    b.take(with_request[0])
    a.take(a.node.absorb(b.node.export(), 3.0))
    wires.pump(3.0)
    assert a.node.names() == [] and [row for row in a.node.summary() if row[1] == REQUEST]


def test_nobody_asks_a_registrar_that_does_not_count() -> None:
    wires, a, _, _ = mesh()
    staff = Core("h3").begin(3.0, body=peer_body("h3", chain=chain_of("h3", roles=("admin",))))
    staff.take(staff.node.absorb(a.node.export(), 3.0))
    a.take(a.node.leave(3.0))  # h1 or h2 is the registrar now
    wires.pump(3.0)
    staff.take(staff.node.absorb(a.node.export(), 3.0))
    registrar = staff.node.registrar()
    assert registrar in (B, C)
    staff.take(staff.node.revoke(registrar, 0, "", 4.0))
    output, answer = staff.node.create_network("web", [], None, 4.0)
    assert answer is None and not [row for row in staff.node.summary() if row[1] == REQUEST]
    staff.take(output)
    staff.take(staff.node.handle_timer(6.0))
    settled = staff.told(NetworkSettled)[0].answer
    assert isinstance(settled, Refusal) and settled.code == "unreachable" and "does not count" in settled.why


def test_no_heir_is_barred() -> None:
    wires, a, _, c = mesh()
    a.take(a.node.revoke(B, 0, "", 3.0))
    wires.pump(3.0)
    before = [view for view in c.node.ranges(1) if view.owner == B]
    wires.link(a, c, 3.0)
    wires.pump(3.0)
    a.take(a.node.leave(4.0))
    wires.pump(4.0)
    assert [view for view in c.node.ranges(1) if view.owner == B] == before
    assert c.node.registrar() == C


def test_who_counts_again_is_seen_again_with_its_endpoints() -> None:
    wires, a, _, c = mesh()
    body = next(body for owner, body in c.node.endpoints() if owner == B)
    a.take(a.node.allow(C, True, 3.0))
    a.take(a.node.allow(None, True, 3.0))
    wires.pump(3.0)
    assert [event.reason for event in c.told(PeerRevoked)] == ["it is not on the allow-list"]
    assert a.told(EndpointGone) == [EndpointGone(B, 1, body.mac)]
    a.events.clear()
    a.take(a.node.allow(B, True, 4.0))
    assert a.told(PeerSeen) == [PeerSeen(B, peer_body("h1", "h1:6799"))]
    assert a.told(EndpointSet) == [EndpointSet(B, body)]
    assert [event.peer for event in a.told(Dial)] == [B]
    assert a.node.member(B)


def test_a_peer_that_is_not_on_the_list_is_never_seen() -> None:
    a = founder()
    a.take(a.node.allow(None, True, 0.0))
    stranger = Core("h1").begin()
    a.take(a.node.absorb(stranger.node.export(), 1.0))
    assert a.told(PeerSeen) == [] and [event.peer for event in a.told(PeerRevoked)] == [B]
    assert a.told(Dial) == []


def test_a_statement_without_the_role_is_reported_once_and_relayed() -> None:
    wires, a, b, c = mesh()
    lie = say("h2", (REVOKE, B), (c.node.incarnation, 900), encode_body(REVOKE, RevokeBody(B, 0, "")))
    more = say("h2", (ALLOW, b""), (c.node.incarnation, 901), encode_body(ALLOW, AllowBody(b"")))
    b.take(b.node.absorb([lie.wire(), more.wire()], 3.0))
    wires.pump(3.0)
    for core in (a, b):
        assert [event.what for event in core.told(Trouble) if "h2" in event.what] == [
            "peer h2 made a statement of kind allow without the role admin; it does not count"
        ]
        assert core.node.member(B) and not core.told(PeerRevoked)
        assert lie.wire() in core.node.export()


def test_a_restart_keeps_all_that_was_decided() -> None:
    wires, a, _, c = mesh()
    a.take(a.node.allow(C, True, 3.0))
    a.take(a.node.allow(None, True, 3.0))
    a.take(a.node.announce_secret(4, KEY, SWITCH, 3.0))
    a.take(a.node.revoke(identity_of("h9"), 2, "unseen", 3.0))
    lie = say("h2", (REVOKE, A), (c.node.incarnation, 900), encode_body(REVOKE, RevokeBody(A, 0, "")))
    c.take(c.node.absorb(a.node.export(), 3.0))
    a.take(a.node.absorb([lie.wire()], 3.0))
    wires.pump(3.0)
    for core in (a, c):
        again = core.again()
        for node in (again.node, again.begin(9.0).node):
            assert node.allowed() == (True, [C])
            assert node.rotation() == RotationView(4, KEY, SWITCH, A)
            assert node.revocations() == core.node.revocations() != []
            assert [node.member(who) for who in (A, B, C)] == [True, False, True]
            assert node.barred(identity_of("h9")) and not node.member(identity_of("h9"))
        assert [event.peer for event in again.told(PeerRevoked)] == sorted([B, identity_of("h9")])
        assert again.told(Trouble) == [], "what did not count was reported before"
        again.take(again.node.absorb(core.node.export(), 10.0))
        assert again.node.allowed() == (True, [C])


def test_the_secret_that_is_announced_is_told_when_it_changes_and_at_start() -> None:
    wires, a, _, c = mesh()
    a.take(a.node.announce_secret(1, KEY, INSTALL, 3.0))
    wires.pump(3.0)
    a.take(a.node.announce_secret(1, KEY, SWITCH, 3.0))
    wires.pump(3.0)
    wires.tick(12.0, 3.0)
    expected = [SecretRotation(1, KEY, phase, A) for phase in (INSTALL, SWITCH)]
    assert c.told(SecretRotation) == a.told(SecretRotation) == expected
    assert c.again().begin(20.0).told(SecretRotation) == expected[1:]
    lie = say("h2", (SECRET, b""), (c.node.incarnation, 900), encode_body(SECRET, SecretBody(9, KEY, SWITCH)))
    a.take(a.node.absorb([lie.wire()], 20.0))
    assert a.node.rotation() == c.node.rotation() and len(a.told(SecretRotation)) == 2


def test_a_peer_may_show_another_certificate() -> None:
    _, a, b, c = mesh()
    inviter = Core("h3").begin(3.0, body=peer_body("h3", chain=chain_of("h3", roles=("invite",))))
    b.take(b.node.update_peer(peer_body("h1", "h1:1", chain=chain_of("h1", ("h3", 4), ("h0", 0))), 3.0))
    for core in (inviter, b):
        a.take(a.node.absorb(core.node.export(), 3.0))
    assert a.node.highest_serial(identity_of("h3")) == 4
    a.take(a.node.revoke(identity_of("h3"), 4, "", 4.0))
    assert not a.node.member(B)
    b.take(b.node.update_peer(peer_body("h1", "h1:1"), 5.0))
    a.events.clear()
    a.take(a.node.absorb([w for w in b.node.export() if parse(w).kind == PEER], 5.0))
    assert a.node.member(B) and [event.peer for event in a.told(PeerSeen)] == [B]
    assert a.node.roles(A) == ("admin", "invite") and a.node.roles(B) == () and not c.node.roles(C)
