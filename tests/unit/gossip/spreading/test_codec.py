from __future__ import annotations

import pytest

from gossip import limits
from gossip.errors import RemoteError
from gossip.spreading.codec import Beat, Delta, Digest, Message, Owners, Proofs, Want, decode, deltas, encode

MESSAGES: list[Message] = [
    Beat(),
    Beat(65_535, 0, 3_000),
    Delta([b"x" * 100]),
    Digest([bytes(8)] * limits.DIGEST_BUCKETS),
    Owners([0, 31], [(bytes(32), bytes(8))]),
    Want([bytes(32)]),
    Proofs([(b"a", b"b")]),
]


@pytest.mark.parametrize("message", MESSAGES)
def test_messages_survive_the_wire(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x91\x63",
        encode(Digest([bytes(8)])),
        encode(Owners([limits.DIGEST_BUCKETS], [])),
        encode(Want([bytes(31)])),
        encode(Want([bytes(32)] * (limits.MAX_OWNERS_PER_MESSAGE + 1))),
        encode(Beat()) + b"\0",
        bytes(limits.MAX_MESSAGE_B + 1),
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteError):
        decode(data)


def test_statements_are_cut_to_messages_in_order() -> None:
    wires = [bytes([n % 256]) * (n % 4000) for n in range(3000)]
    messages = deltas(wires)
    assert all(len(message) <= limits.MAX_MESSAGE_B for message in messages)
    back = [decode(message) for message in messages]
    assert [wire for delta in back if isinstance(delta, Delta) for wire in delta.statements] == wires
    assert deltas([]) == []
