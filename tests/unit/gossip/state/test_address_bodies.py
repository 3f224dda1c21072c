"""The bodies about addresses: they survive the wire, and what means nothing is never signed."""

from __future__ import annotations

import msgspec
import pytest

from gossip import limits
from gossip.errors import LocalError
from gossip.state.address_bodies import (
    ACK,
    AGREED,
    CONSENT,
    ENGAGED,
    FENCE,
    GRANT,
    LOAN,
    RECLAIM,
    REGISTER,
    SETTLED,
    AckBody,
    ConsentBody,
    FenceBody,
    Grant,
    LoanBody,
    ReclaimBody,
    RegisterBody,
    Row,
    SettledBody,
    loan_key,
    register_key,
)
from gossip.state.bodies import AnyBody, decode_body, encode_body

A, B = b"a" * 32, b"b" * 32
RUN, ID = b"run-run-", b"0123456789abcdef"
ROW = Row(b"\x0a\0\0\0", b"\x0a\0\1\0", A, 3, ID)

GOOD: list[tuple[str, AnyBody]] = [
    (GRANT, Grant(1, 16, 32, B, 2, ID, run=RUN)),
    (GRANT, Grant(1, 16, 32, B, 2, ID, answers=b"nonce123")),
    (LOAN, LoanBody(1, b"\x0a\0\0\7", B, 5)),
    (REGISTER, RegisterBody(1, 1, 0, 2, [ROW] * limits.MAX_ROWS)),
    (REGISTER, RegisterBody(0, 9, 1, 2, [Row(b"\5", b"\6", A, 1, ID, "web", [A, B])])),
    (SETTLED, SettledBody(1, 7, ID)),
    (SETTLED, SettledBody(1, 7, ID, True)),
    (ACK, AckBody(1, A, 7, ID)),
    (RECLAIM, ReclaimBody(RUN, [A, B])),
    (CONSENT, ConsentBody(A, RUN, B, 3, AGREED, 2, ID)),
    (FENCE, FenceBody(B, RUN, 3, True)),
]
BAD: list[tuple[str, AnyBody]] = [
    (GRANT, Grant(1, 16, 32, B, 0, b"", run=RUN)),
    (GRANT, Grant(1, 16, 32, B, 2, ID, run=b"short")),
    (REGISTER, RegisterBody(1, 0, 0, 1, [])),
    (REGISTER, RegisterBody(1, 1, 2, 2, [])),
    (REGISTER, RegisterBody(1, 1, 0, 2, [ROW] * (limits.MAX_ROWS + 1))),
    (RECLAIM, ReclaimBody(RUN, [])),
    (RECLAIM, ReclaimBody(RUN, [A] * (limits.MAX_RECLAIMED + 1))),
    (CONSENT, ConsentBody(A, RUN, B, 3, ENGAGED + 1, 2, ID)),
    (LOAN, LoanBody(1, bytes(17), B, 5)),
]


@pytest.mark.parametrize(("kind", "body"), GOOD)
def test_bodies_survive_the_wire(kind: str, body: AnyBody) -> None:
    assert decode_body(kind, encode_body(kind, body)) == body


@pytest.mark.parametrize(("kind", "body"), BAD)
def test_nonsense_is_never_signed(kind: str, body: AnyBody) -> None:
    with pytest.raises(LocalError):
        encode_body(kind, body)


def test_a_grant_that_stands_in_for_nobody_is_as_short_as_before() -> None:
    short = Grant(1, 16, 32, B, 2, ID)
    assert len(msgspec.msgpack.decode(short.wire())) == 6
    assert len(msgspec.msgpack.decode(Grant(1, 16, 32, B, 2, ID, run=RUN).wire())) == 9


def test_keys_tell_network_address_edition_and_chunk() -> None:
    assert loan_key(1, 0x0A000007) == b"\0\0\0\1\x0a\0\0\7"
    assert register_key(1, 2, 3) == b"\0\0\0\1\0\0\0\2\0\3"
