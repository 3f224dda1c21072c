from __future__ import annotations

from collections.abc import Callable

import pytest

from gossip import limits
from gossip.errors import LocalError, Refusal
from gossip.events import Output, Revocation, RotationView
from gossip.node import Node
from gossip.state.bodies import ALLOW, DROP, INSTALL, SWITCH
from tests.sim.people import chain_of, identity_of, peer_body
from tests.unit.gossip.cores import Core, founder, member

A, B, C = (identity_of(name) for name in ("h0", "h1", "h2"))
KEY, OTHER = b"k" * 32, b"j" * 32
STAFF = ("admin", "invite")


def code_of(act: Callable[[], Output]) -> str:
    with pytest.raises(Refusal) as refusal:
        act()
    return refusal.value.code


def admin(via: Core) -> Core:
    """h1, an admin let in by the founder, that knows all the founder does and is known to it."""
    core = Core("h1").begin(body=peer_body("h1", chain=chain_of("h1", roles=STAFF)))
    meet(via, core)
    return core


def meet(one: Core, two: Core) -> None:
    one.take(one.node.absorb(two.node.export(), 1.0))
    two.take(two.node.absorb(one.node.export(), 1.0))


ACTS: list[Callable[[Node], Output]] = [
    lambda node: node.revoke(C, 0, "why not", 1.0),
    lambda node: node.allow(None, True, 1.0),
    lambda node: node.allow(C, True, 1.0),
    lambda node: node.allow(C, False, 1.0),
    lambda node: node.announce_secret(1, KEY, INSTALL, 1.0),
]


@pytest.mark.parametrize("act", ACTS)
def test_without_the_role_every_act_is_refused_and_nothing_is_said(act: Callable[[Node], Output]) -> None:
    a = founder()
    b = member("h1", a)
    before = b.node.summary()
    assert code_of(lambda: act(b.node)) == "role"
    assert b.node.summary() == before
    a.take(act(a.node))
    with pytest.raises(LocalError):
        act(Core("h0").node)


def test_a_revocation_is_said_once_and_for_good() -> None:
    a = founder()
    member("h1", a)
    a.take(a.node.revoke(B, 4, "lost", 1.0))
    assert a.node.revocations() == [Revocation(B, A, 4, "lost")]
    seq = a.node.summary()
    assert a.node.revoke(B, 4, "lost", 2.0).persist == []
    assert a.node.summary() == seq and a.again().node.revocations() == a.node.revocations()
    again = a.again().begin(3.0)
    assert again.node.revocations() == [Revocation(B, A, 4, "lost")]
    for identity, serial, reason in ((b"short", 0, ""), (B, -1, ""), (B, 0, "x" * 121), (B, 0, "\n")):
        with pytest.raises(LocalError) as error:
            again.node.revoke(identity, serial, reason, 4.0)
        assert not isinstance(error.value, Refusal)


def test_an_admin_nearer_to_the_founder_is_not_revoked() -> None:
    a = founder()
    b = admin(a)
    assert code_of(lambda: b.node.revoke(A, 0, "", 2.0)) == "role"
    assert code_of(lambda: a.node.revoke(A, 0, "", 2.0)) == "role", "nobody could undo that"
    b.take(b.node.revoke(B, 0, "", 2.0))
    assert b.node.revocations() == [Revocation(B, B, 0, "")], "itself it may"
    assert code_of(lambda: b.node.revoke(C, 0, "", 3.0)) == "role", "and then nothing more"


def test_the_list_is_kept_by_who_said_what() -> None:
    a = founder()
    b = admin(a)
    a.take(a.node.allow(C, True, 2.0))
    a.take(a.node.allow(None, True, 2.0))
    meet(a, b)
    assert b.node.allowed() == (True, [C])
    assert code_of(lambda: b.node.allow(C, False, 3.0)) == code_of(lambda: b.node.allow(None, False, 3.0)) == "foreign"
    b.take(b.node.allow(C, True, 3.0))
    meet(a, b)
    a.take(a.node.allow(C, False, 4.0))
    assert a.node.allowed() == (True, [C]), "another says so as well"
    assert code_of(lambda: a.node.allow(C, False, 4.0)) == "foreign"
    b.take(b.node.leave(5.0))
    meet(a, b)
    assert code_of(lambda: a.node.allow(C, False, 6.0)) == "foreign", "having left changes nothing"
    a.take(a.node.revoke(B, 0, "left", 7.0))
    a.take(a.node.allow(C, False, 8.0))
    a.take(a.node.allow(None, False, 8.0))
    assert a.node.allowed() == a.again().node.allowed() == (False, [])
    assert a.node.allow(C, False, 9.0).persist == []


def test_a_secret_only_goes_forward() -> None:
    a = founder()
    a.take(a.node.announce_secret(5, KEY, INSTALL, 1.0))
    a.take(a.node.announce_secret(5, KEY, SWITCH, 1.0))
    assert code_of(lambda: a.node.announce_secret(5, KEY, INSTALL, 2.0)) == "invalid"
    assert code_of(lambda: a.node.announce_secret(5, OTHER, INSTALL, 2.0)) == "taken"
    assert code_of(lambda: a.node.announce_secret(4, KEY, DROP, 2.0)) == "taken"
    assert a.node.rotation() == RotationView(5, KEY, SWITCH, A)
    b = admin(a)
    b.take(b.node.announce_secret(5, KEY, DROP, 3.0))
    assert b.node.rotation() == RotationView(5, KEY, DROP, min(A, B)), "another admin goes on"
    a.take(a.node.announce_secret(6, OTHER, INSTALL, 4.0))
    assert a.node.rotation() == RotationView(6, OTHER, INSTALL, A)


def test_what_an_admin_says_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_OWN_AUTHORITY", 3)
    a = founder()
    for number in range(3):
        a.take(a.node.allow(bytes([number]) * 32, True, 1.0))
    assert code_of(lambda: a.node.allow(None, True, 1.0)) == "exhausted"
    a.take(a.node.allow(bytes(32), False, 1.0))
    a.take(a.node.allow(bytes(32), True, 1.0))
    assert len([row for row in a.node.summary() if row[1] == ALLOW]) == 3
