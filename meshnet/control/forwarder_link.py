"""meshnetd's end of the boundary: one connection to a forwarder, verbs down, facts up.

Rule: nothing here blocks.  Verbs leave in order; while the socket is full they wait in one queue of VERBS_QUEUED, and
a forwarder that does not empty it is treated as dead.
"""

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from meshnet.boundary import FDS_PER_MESSAGE, MESSAGE_BYTES, BoundaryError, Fact, Hello, Verb, decode_fact, encode

__all__ = ["CONNECT_S", "VERBS_QUEUED", "ForwarderLink", "connect"]

VERBS_QUEUED: Final = 16_384
FACTS_PER_TURN: Final = 64
CONNECT_S: Final = 10.0
RETRY_S: Final = 0.02
BUFFER_BYTES: Final = 4 << 20


class ForwarderLink:
    """A connection that said `Hello`; facts go to `on_fact`, its end to `on_end`, both set by the owner."""

    def __init__(self, connection: socket.socket, hello: Hello, descriptors: list[int]) -> None:
        self._connection = connection
        self.hello = hello
        self.descriptors = descriptors
        """Duplicates of the forwarder's data sockets and TAPs, in the order of `hello`; the owner's to close."""
        self._queue: deque[tuple[bytes, Sequence[int]]] = deque()
        self._writing = False
        self.is_open = True
        self.on_fact: Callable[[Fact], None] = lambda fact: None
        self.on_end: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin to hand up facts."""
        asyncio.get_running_loop().add_reader(self._connection.fileno(), self._readable)

    def send(self, verb: Verb, descriptors: Sequence[int] = ()) -> None:
        """Send a verb, with descriptors beside it (duplicated by the kernel); a no-op once the link ended."""
        if not self.is_open:
            return
        data = encode(verb)
        if self._writing or not self._write(data, descriptors):
            if len(self._queue) >= VERBS_QUEUED:
                self.close()
                return
            self._queue.append((data, descriptors))

    def close(self) -> None:
        """End the connection; `on_end` is called once."""
        if not self.is_open:
            return
        self.is_open = False
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._connection.fileno())
        loop.remove_writer(self._connection.fileno())
        self._connection.close()
        self._queue.clear()
        self.on_end()

    def _write(self, data: bytes, descriptors: Sequence[int]) -> bool:
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        try:
            self._connection.sendmsg([data], ancillary)
        except BlockingIOError:
            self._writing = True
            asyncio.get_running_loop().add_writer(self._connection.fileno(), self._writable)
            return False
        except OSError:
            self.close()
        return True

    def _writable(self) -> None:
        asyncio.get_running_loop().remove_writer(self._connection.fileno())
        self._writing = False
        while self._queue and self.is_open:
            data, descriptors = self._queue[0]
            if not self._write(data, descriptors):
                return
            if self._queue:
                self._queue.popleft()

    def _readable(self) -> None:
        for _ in range(FACTS_PER_TURN):
            if not self.is_open:
                return
            try:
                data = self._connection.recv(MESSAGE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                return
            try:
                fact = decode_fact(data)
            except BoundaryError:
                continue
            self.on_fact(fact)


async def connect(path: Path, *, deadline_s: float = CONNECT_S) -> ForwarderLink:
    """Connect to a forwarder's listener and wait for its `Hello`; raises OSError or BoundaryError."""
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    descriptors: list[int] = []
    try:
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        connection.connect(str(path))
        end = loop.time() + deadline_s
        while True:
            try:
                data, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, FDS_PER_MESSAGE)
                break
            except BlockingIOError:
                if loop.time() > end:
                    raise TimeoutError("the forwarder did not say hello") from None
                await asyncio.sleep(RETRY_S)
        if not data:
            raise ConnectionResetError("the forwarder closed the connection")
        hello = decode_fact(data)
        if not isinstance(hello, Hello):
            raise BoundaryError("the forwarder did not begin with hello")
        return ForwarderLink(connection, hello, descriptors)
    except BaseException:
        connection.close()
        for descriptor in descriptors:
            os.close(descriptor)
        raise
