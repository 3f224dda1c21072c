"""Hellos and frames: what is taken, what is refused and how early."""

from __future__ import annotations

import pytest

from crypto.errors import RemoteError
from crypto.framing import (
    HELLO_SIZE,
    check_hello,
    frame,
    frame_at,
    hello,
    hello_channel,
    hello_epoch,
    hello_suite,
    take,
    take_hello,
)
from crypto.prologue import Channel

HELLO = hello(Channel.LINK, 1, 7)


def test_layout_of_a_hello() -> None:
    assert b"MESHNET\1\2\1\7" + bytes(5) == HELLO and len(HELLO) == HELLO_SIZE
    assert (hello_channel(HELLO), hello_suite(HELLO), hello_epoch(HELLO)) == (Channel.LINK, 1, 7)


def test_a_hello_is_taken_when_it_is_whole_and_refused_at_its_first_wrong_byte() -> None:
    buffer = bytearray()
    for byte in HELLO[:-1]:
        buffer.append(byte)
        assert take_hello(buffer) is None
    buffer += HELLO[-1:] + b"more"
    assert take_hello(buffer) == HELLO and buffer == b"more"
    for size in range(7):
        with pytest.raises(RemoteError, match="not the hello"):
            take_hello(bytearray(HELLO[:size] + b"?"))


def test_what_differs_is_named() -> None:
    check_hello(HELLO, HELLO)
    for position, name in (
        (7, "version"),
        (8, "channel"),
        (9, "cipher suite"),
        (10, "epoch"),
        (11, "form"),
        (15, "form"),
    ):
        other = bytearray(HELLO)
        other[position] ^= 0x20
        with pytest.raises(RemoteError, match=name):
            check_hello(HELLO, bytes(other))


def test_frames() -> None:
    buffer = bytearray(frame(b"first") + frame(b"") + b"\0")
    assert frame_at(buffer, 0, 0, 5) == (7, b"first")
    assert frame_at(buffer, 7, 0, 5) == (9, b"")
    assert frame_at(buffer, 9, 0, 5) is None and frame_at(buffer[:6], 0, 0, 5) is None
    for shortest, longest in ((6, 9), (0, 4)):
        with pytest.raises(RemoteError, match="length"):
            frame_at(buffer[:2], 0, shortest, longest)


def test_take() -> None:
    buffer = bytearray(b"abc")
    assert take(buffer, 2) == b"ab" and buffer == b"c"
