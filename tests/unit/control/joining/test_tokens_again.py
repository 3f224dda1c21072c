"""The other ways to a certificate: the password, and coming back as a member; and keys replaced meanwhile."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from crypto.certificate import verify_chain
from crypto.keys import StaticKey
from crypto.primitives import Suite
from meshnet.control.joining import tokens as module
from meshnet.control.joining.tokens import Reason, Refused, Tokens
from meshnet.control.keys.membership import JoinRequest, Membership, found
from tests.unit.control.token_world import ADDRESSES, WALL, Disk, Joiner, create, free, member


@pytest.fixture
def founder() -> Membership:
    return found("alpha", Suite.CHACHAPOLY, os.urandom)


@pytest.fixture
def tokens(founder: Membership) -> Tokens:
    return Tokens(lambda: founder, [])


def test_who_proved_the_password_gets_a_certificate_without_roles_from_the_same_count(founder: Membership) -> None:
    disk, tokens, one, two = Disk(), Tokens(lambda: founder, []), Joiner("beta"), Joiner("gamma")
    puts, token = tokens.create(1, 3600, ["invite"], ADDRESSES, os.urandom, WALL)
    disk.apply(puts)
    disk.apply(tokens.redeem(token.token_id, one.request(founder.mesh), WALL, free)[0])
    puts, chain = tokens.admit(two.request(founder.mesh), WALL, free)
    disk.apply(puts)
    certificate = verify_chain(founder.mesh, two.identity.public, chain)
    assert (certificate.roles, certificate.serial, certificate.name) == ((), 2, "gamma")
    again = Tokens(lambda: founder, disk.rows.items())
    assert again.admit(two.request(founder.mesh), WALL + 1, lambda *_: True) == (puts, chain)
    assert [row["id"] for row in again.list(WALL)] == [token.token_id.hex()], "the password is no token"
    with pytest.raises(Refused) as caught:
        again.psk_for(bytes(8), two.identity.public, WALL)
    assert caught.value.reason is Reason.UNKNOWN


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("taken", Reason.NAME_IN_USE),
        ("forged", Reason.BAD_REQUEST),
        ("renamed", Reason.BAD_REQUEST),
        ("no role", Reason.UNKNOWN),
    ],
)
def test_the_password_admits_only_who_may_be_admitted(founder: Membership, case: str, reason: Reason) -> None:
    issuer = member(founder, 1, []) if case == "no role" else founder
    tokens, joiner = Tokens(lambda: issuer, []), Joiner("beta")
    request = joiner.request(founder.mesh)
    if case == "forged":
        request = JoinRequest(request.identity, request.static, "gamma", request.signature)
    elif case == "renamed":
        tokens.admit(request, WALL, free)
        joiner.name = "gamma"
        request = joiner.request(founder.mesh)
    with pytest.raises(Refused) as caught:
        tokens.admit(request, WALL, lambda *_: case == "taken")
    assert caught.value.reason is reason


def test_joiners_by_password_who_may_ask_again_are_bounded(
    founder: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BY_PASSWORD", 2)
    disk, tokens = Disk(), Tokens(lambda: founder, [])
    joiners = [Joiner(f"peer-{n}") for n in range(3)]
    for joiner in joiners:
        disk.apply(tokens.admit(joiner.request(founder.mesh), WALL, free)[0])
    held = {key[8:] for key in disk.rows if len(key) == 40}
    assert held == {joiner.identity.public for joiner in joiners[1:]} == set(tokens._issued[bytes(8)])


def test_a_member_that_comes_back_under_its_name_is_certified_anew(founder: Membership, tokens: Tokens) -> None:
    joiner = Joiner("beta")
    serials = []
    for _ in range(2):
        token = create(tokens)
        _, chain = tokens.redeem(
            token.token_id, joiner.request(founder.mesh), WALL, lambda _, identity: identity != joiner.identity.public
        )
        serials.append(verify_chain(founder.mesh, joiner.identity.public, chain).serial)
    assert serials == [1, 2]


def test_the_founder_too_may_ask_a_peer_it_once_admitted_and_ask_again(founder: Membership) -> None:
    inviting = member(founder, 1, ["invite"])
    tokens, back = Tokens(lambda: inviting, []), Joiner("alpha")
    back.identity = founder.identity
    token = create(tokens)
    first = tokens.redeem(token.token_id, back.request(founder.mesh), WALL, free)
    assert tokens.redeem(token.token_id, back.request(founder.mesh), WALL, free) == first


def test_tokens_carry_the_static_key_in_use_when_they_were_made(founder: Membership) -> None:
    held = [founder]
    tokens = Tokens(lambda: held[0], [])
    before = create(tokens)
    held[0] = replace(founder, static=StaticKey.generate(os.urandom), old_static=founder.static)
    assert before.issuer_static == founder.static.public
    assert create(tokens).issuer_static == held[0].static.public
