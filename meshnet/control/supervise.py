"""Keep one forwarder running: adopt the one that runs, replace one that cannot be used, restart one that died.

Flow: `start` connects to RUN/forwarder.sock.  A forwarder of this mesh, peer and boundary version is adopted with its
sessions; any other is ended and a new one started on the descriptors it held.  When the connection ends without being
asked to, a new forwarder is started on the descriptors this process holds, and `on_fresh` installs everything anew
(docs/architecture.md).

Rule: the descriptors of data sockets and TAPs are held by both processes, so the death of either removes no device.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshnet.boundary import VERSION, BoundaryError, Fact, NetworkRow, SocketRow, Stop, Verb
from meshnet.control.forwarder_link import ForwarderLink, connect
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["Found", "Supervisor"]

log = logging.getLogger(__name__)

END_S: Final = 5.0
RESTART_PAUSE_S: Final = 0.05
RESTARTS_PER_MINUTE: Final = 20
BACKLOG: Final = 4


@dataclass(slots=True)
class Found:
    """What a forwarder that was already running held: descriptors now belonging to this process."""

    sockets: list[tuple[SocketRow, int]]
    networks: list[tuple[NetworkRow, int]]
    adopted: bool
    """Whether that forwarder goes on; else it was ended and its devices wait for a new one."""


class Supervisor:
    """Owns the forwarder process; verbs go through `send`, facts to `on_fact`."""

    def __init__(self, path: Path, mesh: bytes, peer: bytes) -> None:
        self._path = path
        self._mesh = mesh
        self._peer = peer
        self._link: ForwarderLink | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._closing = False
        self._restarting: asyncio.Task[None] | None = None
        self._restarts: list[float] = []
        self.on_fact: Callable[[Fact], None] = lambda fact: None
        self.on_fresh: Callable[[], None] = lambda: None
        """A new forwarder is connected and knows nothing yet."""

    @property
    def link(self) -> ForwarderLink | None:
        """The live connection, if there is one."""
        return self._link if self._link is not None and self._link.is_open else None

    def send(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        """Send a verb; while no forwarder runs it is dropped, since `on_fresh` sends the whole state again."""
        if self._link is not None:
            self._link.send(verb, descriptors)

    async def start(self) -> Found:
        """Adopt or start a forwarder; raises MeshnetError when none can be started."""
        found = await self._find()
        if not found.adopted:
            await self._spawn()
        return found

    async def stop(self) -> None:
        """End the forwarder and wait until it is gone."""
        self._closing = True
        if self._restarting is not None:
            self._restarting.cancel()
        link = self._link
        if link is not None and link.is_open:
            await self._end(link)
        self._path.unlink(missing_ok=True)

    def leave(self) -> None:
        """Disconnect and let the forwarder go on by itself."""
        self._closing = True
        if self._restarting is not None:
            self._restarting.cancel()
        if self._link is not None:
            self._link.close()

    # --- finding one -----------------------------------------------------------------------------------------------

    async def _find(self) -> Found:
        try:
            link = await connect(self._path)
        except (OSError, BoundaryError) as error:
            if not isinstance(error, FileNotFoundError | ConnectionRefusedError):
                log.warning("the forwarder at %s cannot be used: %s", self._path, error)
            return Found([], [], adopted=False)
        hello, descriptors = link.hello, link.descriptors
        mine = hello.mesh == self._mesh and hello.peer == self._peer
        sockets = list(zip(hello.sockets, descriptors, strict=False))
        networks = list(zip(hello.networks, descriptors[len(sockets) :], strict=False))
        if mine and hello.version == VERSION:
            log.info("adopted forwarder pid=%d sessions=%d", hello.pid, len(hello.sessions))
            self._take(link)
            return Found(sockets, networks, adopted=True)
        log.info("replacing forwarder pid=%d version=%d ours=%s", hello.pid, hello.version, mine)
        await self._end(link)
        if not mine:
            for descriptor in descriptors:
                os.close(descriptor)
            return Found([], [], adopted=False)
        return Found(sockets, networks, adopted=False)

    async def _end(self, link: ForwarderLink) -> None:
        """Stop the forwarder at the other end, by verb first, by signal when it does not listen."""
        link.on_end = lambda: None
        ended = asyncio.Event()
        link.on_end = ended.set
        link.start()
        pid = link.hello.pid
        link.send(Stop())
        try:
            await asyncio.wait_for(ended.wait(), END_S)
        except TimeoutError:
            log.warning("forwarder pid=%d did not stop when told to", pid)
            link.close()
            if self._process is not None and self._process.pid == pid:
                self._process.kill()
        await self._reap()

    async def _reap(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            await asyncio.to_thread(process.wait, END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            await asyncio.to_thread(process.wait)

    # --- starting one ----------------------------------------------------------------------------------------------

    async def _spawn(self) -> None:
        self._path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            listener.bind(str(self._path))
            os.chmod(self._path, 0o600)
            listener.listen(BACKLOG)
            descriptor = listener.fileno()
            argv = [sys.executable, "-m", "meshnet.forwarder", "forwarder", "--listener", str(descriptor)]
            self._process = subprocess.Popen(  # noqa: ASYNC220 - a fork, not a wait
                argv, stdin=subprocess.DEVNULL, pass_fds=(descriptor,), start_new_session=True, close_fds=True
            )
        except OSError as error:
            raise MeshnetError(
                "the forwarder cannot be started", str(error), "check the run directory and that root runs the daemon"
            ) from error
        finally:
            listener.close()
        try:
            link = await connect(self._path)
        except BaseException as error:  # a signal, too, must not leave a forwarder that nobody knows
            self._process.kill()
            self._process.wait()
            self._process = None
            self._path.unlink(missing_ok=True)
            if not isinstance(error, OSError | BoundaryError):
                raise
            raise MeshnetError(
                "the forwarder did not start",
                str(error) or type(error).__name__,
                "read the daemon's log",
                ExitCode.FAILED,
            ) from error
        log.info("started forwarder pid=%d", link.hello.pid)
        self._take(link)

    def _take(self, link: ForwarderLink) -> None:
        self._link = link
        link.on_fact = lambda fact: self.on_fact(fact)
        link.on_end = self._lost
        link.start()

    def _lost(self) -> None:
        if self._closing:
            return
        log.error("the forwarder ended; starting another")
        self._restarting = asyncio.get_running_loop().create_task(self._restart(), name="restart-forwarder")

    async def _restart(self) -> None:
        loop = asyncio.get_running_loop()
        await self._reap()
        while not self._closing:
            self._restarts = [at for at in self._restarts if loop.time() - at < 60.0]
            if len(self._restarts) >= RESTARTS_PER_MINUTE:
                await asyncio.sleep(1.0)
                continue
            self._restarts.append(loop.time())
            try:
                await self._spawn()
            except MeshnetError as error:
                log.error("%s: %s", error.what, error.why)
                await asyncio.sleep(RESTART_PAUSE_S)
                continue
            self.on_fresh()
            return
