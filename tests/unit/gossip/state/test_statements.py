from __future__ import annotations

import msgspec
import pytest

from gossip import limits
from gossip.errors import RemoteError
from gossip.state.address_bodies import ENDPOINT, FENCE, GRANT, NETWORK, Grant, grant_id
from gossip.state.bodies import (
    ALLOW,
    LINKS,
    PEER,
    REVOKE,
    SECRET,
    AllowBody,
    LinksBody,
    RevokeBody,
    SecretBody,
    encode_body,
)
from gossip.state.statements import CONTEXT, order, parse, travel
from tests.sim.people import MESH, identity_of, sign_as
from tests.unit.gossip.cores import DEFAULT, say

A = identity_of("a")


def test_the_wire_form_is_the_signed_bytes_and_their_signature() -> None:
    statement = say("a", ("note", b"k"), (3, 4), b"body")
    blob, signature = msgspec.msgpack.decode(statement.wire())
    assert msgspec.msgpack.decode(blob) == [MESH, A, "note", b"k", 3, 4, b"body"]
    assert signature == sign_as(A)(CONTEXT + blob)
    assert parse(statement.wire()) == statement
    assert parse(statement.wire()).wire() == statement.wire()


def test_bytes_of_another_encoder_are_kept_as_they_came() -> None:
    items = [MESH, A, "note", b"k", 3, 4, b"body"]
    plain = msgspec.msgpack.encode(items)
    wide = plain.replace(b"\x03\x04", b"\xcf" + (3).to_bytes(8, "big") + b"\x04")
    assert wide != plain
    wire = msgspec.msgpack.encode([wide, bytes(64)])
    assert parse(wire).incarnation == 3
    assert parse(wire).wire() == wire


@pytest.mark.parametrize(
    "statement",
    [
        say("a", (LINKS, b"key"), (1, 1), encode_body(LINKS, LinksBody([]))),
        say("a", (NETWORK, b"\0\0\0\2"), (1, 1), encode_body(NETWORK, DEFAULT)),
        say("a", (PEER, b""), (1, 1), None),
        say("a", (GRANT, bytes(15)), (1, 1), None),
        say("a", (FENCE, bytes(40)), (1, 1), None),
        say("a", (GRANT, bytes(16)), (1, 1), encode_body(GRANT, Grant(1, 0, 4, A, 0, b""))),
        say("a", (ENDPOINT, b"short"), (1, 1), None),
        say("a", (LINKS, b""), (1, 1), b"\xc1"),
        say("a", (REVOKE, A), (1, 1), None),
        say("a", (REVOKE, A), (1, 1), encode_body(REVOKE, RevokeBody(bytes(32), 0, ""))),
        say("a", (ALLOW, b""), (1, 1), encode_body(ALLOW, AllowBody(A))),
        say("a", (ALLOW, bytes(4)), (1, 1), None),
        say("a", (SECRET, A), (1, 1), encode_body(SECRET, SecretBody(1, bytes(32), 0))),
        say("a", (SECRET, A), (1, 1), None),
        say("a", ("note", bytes(limits.MAX_KEY_B + 1)), (1, 1), b""),
        say("a", ("k" * (limits.MAX_KIND_CHARS + 1), b""), (1, 1), b""),
        say("a", ("note", b""), (1, 1), bytes(limits.MAX_STATEMENT_B)),
    ],
)
def test_what_does_not_fit_together_is_refused(statement: object) -> None:
    with pytest.raises(RemoteError):
        parse(statement.wire())  # type: ignore[attr-defined]


def test_a_grants_key_is_its_content() -> None:
    data = encode_body(GRANT, Grant(1, 0, 4, A, 0, b""))
    statement = say("a", (GRANT, grant_id(A, data)), (1, 1), data)
    assert parse(statement.wire()) == statement
    assert grant_id(identity_of("b"), data) != grant_id(A, data)


def test_peers_go_first_and_endpoints_late() -> None:
    slots = [(ENDPOINT, b"1"), ("note", b""), (SECRET, b""), (PEER, b""), (NETWORK, b""), (REVOKE, A), (ALLOW, b"")]
    kinds = [kind for kind, _ in sorted(slots, key=order)]
    assert kinds == [PEER, REVOKE, ALLOW, SECRET, NETWORK, ENDPOINT, "note"]
    assert [travel(kind) for kind in kinds] == [0, 1, 1, 1, 2, 2, 2]


def test_what_may_be_taken_back_is_and_what_is_lasting_says_so() -> None:
    for slot in ((ALLOW, b""), (ALLOW, A), (SECRET, b"")):
        withdrawn = say("a", slot, (1, 1), None)
        assert parse(withdrawn.wire()) == withdrawn and withdrawn.lasting
    assert say("a", (REVOKE, A), (1, 1), encode_body(REVOKE, RevokeBody(A, 0, ""))).lasting
