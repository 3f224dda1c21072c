"""One TCP connection as bytes in and bytes out, for links and joins.

Rule: every way a connection ends is a ``ConnectionError`` to who reads or writes; ``finish`` and ``abort`` never
wait, and a far end that reads nothing cannot hold a connection open beyond ``GRACE_S``.
Reference: design §4.8 (never block).
"""

from __future__ import annotations

import asyncio
import socket

CONNECT_S = 5.0
READ_SIZE = 64 * 1024
GRACE_S = 2.0  # what was written last may still leave for so long after the orderly end


class Pipe:
    """A connected TCP socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._finished = False
        name = writer.get_extra_info("peername")
        self.remote = str(name[0]) if isinstance(name, tuple) else "?"
        raw = writer.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def read(self) -> bytes:
        """What arrived, at least one byte; raises ConnectionError at the end."""
        try:
            data = await self._reader.read(READ_SIZE)
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionAbortedError(str(error)) from error
        if not data:
            raise ConnectionResetError("the other end closed the connection")
        return data

    async def write(self, data: bytes) -> None:
        """Queue `data` and wait until the queue is short again; raises ConnectionError."""
        self.put(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            raise
        except OSError as error:
            raise ConnectionAbortedError(str(error)) from error

    def put(self, data: bytes) -> None:
        """Queue `data` without waiting; what a closed connection is given vanishes."""
        if data and not self._finished and not self._writer.transport.is_closing():
            self._writer.write(data)

    @property
    def queued(self) -> int:
        """Bytes that were put and have not left."""
        return 0 if self._finished else self._writer.transport.get_write_buffer_size()

    def finish(self, last: bytes = b"") -> None:
        """End in order: `last`, then the end; cut off after GRACE_S if the far end does not read."""
        if self._finished:
            return
        self.put(last)
        self._finished = True
        transport = self._writer.transport
        transport.close()
        asyncio.get_running_loop().call_later(GRACE_S, transport.abort)

    def abort(self) -> None:
        """End at once."""
        if not self._finished:
            self._finished = True
            self._writer.transport.abort()


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port"; raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit():
        raise ValueError("not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


async def connect(address: str) -> Pipe:
    """A connection to "host:port"; raises TimeoutError after CONNECT_S, OSError or ValueError otherwise."""
    host, port = split_address(address)
    async with asyncio.timeout(CONNECT_S):
        return Pipe(*await asyncio.open_connection(host, port))
