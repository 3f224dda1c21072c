"""Records on a secured stream: any byte changed, any order, any size, and the end."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from crypto.errors import LocalError, RemoteError
from crypto.primitives import Suite
from crypto.secure_stream import PLAINTEXT_MAX, SecureStream

RNG = random.Random(15)


def secured() -> tuple[SecureStream, SecureStream]:
    forth, back = RNG.randbytes(32), RNG.randbytes(32)
    return SecureStream(Suite.AESGCM, forth, back), SecureStream(Suite.AESGCM, back, forth)


def pieces(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def flips(data: bytes) -> Iterable[bytes]:
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        yield bytes(damaged)


def test_every_flipped_byte_of_a_record() -> None:
    near, far = secured()
    wire = near.seal(3, b"content")
    for damaged in flips(wire):
        twin = SecureStream.__new__(SecureStream)
        twin.__dict__.update(far.__dict__)
        twin._receive, twin._buffer = far._receive.copy(), bytearray()
        got: list[tuple[int, bytes]] = []
        try:
            got = twin.feed(damaged)
        except RemoteError:
            with pytest.raises(RemoteError, match="before"):
                twin.feed(wire)
        assert got == []
    assert far.feed(wire) == [(3, b"content")]


def test_replayed_reordered_and_reflected_records() -> None:
    near, far = secured()
    first, second = near.seal(1, b"first"), near.seal(1, b"second")
    with pytest.raises(RemoteError):
        far.feed(second)
    near, far = secured()
    first = near.seal(1, b"first")
    assert far.feed(first) == [(1, b"first")]
    with pytest.raises(RemoteError):
        far.feed(first)
    near, far = secured()
    with pytest.raises(RemoteError):
        near.feed(near.seal(1, b"mirror"))


def test_sizes_of_records() -> None:
    near, far = secured()
    largest = RNG.randbytes(PLAINTEXT_MAX)
    assert far.feed(near.seal(1, largest)) == [(1, largest)]
    for kind, content in ((1, largest + b"x"), (256, b""), (-1, b"")):
        with pytest.raises(LocalError):
            near.seal(kind, content)
    for length in (0, 16, PLAINTEXT_MAX + 18, 65_535):
        _, receiver = secured()
        with pytest.raises(RemoteError, match="length"):
            receiver.feed(length.to_bytes(2))


def test_the_buffer_holds_less_than_one_record() -> None:
    near, far = secured()
    wire = b"".join(near.seal(1, bytes(50_000)) for _ in range(5))
    for piece in pieces(wire, 1000):
        far.feed(piece)
        assert len(far._buffer) < PLAINTEXT_MAX + 19
    assert not far._buffer


def test_nothing_after_a_close() -> None:
    near, far = secured()
    last = near.seal(1, b"last") + near.close()
    with pytest.raises(LocalError):
        near.seal(1, b"more")
    with pytest.raises(RemoteError, match="end"):
        far.feed(last + b"\0\x20" + bytes(32))


def test_what_arrived_early_is_looked_at_first() -> None:
    near, _ = secured()
    key = RNG.randbytes(32)
    sender = SecureStream(Suite.AESGCM, key, key)
    receiver = SecureStream(Suite.AESGCM, key, key, sender.seal(1, b"early"))
    assert receiver.feed(sender.seal(2, b"later")) == [(1, b"early"), (2, b"later")]
    assert key.hex() not in repr(receiver) and repr(near) == "SecureStream(closed=False, failed=False)"
