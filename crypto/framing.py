"""Hellos and frames: how bytes are cut on a stream, before anything is encrypted.

Flow: hello 16 = 7 "MESHNET" | u8 version 1 | u8 channel | u8 suite | u8 epoch | 5 zero; frame = u16 length and
that many bytes.
Rule: a length is judged as soon as it is there, so nobody can make us wait for, or hold, more than is possible.
Reference: docs/wire.md; the Noise specification §13.
"""

from __future__ import annotations

from typing import Final

from crypto.errors import RemoteError
from crypto.prologue import Channel

HELLO_SIZE: Final = 16
STREAM_VERSION: Final = 1

_MAGIC: Final = b"MESHNET"
_CHANNEL_AT: Final = len(_MAGIC) + 1
_SUITE_AT: Final = _CHANNEL_AT + 1
_EPOCH_AT: Final = _SUITE_AT + 1
_LENGTH_SIZE: Final = 2


def hello(channel: Channel, suite: int, epoch: int) -> bytes:
    """The 16 bytes that each end sends first; ``suite`` is the number of one, or 0 for "yours"."""
    return (_MAGIC + bytes((STREAM_VERSION, channel, suite, epoch))).ljust(HELLO_SIZE, b"\0")


def take_hello(buffer: bytearray) -> bytes | None:
    """Removes a hello from the front of ``buffer``; ``None`` while it is incomplete.

    Raises ``RemoteError`` at the first byte that no hello has.
    """
    if not _MAGIC.startswith(buffer[: len(_MAGIC)]):
        raise RemoteError("not the hello of a meshnet peer")
    return None if len(buffer) < HELLO_SIZE else take(buffer, HELLO_SIZE)


def hello_channel(hello: bytes) -> int:
    """The channel byte of a hello."""
    return hello[_CHANNEL_AT]


def hello_suite(hello: bytes) -> int:
    """The suite byte of a hello."""
    return hello[_SUITE_AT]


def hello_epoch(hello: bytes) -> int:
    """The epoch byte of a hello."""
    return hello[_EPOCH_AT]


def check_hello(own: bytes, remote: bytes) -> None:
    """Compares two hellos that must be equal. Raises ``RemoteError`` that says what differs."""
    fields = ("version", "channel", "cipher suite", "epoch of the mesh secret")
    for name, ours, theirs in zip(fields, own[len(_MAGIC) :], remote[len(_MAGIC) :], strict=False):
        if ours != theirs:
            raise RemoteError(f"hello with another {name}")
    if remote != own:
        raise RemoteError("hello of another form")


def frame(content: bytes) -> bytes:
    """``content`` behind its length."""
    return len(content).to_bytes(_LENGTH_SIZE) + content


def frame_at(buffer: bytearray, position: int, shortest: int, longest: int) -> tuple[int, bytes] | None:
    """The frame at ``position`` and where the next begins, or ``None`` while it is incomplete.

    Raises ``RemoteError`` when its length is not within ``shortest`` and ``longest``.
    """
    start = position + _LENGTH_SIZE
    if len(buffer) < start:
        return None
    length = int.from_bytes(buffer[position:start])
    if not shortest <= length <= longest:
        raise RemoteError("frame of an impossible length")
    end = start + length
    return None if len(buffer) < end else (end, bytes(buffer[start:end]))


def take(buffer: bytearray, size: int) -> bytes:
    """Removes ``size`` bytes from the front of ``buffer``, which has them."""
    taken = bytes(buffer[:size])
    del buffer[:size]
    return taken
