"""Accepts TCP connections and brings their opening to an end, whoever is on the other side.

Purpose: a stranger costs one task for a few seconds and nothing else, and delays nobody.
Rule: each handshake runs in its own task under one deadline; connections that have not proven themselves are
counted per address and in all, and accepted at a bounded pace; what exceeds a bound is closed at once. Any bytes at
all end in an opened stream or in a closed connection with a counter, never in an exception that leaves this module.
Flow: accept -> ``StreamResponder`` until its request -> LINK: ``Welcomer.welcome``; JOIN: ``Issuer.serve``; PASSWORD:
``Issuer.serve_password``, whose attempts have a pace of their own.
Reference: design §3; docs/wire.md.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from crypto.errors import RemoteError
from crypto.prologue import Channel
from crypto.stream import StreamResponder
from meshnet.control.budget import Budget
from meshnet.control.joining.issuer import Issuer
from meshnet.control.streams.pipe import Pipe

HANDSHAKE_S = 5.0  # from the first byte until the other end is proven
MAX_HALF_OPEN = 64
MAX_HALF_OPEN_PER_ADDRESS = 8
BACKLOG = 128
ACCEPTS_PER_S = 20.0  # a mesh that starts all at once needs its burst; more than this a second nobody needs
ACCEPTS_BURST = 40

_log = logging.getLogger(__name__)


class Welcomer(Protocol):
    """Takes over a connection whose handshake of channel LINK was read up to its request."""

    async def welcome(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> None:
        """Finish the handshake, call `proven`, and serve the link until it ends."""


class HalfOpen:
    """Places for connections that have proven nothing yet."""

    def __init__(self) -> None:
        self._held: Counter[str] = Counter()

    def take(self, address: str) -> Callable[[], None] | None:
        """A place for `address` and what gives it back (once), or None when there is none."""
        if self._held[address] >= MAX_HALF_OPEN_PER_ADDRESS or self._held.total() >= MAX_HALF_OPEN:
            return None
        self._held[address] += 1
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self._held[address] -= 1
                if not self._held[address]:
                    del self._held[address]

        return give_back

    def __len__(self) -> int:
        return self._held.total()


class Listener:
    """Serves listening sockets. responder() makes a fresh handshake; issuer None: no joins here."""

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        responder: Callable[[], StreamResponder],
        welcomer: Welcomer,
        issuer: Issuer | None,
        counters: Counter[str],
    ) -> None:
        self.half_open = HalfOpen()
        self._sockets = sockets
        self._responder = responder
        self._welcomer = welcomer
        self._issuer = issuer
        self._counters = counters
        self._pace = Budget(ACCEPTS_PER_S, ACCEPTS_BURST)
        self._closed = False
        self._servers: list[asyncio.Server] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to accept."""
        for listening in self._sockets:
            self._servers.append(await asyncio.start_server(self._accept, sock=listening, backlog=BACKLOG))

    async def close(self) -> None:
        """Stop accepting, and end what was accepted here."""
        self._closed = True
        for server in self._servers:
            server.close()
        self._servers.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pipe = Pipe(reader, writer)
        if self._closed:  # the kernel had it before the end
            pipe.abort()
            return
        give_back = self.half_open.take(pipe.remote)
        if give_back is None:
            self._counters["refused: too many half open"] += 1
            pipe.abort()
            return
        if not self._pace.take(asyncio.get_running_loop().time()):
            self._counters["refused: too many at once"] += 1
            give_back()
            pipe.abort()
            return
        self._spawn(self._serve(pipe, give_back))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, pipe: Pipe, give_back: Callable[[], None]) -> None:
        try:
            async with asyncio.timeout(HANDSHAKE_S) as opening:

                def proven() -> None:
                    opening.reschedule(None)
                    give_back()

                await self._open(pipe, proven)
        except TimeoutError:
            self._counters["refused: too slow"] += 1
        except RemoteError as error:
            self._counters[f"refused: {error.reason}"] += 1
        except ConnectionError:
            self._counters["cut off"] += 1
        except Exception:
            self._counters["faults"] += 1
            _log.exception("an accepted connection failed")
        finally:
            give_back()
            pipe.abort()

    async def _open(self, pipe: Pipe, proven: Callable[[], None]) -> None:
        responder, issuer = self._responder(), self._issuer
        asked = False
        try:
            while responder.request is None:
                responder.feed(await pipe.read())
                if responder.channel is Channel.PASSWORD and not asked and issuer is not None:
                    asked = True  # before the third message, which would tell a guess from the password
                    if not issuer.password_attempt(asyncio.get_running_loop().time()):
                        raise RemoteError("too many attempts with a password")
                pipe.put(responder.data_to_send())
        except RemoteError:
            pipe.finish(responder.data_to_send())  # our hello, by which the other end sees what differs
            raise
        if responder.request.channel in (Channel.JOIN, Channel.PASSWORD) and issuer is not None:
            by_token = responder.request.channel is Channel.JOIN
            joined = await (issuer.serve if by_token else issuer.serve_password)(pipe, responder, proven)
            self._counters["joins" if joined else "refused: joins"] += 1
        else:
            await self._welcomer.welcome(pipe, responder, proven)
