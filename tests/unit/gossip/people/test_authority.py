from __future__ import annotations

from collections.abc import Sequence

import pytest

from gossip import limits
from gossip.events import Revocation, RotationView
from gossip.people.authority import Admitted, Authority
from gossip.state.bodies import (
    ALLOW,
    DROP,
    INSTALL,
    PEER,
    REVOKE,
    SECRET,
    SWITCH,
    AllowBody,
    AnyBody,
    RevokeBody,
    SecretBody,
    encode_body,
)
from gossip.state.view import Change
from tests.sim.people import admit, chain_of, identity_of, peer_body
from tests.unit.gossip.cores import say

FOUNDER, ADMIN, INVITER, GUEST, LATE = (identity_of(name) for name in ("h0", "admin", "inviter", "guest", "late"))
STAFF = ("admin", "invite")


def hear(authority: Authority, name: str, kind: str, key: bytes, body: AnyBody | None) -> list[bytes]:
    data = None if body is None else encode_body(kind, body)
    statement = say(name, (kind, key), (1, 1), data)
    authority.apply(Change(identity_of(name), (kind, key), None, statement))
    return authority.settle()


def meet(authority: Authority, name: str, *path: tuple[str, int], roles: Sequence[str] = ()) -> list[bytes]:
    return hear(authority, name, PEER, b"", peer_body(name, chain=chain_of(name, *path, roles=roles)))


def revoke(authority: Authority, author: str, name: str, from_serial: int = 10**9, reason: str = "") -> list[bytes]:
    identity = identity_of(name)
    return hear(authority, author, REVOKE, identity, RevokeBody(identity, from_serial, reason))


def mesh() -> Authority:
    """Founder; an admin and an inviter it let in; a guest with the inviter's serial 3; one of the guest's, late."""
    authority = Authority(admit)
    meet(authority, "h0")
    meet(authority, "admin", ("h0", 0), roles=STAFF)
    meet(authority, "inviter", ("h0", 1), roles=("invite",))
    meet(authority, "guest", ("inviter", 3), ("h0", 1))
    meet(authority, "late", ("guest", 0), ("inviter", 3), ("h0", 1))
    return authority


def test_who_is_known_by_a_good_chain_is_a_member_with_its_roles() -> None:
    authority = mesh()
    assert authority.member(GUEST) and authority.roles(GUEST) == ()
    assert authority.roles(ADMIN) == STAFF
    assert not authority.member(identity_of("nobody")) and authority.roles(identity_of("nobody")) == ()
    assert not authority.barred(identity_of("nobody"))
    assert (authority.highest_serial(INVITER), authority.highest_serial(FOUNDER)) == (3, 1)
    assert authority.highest_serial(LATE) == -1


def test_a_revocation_strikes_whom_it_names_and_nobody_else() -> None:
    authority = mesh()
    assert revoke(authority, "admin", "inviter", reason="stolen") == [INVITER]
    assert not authority.member(INVITER) and authority.roles(INVITER) == ()
    assert (authority.bars[INVITER].by, authority.bars[INVITER].reason) == (ADMIN, "stolen")
    assert authority.member(GUEST) and authority.member(LATE)
    assert authority.revocations() == [Revocation(INVITER, ADMIN, 10**9, "stolen")]


def test_it_voids_what_was_issued_from_its_serial_on_and_what_those_issued() -> None:
    spared = mesh()
    assert revoke(spared, "admin", "inviter", 4) == [INVITER]
    authority = mesh()
    assert revoke(authority, "admin", "inviter", 3) == sorted([INVITER, GUEST, LATE])
    assert authority.bars[LATE].by == ADMIN and "void" in authority.bars[LATE].reason
    assert meet(authority, "guest", ("h0", 7)) == [GUEST], "a certificate of somebody else makes it count again"
    assert authority.member(GUEST) and not authority.member(LATE)


def test_without_the_role_nothing_counts_and_the_author_is_named_once() -> None:
    authority = mesh()
    assert revoke(authority, "guest", "late") == revoke(authority, "inviter", "guest") == []
    hear(authority, "guest", ALLOW, b"", AllowBody(b""))
    assert authority.unasked() == sorted([(GUEST, ALLOW), (INVITER, REVOKE)])
    hear(authority, "guest", SECRET, b"", SecretBody(7, bytes(32), DROP))
    assert authority.unasked() == []
    assert (authority.revocations(), authority.allowed(), authority.rotation()) == ([], (False, []), None)
    hear(authority, "admin", SECRET, b"", SecretBody(1, bytes(32), INSTALL))
    assert authority.unasked() == []


def test_what_a_revoked_admin_said_counts_no_longer() -> None:
    authority = mesh()
    revoke(authority, "admin", "guest")
    hear(authority, "admin", ALLOW, b"", AllowBody(b""))
    hear(authority, "admin", SECRET, b"", SecretBody(1, bytes(32), INSTALL))
    assert not authority.member(INVITER), "it is not on the list"
    assert revoke(authority, "h0", "admin") == sorted([ADMIN, GUEST, INVITER, LATE])
    assert authority.member(GUEST) and authority.member(INVITER)
    assert (authority.allowed(), authority.rotation()) == ((False, []), None)


def test_two_admins_of_one_level_are_both_out_and_what_they_said_of_others_counts() -> None:
    authority = mesh()
    meet(authority, "other", ("h0", 9), roles=STAFF)
    revoke(authority, "admin", "guest")
    revoke(authority, "admin", "other")
    assert revoke(authority, "other", "admin") == [ADMIN]
    assert not authority.member(identity_of("other")) and not authority.member(GUEST)
    assert revoke(authority, "h0", "admin") == sorted([identity_of("other"), GUEST]), "it said so of both"
    assert authority.member(identity_of("other")) and not authority.member(ADMIN)


def test_nobody_strikes_an_admin_nearer_to_the_founder_not_even_by_its_serials() -> None:
    authority = mesh()
    meet(authority, "deep", ("admin", 5), ("h0", 0), roles=STAFF)
    assert revoke(authority, "deep", "h0", 0) == revoke(authority, "h0", "h0", 0) == []
    assert revoke(authority, "deep", "admin", 0) == []
    assert revoke(authority, "deep", "inviter", 0) == sorted([INVITER, GUEST, LATE]), "but whoever is no admin"
    assert [row.identity for row in authority.revocations()] == [INVITER]
    assert authority.outranks(ADMIN, identity_of("deep")) and authority.outranks(FOUNDER, identity_of("deep"))
    assert not authority.outranks(INVITER, identity_of("deep")) and not authority.outranks(GUEST, ADMIN)
    assert revoke(authority, "admin", "deep") == sorted([identity_of("deep"), INVITER, GUEST, LATE])


def test_serials_of_one_that_may_be_struck_do_not_strike_an_admin_above() -> None:
    authority = mesh()
    meet(authority, "boss", ("inviter", 8), ("h0", 1), roles=STAFF)
    meet(authority, "deep", ("guest", 5), ("inviter", 3), ("h0", 1), roles=STAFF)
    revoke(authority, "deep", "inviter", 0)
    assert not authority.member(INVITER) and authority.member(identity_of("boss"))


def test_a_revocation_may_come_before_whom_it_names() -> None:
    authority = Authority(admit)
    meet(authority, "h0")
    assert revoke(authority, "h0", "guest") == [GUEST]
    assert authority.barred(GUEST) and not authority.member(GUEST)
    assert meet(authority, "guest") == [], "known from now on, and out as before"
    assert not authority.member(GUEST)


def test_an_author_may_come_after_its_acts() -> None:
    authority = Authority(admit)
    meet(authority, "h0")
    meet(authority, "guest")
    assert revoke(authority, "admin", "guest") == []
    assert meet(authority, "admin", roles=STAFF) == [GUEST]


def test_a_revocation_counts_no_longer_once_its_victim_shows_that_it_stands_above() -> None:
    authority = mesh()
    meet(authority, "deep", ("admin", 5), ("h0", 0), roles=STAFF)
    assert revoke(authority, "deep", "boss") == [identity_of("boss")]
    assert meet(authority, "boss", roles=STAFF) == [identity_of("boss")]
    assert authority.member(identity_of("boss"))


def test_the_list_binds_all_but_the_founder_admins_and_those_on_it() -> None:
    authority = mesh()
    hear(authority, "admin", ALLOW, GUEST, AllowBody(GUEST))
    assert authority.allowed() == (False, [GUEST]) and authority.member(LATE)
    assert hear(authority, "admin", ALLOW, b"", AllowBody(b"")) == sorted([INVITER, LATE])
    assert authority.allowed() == (True, [GUEST])
    assert (authority.bars[LATE].by, authority.bars[LATE].reason) == (ADMIN, "it is not on the allow-list")
    assert authority.member(FOUNDER) and authority.member(ADMIN) and authority.member(GUEST)
    assert authority.allowers(GUEST) == authority.allowers(b"") == [ADMIN]
    assert hear(authority, "h0", ALLOW, LATE, AllowBody(LATE)) == [LATE]
    assert hear(authority, "admin", ALLOW, GUEST, None) == [GUEST]
    assert hear(authority, "admin", ALLOW, b"", None) == sorted([INVITER, GUEST])


def test_a_newcomer_that_is_not_on_the_list_is_barred_from_the_beginning() -> None:
    authority = mesh()
    hear(authority, "h0", ALLOW, b"", AllowBody(b""))
    assert meet(authority, "new") == [identity_of("new")]
    assert not authority.member(identity_of("new"))


def test_the_secret_that_counts_is_the_newest_the_smallest_the_furthest() -> None:
    authority = mesh()
    hear(authority, "h0", SECRET, b"", SecretBody(4, b"b" * 32, DROP))
    hear(authority, "admin", SECRET, b"", SecretBody(5, b"c" * 32, INSTALL))
    assert authority.rotation() == RotationView(5, b"c" * 32, INSTALL, ADMIN)
    hear(authority, "h0", SECRET, b"", SecretBody(5, b"b" * 32, INSTALL))
    assert authority.rotation() == RotationView(5, b"b" * 32, INSTALL, FOUNDER)
    hear(authority, "admin", SECRET, b"", SecretBody(5, b"b" * 32, SWITCH))
    assert authority.rotation() == RotationView(5, b"b" * 32, SWITCH, min(ADMIN, FOUNDER))
    hear(authority, "admin", SECRET, b"", None)
    hear(authority, "h0", SECRET, b"", None)
    assert authority.rotation() is None


def test_a_chain_is_checked_once_and_the_answers_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def counted(identity: bytes, chain: Sequence[bytes]) -> Admitted:
        asked.append(identity)
        return admit(identity, chain)

    authority = Authority(counted)
    for _ in range(3):
        meet(authority, "guest")
        assert authority.admitted(GUEST, chain_of("guest")) == Admitted((), ((FOUNDER, 0),))
    assert asked == [GUEST]
    with pytest.raises(ValueError):
        authority.admitted(GUEST, chain_of("late"))
    assert authority.admitted(GUEST, chain_of("guest")) and len(asked) == 2
    monkeypatch.setattr(limits, "MAX_OWNERS", 2)
    for name in ("a", "a", "b", "c", "a"):
        authority.admitted(identity_of(name), chain_of(name))
    assert asked.count(identity_of("a")) == 2, "it was forgotten for the others"
    assert authority.settle() == [] and authority.admitted(GUEST, chain_of("guest"))
    assert len(asked) == 6, "whose statement is held is not asked for again"
    authority.admitted(identity_of("a"), chain_of("a"))
    assert len(asked) == 7, "what did not come to be held is forgotten with its step"


def test_a_stored_chain_that_does_not_hold_makes_nobody_a_member() -> None:
    authority = Authority(admit)
    statement = say("guest", (PEER, b""), (1, 1), encode_body(PEER, peer_body("guest", chain=chain_of("late"))))
    authority.apply(Change(GUEST, (PEER, b""), None, statement))
    assert authority.settle() == [GUEST] and not authority.member(GUEST)
