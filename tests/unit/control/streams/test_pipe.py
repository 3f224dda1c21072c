"""A connection's ends: addresses, orderly ends, and a far end that does not read."""

from __future__ import annotations

import asyncio
import socket

import pytest

from meshnet.control.streams import pipe as module
from meshnet.control.streams.pipe import Pipe, connect, split_address

DEADLINE_S = 5.0


def test_addresses() -> None:
    assert split_address("192.0.2.1:6799") == ("192.0.2.1", 6799)
    assert split_address("[2001:db8::1]:6799") == ("2001:db8::1", 6799)
    assert split_address("host.example:1") == ("host.example", 1)
    for bad in ("", "host", ":1", "host:", "host:x", "host:-1", "host:\u0661"):
        with pytest.raises(ValueError, match="not HOST:PORT"):
            split_address(bad)


async def accepted(listening: socket.socket) -> socket.socket:
    listening.setblocking(False)
    async with asyncio.timeout(DEADLINE_S):
        return (await asyncio.get_running_loop().sock_accept(listening))[0]


async def pair() -> tuple[Pipe, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        pipe = await connect(f"127.0.0.1:{listening.getsockname()[1]}")
        return pipe, await accepted(listening)


async def test_bytes_pass_and_the_end_is_a_connection_error() -> None:
    pipe, far = await pair()
    with far:
        await pipe.write(b"there")
        async with asyncio.timeout(DEADLINE_S):
            assert await asyncio.get_running_loop().sock_recv(far, 10) == b"there"
            far.sendall(b"back")
            assert await pipe.read() == b"back"
            far.close()
            with pytest.raises(ConnectionError):
                await pipe.read()
    pipe.abort()


async def test_the_last_bytes_leave_and_nothing_after_them() -> None:
    pipe, far = await pair()
    with far:
        pipe.finish(b"last")
        pipe.put(b"more")
        pipe.finish(b"again")
        pipe.abort()
        async with asyncio.timeout(DEADLINE_S):
            loop = asyncio.get_running_loop()
            assert [await loop.sock_recv(far, 10), await loop.sock_recv(far, 10)] == [b"last", b""]
    assert pipe.queued == 0


async def test_a_far_end_that_does_not_read_cannot_hold_it_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "GRACE_S", 0.02)
    pipe, far = await pair()
    with far:
        pipe.put(bytes(20_000_000))  # beyond what the kernel takes
        assert pipe.queued > 0
        pipe.finish()
        async with asyncio.timeout(DEADLINE_S):
            with pytest.raises(ConnectionError):
                while True:
                    await pipe.read()


async def test_nobody_there_is_an_error_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(OSError):
        await connect(address)
