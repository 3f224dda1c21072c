"""Reading an issuer's reply: whole or not at all, nothing believed that a chain does not prove, refusals in words."""

from __future__ import annotations

import os

import pytest

from crypto.certificate import issue
from crypto.errors import RemoteError
from crypto.keys import IdentityKey
from crypto.primitives import Suite
from meshnet.control.joining import join_reply as module
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.join_reply import (
    PASSWORD_REFUSALS,
    TOKEN_REFUSALS,
    check_issued,
    check_issuer,
    collect,
    refused,
)
from meshnet.control.joining.tokens import Reason
from meshnet.control.keys.membership import JoinRequest, Membership, found
from meshnet.errors import MeshnetError


class Script:
    """Records as they would arrive."""

    def __init__(self, *records: tuple[int, bytes]) -> None:
        self.records = list(records)

    async def next(self) -> tuple[int, bytes]:
        if not self.records:
            raise ConnectionResetError("the other end closed the connection")
        return self.records.pop(0)


WELCOME = wire.Welcome((b"c",), bytes(32), 3, 1, bytes(32))
BEGIN, PART = (wire.WELCOME, wire.encode(WELCOME)), (wire.STATEMENTS, wire.encode([b"one", b"two"]))


def end(count: int) -> tuple[int, bytes]:
    return wire.END, wire.encode(wire.End(count))


async def read(*records: tuple[int, bytes]) -> tuple[wire.Welcome, list[bytes]]:
    return await collect(Script(*records), TOKEN_REFUSALS)  # type: ignore[arg-type]


async def test_a_whole_reply_is_read() -> None:
    assert await read(BEGIN, PART, PART, end(4)) == (WELCOME, [b"one", b"two"] * 2)
    assert await read(BEGIN, end(0)) == (WELCOME, [])


@pytest.mark.parametrize(
    "records",
    [
        [PART],
        [end(0)],
        [BEGIN, end(1)],
        [BEGIN, PART, end(1)],
        [BEGIN, PART, BEGIN, end(2)],
        [BEGIN, (wire.DENIED, wire.encode(wire.Denied("expired")))],
        [(wire.WELCOME, b"\xc1")],
        [BEGIN, (wire.STATEMENTS, b"\xc1")],
    ],
    ids=range(8),
)
async def test_anything_else_is_refused(records: list[tuple[int, bytes]]) -> None:
    with pytest.raises(RemoteError):
        await read(*records)


async def test_a_reply_that_was_cut_short_or_never_ends_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectionError):
        await read(BEGIN, PART)
    monkeypatch.setattr(wire, "MAX_STATEMENTS", 3)
    with pytest.raises(RemoteError, match="too long"):
        await read(BEGIN, PART, PART, end(4))
    monkeypatch.setattr(wire, "MAX_REPLY_SIZE", len(PART[1]) - 1)
    with pytest.raises(RemoteError, match="too long"):
        await read(BEGIN, PART, end(2))


@pytest.mark.parametrize("reason", list(Reason))
async def test_every_refusal_has_words_for_who_joins_by_token(reason: Reason) -> None:
    with pytest.raises(MeshnetError) as caught:
        await read((wire.DENIED, wire.encode(wire.Denied(reason.value))))
    assert (caught.value.what, caught.value.why, caught.value.fix) == TOKEN_REFUSALS[reason]


def test_an_unknown_refusal_is_told_in_the_issuers_words_made_harmless() -> None:
    error = refused(wire.Denied(wire.FAILED, "no addresses\x1b[31m left\n"), PASSWORD_REFUSALS)
    assert error.why == "no addresses[31m left"
    assert refused(wire.Denied("used-up"), PASSWORD_REFUSALS).why == "it did not say why", "no word of passwords"
    assert refused(wire.Denied("of a later release"), TOKEN_REFUSALS).why == "it did not say why"


@pytest.fixture
def founder() -> Membership:
    return found("alpha", Suite.CHACHAPOLY, os.urandom)


def request_of(identity: IdentityKey, mesh: bytes) -> JoinRequest:
    return JoinRequest.make(mesh, identity, bytes(32), "beta")


def certified(issuer: Membership, identity: bytes, name: str = "beta") -> bytes:
    return issue(issuer.identity, mesh=issuer.mesh, identity=identity, name=name, roles=(), serial=1)


def welcome(issuer: Membership, *chain: bytes) -> wire.Welcome:
    return wire.Welcome(chain, bytes(32), 0, 1, issuer.identity.public)


def test_a_certificate_of_a_member_for_this_request_is_believed(founder: Membership) -> None:
    joiner = IdentityKey.generate(os.urandom)
    request = request_of(joiner, founder.mesh)
    good = welcome(founder, certified(founder, joiner.public), *founder.chain)
    check_issued(good, founder.mesh, request)
    check_issuer(good, founder.mesh, request)


@pytest.mark.parametrize("case", ["another peer", "another name", "another issuer", "another mesh", "no chain"])
def test_anything_else_a_welcome_says_is_not(founder: Membership, case: str) -> None:
    joiner, other = IdentityKey.generate(os.urandom), found("omega", Suite.CHACHAPOLY, os.urandom)
    request = request_of(joiner, founder.mesh)
    mine = certified(founder, joiner.public)
    false = {
        "another peer": welcome(founder, certified(founder, bytes(32)), *founder.chain),
        "another name": welcome(founder, certified(founder, joiner.public, "gamma"), *founder.chain),
        "another issuer": welcome(other, mine, *founder.chain),
        "another mesh": welcome(other, certified(other, joiner.public), *other.chain),
        "no chain": welcome(founder, mine),
    }[case]
    for check in (check_issued, check_issuer):
        with pytest.raises(RemoteError):
            check(false, founder.mesh, request)


def test_a_member_may_be_vouched_for_by_whom_it_let_in_but_a_newcomer_not(founder: Membership) -> None:
    deputy = found("deputy", Suite.CHACHAPOLY, os.urandom)
    chain = (
        issue(
            founder.identity,
            mesh=founder.mesh,
            identity=deputy.identity.public,
            name="deputy",
            roles=("invite",),
            serial=1,
        ),
        *founder.chain,
    )
    issued = issue(
        deputy.identity, mesh=founder.mesh, identity=founder.identity.public, name="beta", roles=(), serial=1
    )
    round_trip = welcome(deputy, issued, *chain)
    request = request_of(founder.identity, founder.mesh)
    check_issuer(round_trip, founder.mesh, request)
    with pytest.raises(RemoteError, match="twice"):
        check_issued(round_trip, founder.mesh, request)


def test_a_reply_shows_no_statement() -> None:
    reply = module.JoinReply(found("alpha", Suite.AESGCM, os.urandom), bytes(32), [b"statement"])
    assert "statement" not in repr(reply).replace("statements", "")
