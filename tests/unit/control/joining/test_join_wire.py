"""The join's messages: of exactly one form, bounded, and silent about the secret."""

from __future__ import annotations

import os
from typing import Any

import msgspec
import pytest

from crypto.errors import RemoteError
from meshnet.control.joining import join_wire as wire
from meshnet.control.keys.membership import JoinRequest

MESSAGES: list[Any] = [
    wire.Ask(bytes(8), JoinRequest(bytes(32), bytes(32), "beta", bytes(64))),
    JoinRequest(bytes(32), bytes(32), "beta", bytes(64)),
    wire.Welcome((b"own", b"founder"), bytes(32), (1 << 32) - 1, 1, bytes(32)),
    wire.Denied("expired"),
    wire.Denied("failed", "no addresses left"),
    wire.End(3),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_messages_survive_the_wire_and_nothing_else_does(message: Any) -> None:
    data = wire.encode(message)
    assert wire.decode(data, type(message)) == message
    for spoiled in (b"", data[:-1], data + b"\0", b"\x90", b"\xc1", os.urandom(40)):
        with pytest.raises(RemoteError):
            wire.decode(spoiled, type(message))


def test_lengths_are_bounded() -> None:
    wrong: list[tuple[list[object], type[Any]]] = [
        ([[], bytes(32), 0, 1, bytes(32)], wire.Welcome),
        ([[b"c"] * 9, bytes(32), 0, 1, bytes(32)], wire.Welcome),
        ([[bytes(513)], bytes(32), 0, 1, bytes(32)], wire.Welcome),
        ([[b"c"], bytes(31), 0, 1, bytes(32)], wire.Welcome),
        ([[b"c"], bytes(32), 1 << 32, 1, bytes(32)], wire.Welcome),
        (["x" * 33, ""], wire.Denied),
        (["failed", "x" * 501], wire.Denied),
        ([-1], wire.End),
        ([1 << 40], wire.End),
        ([1, 2], wire.End),
    ]
    for value, kind in wrong:
        with pytest.raises(RemoteError):
            wire.decode(msgspec.msgpack.encode(value), kind)
    slices: list[Any] = [[bytes(wire.MAX_STATEMENT + 1)], [7], ["text"], {}]
    for statements in slices:
        with pytest.raises(RemoteError):
            wire.decode_statements(msgspec.msgpack.encode(statements))
    with pytest.raises(RemoteError):
        wire.decode_statements(b"\x91" * 50_000)


def test_slices_fit_records_and_lose_nothing() -> None:
    statements = [bytes([n % 251]) * (n * 37 % 4200) for n in range(300)]
    parts = list(wire.slices(statements))
    assert [statement for part in parts for statement in part] == statements
    assert all(len(wire.encode(part)) <= 60_000 for part in parts) and len(parts) < 15
    assert [wire.decode_statements(wire.encode(part)) for part in parts] == parts
    assert list(wire.slices([])) == []


def test_the_secret_is_not_shown() -> None:
    secret = os.urandom(32)
    welcome = wire.Welcome((b"c",), secret, 0, 1, bytes(32))
    assert repr(secret) not in repr(welcome) and secret.hex() not in repr(welcome)
