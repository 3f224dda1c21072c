"""Tokens that admit exactly as often as stated, retries that cost nothing, listing and revoking."""

from __future__ import annotations

import os

import pytest

from crypto.certificate import CHAIN_MAX, verify_chain
from crypto.primitives import Suite
from crypto.token import Token
from meshnet.control.joining import tokens as module
from meshnet.control.joining.tokens import Reason, Refused, Tokens
from meshnet.control.keys.membership import JoinRequest, Membership, found
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.token_world import ADDRESSES, WALL, Disk, Joiner, create, free, member


@pytest.fixture
def founder() -> Membership:
    return found("alpha", Suite.CHACHAPOLY, os.urandom)


@pytest.fixture
def tokens(founder: Membership) -> Tokens:
    return Tokens(lambda: founder, [])


def test_a_token_says_what_a_joiner_needs(founder: Membership, tokens: Tokens) -> None:
    puts, token = tokens.create(3, 60, ["invite"], ADDRESSES, os.urandom, WALL)
    assert Token.decode(token.encode()) == token
    assert (token.mesh, token.suite, list(token.addresses)) == (founder.mesh, founder.suite, ADDRESSES)
    assert (token.issuer_identity, token.issuer_static) == (
        founder.identity.public,
        founder.static.public,
    )
    assert (token.expires, token.uses) == (int(WALL) + 60, 3)
    assert [put.key for put in puts] == [token.token_id]


def test_a_redeemed_token_makes_a_member(founder: Membership, tokens: Tokens) -> None:
    token, joiner = create(tokens, roles=["invite"]), Joiner("beta")
    assert tokens.psk_for(token.token_id, joiner.identity.public, WALL) == token.psk()
    puts, chain = tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
    certificate = verify_chain(founder.mesh, joiner.identity.public, chain)
    assert certificate.name == "beta" and certificate.roles == ("invite",)
    assert puts


def test_roles_are_not_given_unasked(founder: Membership, tokens: Tokens) -> None:
    token, joiner = create(tokens), Joiner("beta")
    _, chain = tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
    assert verify_chain(founder.mesh, joiner.identity.public, chain).roles == ()


def test_a_token_admits_as_many_as_it_says_and_no_more(founder: Membership, tokens: Tokens) -> None:
    token = create(tokens, uses=2)
    joiners = [Joiner(f"peer-{n}") for n in range(3)]
    serials = []
    for joiner in joiners[:2]:
        _, chain = tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
        serials.append(verify_chain(founder.mesh, joiner.identity.public, chain).serial)
    assert serials == [1, 2]
    for act in (
        lambda: tokens.psk_for(token.token_id, joiners[2].identity.public, WALL),
        lambda: tokens.redeem(token.token_id, joiners[2].request(founder.mesh), WALL, free),
    ):
        with pytest.raises(Refused) as caught:
            act()
        assert caught.value.reason is Reason.USED_UP


def test_the_same_joiner_may_ask_again(founder: Membership, tokens: Tokens) -> None:
    token, joiner = create(tokens), Joiner("beta")
    first = tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
    assert tokens.psk_for(token.token_id, joiner.identity.public, WALL) == token.psk()
    again = tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL + 1, lambda *_: True)
    assert again == first
    late = token.expires + 10.0
    assert tokens.redeem(token.token_id, joiner.request(founder.mesh), late, free) == first
    with pytest.raises(Refused) as caught:
        tokens.psk_for(token.token_id, joiner.identity.public, token.expires + module.RETRY_S + 1)
    assert caught.value.reason is Reason.EXPIRED


def test_a_retry_under_another_name_is_refused(founder: Membership, tokens: Tokens) -> None:
    token, joiner = create(tokens), Joiner("beta")
    tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
    joiner.name = "gamma"
    with pytest.raises(Refused) as caught:
        tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
    assert caught.value.reason is Reason.BAD_REQUEST


def test_it_all_holds_after_a_restart(founder: Membership) -> None:
    disk, joiner, other = Disk(), Joiner("beta"), Joiner("gamma")
    tokens = Tokens(lambda: founder, [])
    puts, token = tokens.create(1, 3600, [], ADDRESSES, os.urandom, WALL)
    disk.apply(puts)
    puts, chain = tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)
    disk.apply(puts)
    again = Tokens(lambda: founder, disk.rows.items())
    assert again.redeem(token.token_id, joiner.request(founder.mesh), WALL, free) == (puts, chain)
    with pytest.raises(Refused) as caught:
        again.psk_for(token.token_id, other.identity.public, WALL)
    assert caught.value.reason is Reason.USED_UP
    puts, second = again.create(1, 3600, [], ADDRESSES, os.urandom, WALL)
    disk.apply(puts)
    again = Tokens(lambda: founder, disk.rows.items())
    _, chain = again.redeem(second.token_id, other.request(founder.mesh), WALL, free)
    assert verify_chain(founder.mesh, other.identity.public, chain).serial == 2


def test_an_expired_or_unknown_token_says_so(tokens: Tokens) -> None:
    token, joiner = create(tokens, ttl_s=60), Joiner("beta")
    tokens.psk_for(token.token_id, joiner.identity.public, WALL + 59)
    with pytest.raises(Refused) as caught:
        tokens.psk_for(token.token_id, joiner.identity.public, WALL + 60)
    assert caught.value.reason is Reason.EXPIRED
    for unknown in (bytes(8), b"", b"serial", token.token_id + joiner.identity.public):
        with pytest.raises(Refused) as caught:
            tokens.psk_for(unknown, joiner.identity.public, WALL)
        assert caught.value.reason is Reason.UNKNOWN


@pytest.mark.parametrize("field", ["identity", "static", "name", "signature"])
def test_a_forged_request_consumes_nothing(founder: Membership, tokens: Tokens, field: str) -> None:
    token, joiner, other = create(tokens), Joiner("beta"), Joiner("gamma")
    good, bad = joiner.request(founder.mesh), other.request(founder.mesh)
    forged = JoinRequest(
        **{name: getattr(bad if name == field else good, name) for name in ("identity", "static", "name", "signature")}
    )
    with pytest.raises(Refused) as caught:
        tokens.redeem(token.token_id, forged, WALL, free)
    assert caught.value.reason is Reason.BAD_REQUEST
    tokens.redeem(token.token_id, good, WALL, free)


def test_a_request_for_another_mesh_is_refused(tokens: Tokens) -> None:
    token = create(tokens)
    with pytest.raises(Refused) as caught:
        tokens.redeem(token.token_id, Joiner("beta").request(bytes(16)), WALL, free)
    assert caught.value.reason is Reason.BAD_REQUEST


def test_a_name_in_use_is_refused_and_costs_no_use(founder: Membership, tokens: Tokens) -> None:
    token = create(tokens)
    for name, in_use in (("beta", lambda name, identity: name == "beta"), ("alpha", free)):
        with pytest.raises(Refused) as caught:
            tokens.redeem(token.token_id, Joiner(name).request(founder.mesh), WALL, in_use)
        assert caught.value.reason is Reason.NAME_IN_USE
    tokens.redeem(token.token_id, Joiner("gamma").request(founder.mesh), WALL, free)


def test_two_joiners_at_once_do_not_get_one_name(founder: Membership, tokens: Tokens) -> None:
    token = create(tokens, uses=3)
    tokens.redeem(token.token_id, Joiner("beta").request(founder.mesh), WALL, free)
    with pytest.raises(Refused) as caught:
        tokens.redeem(token.token_id, Joiner("beta").request(founder.mesh), WALL + 1, free)
    assert caught.value.reason is Reason.NAME_IN_USE
    # The first never appeared in the mesh: its name is free again.
    later = WALL + module.RESERVED_S + 1
    tokens.redeem(token.token_id, Joiner("beta").request(founder.mesh), later, free)


def test_bounds_of_a_token(tokens: Tokens) -> None:
    for uses, ttl_s in ((0, 60), (-1, 60), (module.MAX_USES + 1, 60), (1, 0), (1, module.MAX_TTL_S + 1)):
        with pytest.raises(MeshnetError, match="bounds") as caught:
            create(tokens, uses=uses, ttl_s=ttl_s)
        assert caught.value.code is ExitCode.USAGE
    for addresses in ([], ["nonsense"], ["192.0.2.1:6799"] * 17):
        with pytest.raises(MeshnetError, match="cannot create the token"):
            tokens.create(1, 60, [], addresses, os.urandom, WALL)
    with pytest.raises(MeshnetError, match="role"):
        create(tokens, roles=["root"])


def test_who_may_not_invite_creates_no_token(founder: Membership) -> None:
    with pytest.raises(MeshnetError, match="lacks the role `invite`") as caught:
        create(Tokens(lambda: member(founder, 1, []), []))
    assert caught.value.code is ExitCode.PERMISSION


def test_a_role_one_lacks_cannot_be_given(founder: Membership) -> None:
    inviting = member(founder, 1, ["invite"])
    tokens = Tokens(lambda: inviting, [])
    with pytest.raises(MeshnetError, match="cannot give the role 'admin'"):
        create(tokens, roles=["admin"])
    create(tokens, roles=["invite"])


def test_no_chain_grows_longer_than_the_mesh_accepts(founder: Membership) -> None:
    last = member(founder, CHAIN_MAX - 1, ["invite"])
    with pytest.raises(MeshnetError, match="steps from the founder"):
        create(Tokens(lambda: last, []))
    inviting = member(founder, CHAIN_MAX - 2, ["invite"])
    tokens, joiner = Tokens(lambda: inviting, []), Joiner("deep")
    _, chain = tokens.redeem(create(tokens).token_id, joiner.request(founder.mesh), WALL, free)
    assert verify_chain(founder.mesh, joiner.identity.public, chain).name == "deep"


def test_old_tokens_are_forgotten_and_their_number_is_bounded(
    founder: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS", 2)
    disk, tokens, joiner = Disk(), Tokens(lambda: founder, []), Joiner("beta")
    for _ in range(2):
        puts, token = tokens.create(1, 60, [], ADDRESSES, os.urandom, WALL)
        disk.apply(puts)
    disk.apply(tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)[0])
    with pytest.raises(MeshnetError, match="no more tokens"):
        create(tokens)
    later = WALL + 60 + module.RETRY_S
    puts, fresh = tokens.create(1, 60, [], ADDRESSES, os.urandom, later)
    disk.apply(puts)
    assert sorted(disk.rows) == sorted([b"serial", fresh.token_id])


def test_secrets_are_not_shown(tokens: Tokens) -> None:
    puts, token = tokens.create(1, 60, [], ADDRESSES, os.urandom, WALL)
    shown = repr((puts, token, tokens._entries, tokens))
    assert token.encode() not in shown and token.secret.hex() not in shown and repr(token.secret) not in shown


# --- listing and revoking


def test_the_list_says_what_is_left_and_who_used_it_and_lets_nobody_in(founder: Membership, tokens: Tokens) -> None:
    later, joiner = create(tokens, ttl_s=7200, roles=["invite"]), Joiner("beta")
    sooner = create(tokens, uses=2, ttl_s=60)
    tokens.redeem(sooner.token_id, joiner.request(founder.mesh), WALL, free)
    listed = tokens.list(WALL)
    assert listed == [
        {
            "id": sooner.token_id.hex(),
            "roles": [],
            "uses": 2,
            "left": 1,
            "expires": int(WALL) + 60,
            "redeemed": [joiner.identity.public.hex()],
        },
        {
            "id": later.token_id.hex(),
            "roles": ["invite"],
            "uses": 1,
            "left": 1,
            "expires": int(WALL) + 7200,
            "redeemed": [],
        },
    ]
    assert all(token.secret.hex() not in repr(listed) for token in (sooner, later))
    assert [row["id"] for row in tokens.list(WALL + 60)] == [later.token_id.hex()]


def test_a_revoked_token_admits_nobody_not_even_who_used_it(founder: Membership) -> None:
    disk, tokens, joiner = Disk(), Tokens(lambda: founder, []), Joiner("beta")
    puts, token = tokens.create(2, 3600, [], ADDRESSES, os.urandom, WALL)
    disk.apply(puts)
    disk.apply(tokens.redeem(token.token_id, joiner.request(founder.mesh), WALL, free)[0])
    puts = tokens.revoke(token.token_id)
    assert tokens.revoke(token.token_id) == puts, "writes that failed can be had once more"
    disk.apply(puts)
    assert sorted(disk.rows) == [b"serial"] and tokens.list(WALL) == []
    for held in (tokens, Tokens(lambda: founder, disk.rows.items())):
        for asker in (joiner, Joiner("gamma")):
            with pytest.raises(Refused) as caught:
                held.redeem(token.token_id, asker.request(founder.mesh), WALL, free)
            assert caught.value.reason is Reason.UNKNOWN


def test_a_token_nobody_made_cannot_be_revoked(tokens: Tokens, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MeshnetError, match="there is no token") as caught:
        tokens.revoke(bytes(8))
    assert caught.value.code is ExitCode.NOT_FOUND
    monkeypatch.setattr(module, "MAX_REVOKED", 2)
    ids = [create(tokens).token_id for _ in range(3)]
    for token_id in ids:
        tokens.revoke(token_id)
    assert list(tokens._revoked) == ids[1:]


def test_a_serial_that_the_mesh_knows_is_not_given_again_by_an_older_copy_of_the_state(founder: Membership) -> None:
    known = [7]
    tokens = Tokens(lambda: founder, [], lambda: known[0])
    serials = []
    for name in ("beta", "gamma"):
        joiner = Joiner(name)
        _, chain = tokens.redeem(create(tokens).token_id, joiner.request(founder.mesh), WALL, free)
        serials.append(verify_chain(founder.mesh, joiner.identity.public, chain).serial)
    assert serials == [8, 9], "the greater of both counts on"
