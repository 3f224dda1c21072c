"""The judgement of who counts is a function of the set of statements, whatever the order in which they were heard."""

from __future__ import annotations

from random import Random
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.people.authority import Admitted, Authority
from gossip.state.bodies import (
    ALLOW,
    PEER,
    REVOKE,
    SECRET,
    AllowBody,
    AnyBody,
    PeerBody,
    RevokeBody,
    SecretBody,
    decode_body,
    encode_body,
)
from gossip.state.body import Body
from gossip.state.statements import Slot, Statement, author
from gossip.state.view import View
from tests.sim.people import MESH, admit, chain_of, identity_of, peer_body, sign_as

B = TypeVar("B", bound=Body)
NAMES = ("h0", "h1", "h2", "h3")
IDENTITIES = [identity_of(name) for name in NAMES]
ROLES = ((), ("invite",), ("admin", "invite"), ("admin", "invite"))

paths = st.lists(st.tuples(st.sampled_from(NAMES[1:]), st.integers(0, 2)), max_size=3, unique_by=lambda step: step[0])


def say(name: str, slot: Slot, version: int, body: AnyBody | None) -> Statement:
    data = None if body is None else encode_body(slot[0], body)
    return author(sign_as(identity_of(name)), MESH, identity_of(name), slot, (1, version), data)


@st.composite
def peers(draw: st.DrawFn) -> Statement:
    name = draw(st.sampled_from(NAMES))
    path = [step for step in draw(paths) if step[0] != name]
    chain = chain_of(name, *path, ("h0", draw(st.integers(0, 2))), roles=draw(st.sampled_from(ROLES)))
    return say(name, (PEER, b""), draw(st.integers(0, 3)), peer_body(name, chain=chain))


@st.composite
def acts(draw: st.DrawFn) -> Statement:
    name, version = draw(st.sampled_from(NAMES)), draw(st.integers(0, 3))
    kind = draw(st.sampled_from((REVOKE, REVOKE, REVOKE, ALLOW, SECRET)))
    if kind == REVOKE:
        identity = draw(st.sampled_from(IDENTITIES))
        return say(name, (REVOKE, identity), version, RevokeBody(identity, draw(st.integers(0, 3)), ""))
    if kind == ALLOW:
        key = draw(st.sampled_from([b"", *IDENTITIES]))
        return say(name, (ALLOW, key), version, draw(st.sampled_from([None, AllowBody(key)])))
    secret = SecretBody(draw(st.integers(0, 1)), draw(st.sampled_from([b"a", b"b"])) * 32, draw(st.integers(0, 2)))
    return say(name, (SECRET, b""), version, secret)


class Judge:
    """A view with its authority, and who counts as `settle` told it."""

    def __init__(self) -> None:
        self.view = View()
        self.authority = Authority(admit)
        self.out: dict[bytes, None] = {}

    def hear(self, statement: Statement) -> None:
        for change in self.view.merge(statement):
            self.authority.apply(change)

    def settle(self) -> None:
        for identity in self.authority.settle():
            if self.authority.barred(identity):
                assert identity not in self.out, "told twice"
                self.out[identity] = None
            else:
                del self.out[identity]

    def verdict(self) -> list[object]:
        known = [(identity, self.authority.member(identity), self.authority.roles(identity)) for identity in IDENTITIES]
        rest = [self.authority.revocations(), self.authority.allowed(), self.authority.rotation()]
        return [known, sorted(self.authority.bars.items(), key=lambda item: item[0]), *rest]


def heard(said: list[Statement], rng: Random, pace: float) -> Judge:
    judge = Judge()
    for statement in said:
        judge.hear(statement)
        if rng.random() < pace:
            judge.settle()
    judge.settle()
    return judge


@given(st.lists(peers(), max_size=8), st.lists(acts(), max_size=14), st.randoms(use_true_random=False))
@settings(max_examples=400, deadline=None)
def test_any_order_gives_one_judgement(who: list[Statement], done: list[Statement], rng: Random) -> None:
    said = [*who, *done]
    expected = heard(said, rng, 0.0)
    rng.shuffle(said)
    other = heard([*said, *rng.sample(said, len(said) // 2)], rng, 0.5)
    assert other.verdict() == expected.verdict()
    assert sorted(other.out) == sorted(expected.out) == sorted(expected.authority.bars)


@given(st.lists(peers(), max_size=8), st.lists(acts(), max_size=14))
@settings(max_examples=400, deadline=None)
def test_it_is_the_judgement_of_the_rules_as_written(who: list[Statement], done: list[Statement]) -> None:
    judge = heard([*who, *done], Random(0), 0.0)
    known = {owner: admit(owner, body.chain) for owner, body in _held(judge, PEER, PeerBody)}
    struck = _struck(known, _held(judge, REVOKE, RevokeBody))
    admins = [who for who, each in known.items() if "admin" in each.roles and who not in struck]
    allows = [body.identity for owner, body in _held(judge, ALLOW, AllowBody) if owner in admins]
    for identity in IDENTITIES:
        on_list = b"" not in allows or identity in [*allows, identity_of("h0"), *admins]
        assert judge.authority.member(identity) == (identity in known and identity not in struck and on_list)
    founder = identity_of("h0")
    assert judge.authority.member(founder) == (founder in known), "nobody strikes the founder"


def _held(judge: Judge, kind: str, shape: type[B]) -> list[tuple[bytes, B]]:
    live = [(s.owner, decode_body(kind, s.body)) for s in judge.view.statements() if s.kind == kind and s.body]
    return [(owner, body) for owner, body in live if isinstance(body, shape)]


def _struck(known: dict[bytes, Admitted], said: list[tuple[bytes, RevokeBody]]) -> list[bytes]:
    """Who is out by revocations, found the slow way: level by level, every pair of author and victim looked at."""
    out: list[bytes] = []
    for level in range(9):
        admins = [who for who, each in known.items() if len(each.path) == level and "admin" in each.roles]
        heeded = [who for who in admins if who not in out]
        for by, body in said:
            if by not in heeded or _nearer(known.get(body.identity), level):
                continue
            for victim in IDENTITIES:
                path = known[victim].path if victim in known else ()
                void = any(issuer == body.identity and serial >= body.from_serial for issuer, serial in path)
                if victim == body.identity or (void and not _nearer(known.get(victim), level)):
                    out.append(victim)
    return out


def _nearer(each: Admitted | None, level: int) -> bool:
    return each is not None and (each.path == () or ("admin" in each.roles and len(each.path) < level))
