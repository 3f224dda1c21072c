"""Messages between two peers on a link.

Purpose: the few message shapes, their bytes, and the only decoder of what a link brings.
Rule: msgpack array whose first item is the message's number; at most `MAX_MESSAGE_B`; every list is bounded before
it is looked at. A link that sends anything else is closed; a bad statement inside a good message is the gate's affair
and costs nobody the link.
Flow: Beat keeps a link alive and measures it; Delta carries statements; Digest -> Owners -> Want and Delta is
anti-entropy; Proofs carries equivocations.
Reference: design §5; docs/wire.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from gossip import limits
from gossip.errors import RemoteError

Hash8 = Annotated[bytes, msgspec.Meta(min_length=8, max_length=8)]
Identity = Annotated[bytes, msgspec.Meta(min_length=limits.IDENTITY_B, max_length=limits.IDENTITY_B)]
Instant = Annotated[int, msgspec.Meta(ge=0, lt=limits.BEAT_TURN_MS)]
Bucket = Annotated[int, msgspec.Meta(ge=0, lt=limits.DIGEST_BUCKETS)]


class Beat(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """Nothing to say, but alive. All in ms modulo `BEAT_TURN_MS`, each may be missing.

    `sent`: the sender's clock; `echo`: the last `sent` it heard on this link; `held`: how long ago
    (`gossip.spreading.pulse`).
    """

    sent: Instant | None = None
    echo: Instant | None = None
    held: Instant | None = None


class Delta(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Statements in wire form."""

    statements: Annotated[list[bytes], msgspec.Meta(max_length=limits.MAX_STATEMENTS_PER_MESSAGE)]


class Digest(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A hash for each bucket of owners (an owner's bucket: its identity's first byte mod the count)."""

    buckets: Annotated[
        list[Hash8],
        msgspec.Meta(min_length=limits.DIGEST_BUCKETS, max_length=limits.DIGEST_BUCKETS),
    ]


class Owners(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """The hash of every owner held in the buckets named."""

    buckets: Annotated[list[Bucket], msgspec.Meta(max_length=limits.DIGEST_BUCKETS)]
    owners: Annotated[
        list[tuple[Identity, Hash8]],
        msgspec.Meta(max_length=limits.MAX_OWNERS_PER_MESSAGE),
    ]


class Want(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Asks for all statements and proofs of these owners."""

    owners: Annotated[list[Identity], msgspec.Meta(max_length=limits.MAX_OWNERS_PER_MESSAGE)]


class Proofs(msgspec.Struct, frozen=True, array_like=True, tag=5):
    """Pairs of statements that contradict each other."""

    pairs: Annotated[
        list[tuple[bytes, bytes]],
        msgspec.Meta(max_length=limits.MAX_PROOFS_PER_MESSAGE),
    ]


Message = Beat | Delta | Digest | Owners | Want | Proofs

_DECODER: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The message's bytes."""
    return msgspec.msgpack.encode(message)


def decode(data: bytes) -> Message:
    """The message in the bytes; raises RemoteError and nothing else."""
    if len(data) > limits.MAX_MESSAGE_B:
        raise RemoteError("a message is too long")
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise RemoteError("a message is malformed") from error


def deltas(wires: Iterable[bytes]) -> list[bytes]:
    """Encoded Delta messages that carry the statements in order, each within the limits."""
    return [encode(Delta(group)) for group in _groups(wires)]


def _groups(wires: Iterable[bytes]) -> list[list[bytes]]:
    groups: list[list[bytes]] = []
    room = 0
    for wire in wires:
        size = len(wire) + 5
        if not groups or size > room or len(groups[-1]) >= limits.MAX_STATEMENTS_PER_MESSAGE:
            groups.append([])
            room = limits.MAX_MESSAGE_B - 16
        groups[-1].append(wire)
        room -= size
    return groups
