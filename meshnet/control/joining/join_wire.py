"""The messages of a join, on a secured stream of channel JOIN or PASSWORD. PURE.

Flow on JOIN: message 1 carries ``Ask``; message 2 is empty, or names a refusal when the token admits nobody (it is then
sealed under ``NO_PSK``, as the joiner's token has no key here; the issuer's own key still authenticates it).
On PASSWORD, message 3 carries a ``JoinRequest``.
Then records: CONFIRM from the joiner, which proves what it joins by; WELCOME, STATEMENTS…, END from the issuer,
or DENIED.
Rule: one msgpack value a record, of exactly the shape given here; every length is bounded.
Reference: design §3 "Joining"; docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, TypeVar

import msgspec

from crypto.certificate import CERTIFICATE_MAX, CHAIN_MAX
from crypto.errors import RemoteError
from crypto.secret import GENERATION_MAX
from crypto.stream import PLAINTEXT_MAX
from meshnet.control.keys.membership import JoinRequest

EPOCH = 0  # of the JOIN channel: a joiner does not know the mesh secret's
NO_PSK = bytes(32)
CONFIRM, WELCOME, STATEMENTS, END, DENIED = 1, 2, 3, 4, 5
MAX_STATEMENT = 8 * 1024
MAX_STATEMENTS = 1 << 20
MAX_REPLY_SIZE = 64 << 20  # all statements of one reply
MAX_TEXT = 500
FAILED = "failed"  # a denial that is the issuer's own trouble, told in its words
_LIST_OVERHEAD = 5  # msgpack's header of an array, and of one element's bytes

Key = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
Statement = Annotated[bytes, msgspec.Meta(max_length=MAX_STATEMENT)]
Chain = Annotated[
    tuple[Annotated[bytes, msgspec.Meta(max_length=CERTIFICATE_MAX)], ...],
    msgspec.Meta(min_length=1, max_length=CHAIN_MAX),
]
T = TypeVar("T")


class Ask(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """What the joiner wants, and by which token."""

    token_id: Annotated[bytes, msgspec.Meta(max_length=32)]
    request: JoinRequest


class Welcome(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The joiner's certificates, the mesh secret in use, its generation, the suite's number, the issuer."""

    chain: Chain
    secret: Key
    generation: Annotated[int, msgspec.Meta(ge=0, le=GENERATION_MAX)]
    suite: int
    issuer: Key

    def __repr__(self) -> str:
        return f"Welcome(generation={self.generation}, suite={self.suite})"


class Denied(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Why not: a `tokens.Reason`, or "failed" with the issuer's own words."""

    reason: Annotated[str, msgspec.Meta(max_length=32)]
    text: Annotated[str, msgspec.Meta(max_length=MAX_TEXT)] = ""


class End(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """The reply is whole: how many statements it had."""

    count: Annotated[int, msgspec.Meta(ge=0, le=MAX_STATEMENTS)]


Message = Ask | JoinRequest | Welcome | Denied | End


def encode(message: Message | list[bytes]) -> bytes:
    """The bytes of a message, or of a slice of statements."""
    return _ENCODER.encode(message)


def decode(data: bytes, kind: type[T]) -> T:
    """The message of that type; raises RemoteError for anything else."""
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RemoteError(f"join message of another form than {kind.__name__}") from None


def decode_statements(data: bytes) -> list[bytes]:
    """One slice of statements; raises RemoteError."""
    try:
        return _STATEMENTS.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        raise RemoteError("join message of another form than statements") from None


def slices(statements: Iterable[bytes]) -> Iterator[list[bytes]]:
    """The statements in order, as lists that fit one record each."""
    part: list[bytes] = []
    size = _LIST_OVERHEAD
    for statement in statements:
        need = len(statement) + _LIST_OVERHEAD
        if part and size + need > PLAINTEXT_MAX:
            yield part
            part, size = [], _LIST_OVERHEAD
        part.append(statement)
        size += need
    if part:
        yield part


_ENCODER = msgspec.msgpack.Encoder()
_STATEMENTS = msgspec.msgpack.Decoder(list[Statement])
