"""Records of a stream over a connection: in order, ended in order, and an end is an end."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator

import pytest

from crypto.errors import RemoteError
from crypto.primitives import Suite
from crypto.secure_stream import SecureStream
from meshnet.control.streams.pipe import Pipe, connect
from meshnet.control.streams.records import Records
from tests.unit.control.joiners import turns

Pipes = tuple[Pipe, Pipe]


@pytest.fixture
async def pipes() -> AsyncIterator[Pipes]:
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.setblocking(False)
        left = await connect(f"127.0.0.1:{listening.getsockname()[1]}")
        accepted, _ = await asyncio.get_running_loop().sock_accept(listening)
    right = Pipe(*await asyncio.open_connection(sock=accepted))
    yield left, right
    left.abort()
    right.abort()
    await turns()


def streams() -> tuple[SecureStream, SecureStream]:
    one, two = os.urandom(32), os.urandom(32)
    return SecureStream(Suite.CHACHAPOLY, one, two), SecureStream(Suite.CHACHAPOLY, two, one)


async def test_records_come_one_at_a_time_and_the_end_is_an_error(pipes: Pipes) -> None:
    ours, theirs = streams()
    sender, receiver = Records(pipes[0], ours), Records(pipes[1], theirs)
    await sender.send(1, b"one")
    await sender.send(2, b"")
    sender.finish()
    assert [await receiver.next(), await receiver.next()] == [(1, b"one"), (2, b"")]
    with pytest.raises(ConnectionError):
        await receiver.next()


async def test_what_arrived_with_the_handshake_is_not_lost(pipes: Pipes) -> None:
    one, two = os.urandom(32), os.urandom(32)
    sealed = SecureStream(Suite.CHACHAPOLY, one, two).seal(3, b"early")
    early = SecureStream(Suite.CHACHAPOLY, two, one, sealed)
    assert await Records(pipes[1], early).next() == (3, b"early")


async def test_false_bytes_are_refused(pipes: Pipes) -> None:
    await pipes[0].write(b"\x00\x20" + os.urandom(32))
    with pytest.raises(RemoteError):
        await Records(pipes[1], streams()[1]).next()
