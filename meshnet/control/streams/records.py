"""The records of a secured stream on a connection, one at a time.

Rule: an orderly end where a record is expected is a ``ConnectionError`` like any other end.
Reference: docs/wire.md "Streams".
"""

from __future__ import annotations

from collections import deque

from crypto.stream import CLOSE, SecureStream
from meshnet.control.streams.pipe import Pipe


class Records:
    """Reads and writes the records of `stream`, whose bytes go through `pipe`."""

    def __init__(self, pipe: Pipe, stream: SecureStream) -> None:
        self._pipe = pipe
        self._stream = stream
        self._ready: deque[tuple[int, bytes]] = deque(stream.feed(b""))

    async def next(self) -> tuple[int, bytes]:
        """(kind, plaintext); raises ConnectionError when there is no more, RemoteError for a false one."""
        while not self._ready:
            self._ready.extend(self._stream.feed(await self._pipe.read()))
        kind, plaintext = self._ready.popleft()
        if kind == CLOSE:
            raise ConnectionResetError("the other end closed the connection")
        return kind, plaintext

    async def send(self, kind: int, plaintext: bytes) -> None:
        """Seal and write one record."""
        await self._pipe.write(self._stream.seal(kind, plaintext))

    def finish(self) -> None:
        """End in order."""
        self._pipe.finish(self._stream.close())
