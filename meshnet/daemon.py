"""meshnetd: the control process of one peer, from its command line to its end.

`main` reads the command line that the CLI wrote; `Daemon` opens the host's state, finds or starts the forwarder, has
every part made and started (`control.assembly`), says that it is ready, and ends.  SIGTERM ends meshnetd alone and the
forwarder goes on; `meshnet stop`, and Ctrl-C in the foreground, end both and remove what was made on this host.
docs/architecture.md tells how it all fits.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

import uvloop

from meshnet.cli.invocation import Invocation
from meshnet.control.assembly import Assembly
from meshnet.control.joining.opening import Opened, make, make_directory, read_secret, resume, retire
from meshnet.control.keys.keyfile import StateLock
from meshnet.control.links.sockets import Sockets, advertised, open_sockets
from meshnet.control.start import (
    LOG_CHECK_S,
    bound_log,
    leave_no_core,
    lock_run_dir,
    refuse_unreachable,
    write_ready,
)
from meshnet.control.store.durability import PROBE_S
from meshnet.control.supervise import Supervisor
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.netlink import Netlink
from meshnet.host.nft import Firewall

__all__ = ["Daemon", "main"]

log = logging.getLogger("meshnet.daemon")

LAUNCH_TOKEN_USES = 10
LAUNCH_TOKEN_TTL_S = 3600


class Daemon:
    """One run of meshnetd."""

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self.ended = asyncio.Event()
        self.stop_both = False
        self._anew = False
        """Whether the parts ended for what is stored to be read anew."""
        self._final = False
        self._told = False
        self._wipe: bool | None = None
        """Once this host has left its mesh: whether its state is deleted instead of being put aside."""
        self._state_lock: StateLock | None = None
        self._run_lock = -1
        self._main: asyncio.Task[None] | None = None
        """The task that is becoming ready, to be cancelled by a signal; None once it is."""

    # --- life ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """From nothing to ready, until told to end.  Raises MeshnetError when it cannot become ready."""
        self._handle_signals()
        places = self.invocation.places
        self._run_lock = lock_run_dir(places.run_dir)
        make_directory(places.state_dir)
        self._state_lock = StateLock.acquire(places.state_dir)
        self.netlink = Netlink()
        opened: Opened | None = None
        try:
            secret = None if self.invocation.secret_fd is None else read_secret(self.invocation.secret_fd)
            options = self.invocation.options
            if options is None:
                opened = await resume(places)
                await self._go(opened, None)
            else:
                # Bound before anything is founded or redeemed: a taken port must not cost a token.
                sockets = open_sockets(options)
                try:
                    refuse_unreachable(advertised(options, await self.netlink.addresses(), sockets.families))
                    opened = await make(places, options, secret, os.urandom)
                    await self._go(opened, sockets)
                except BaseException:
                    sockets.close()
                    raise
            while self._anew and not self._final:
                opened.discard()
                opened = await self._read_anew()
        finally:
            if opened is not None:
                opened.discard()
            if self._wipe is not None:
                retire(places, self._wipe)
            self.netlink.close()

    async def _go(self, opened: Opened, sockets: Sockets | None) -> None:
        own = opened.membership
        supervisor = Supervisor(self.invocation.places.forwarder_socket, own.mesh, own.identity.public)
        found = await supervisor.start()
        assembly: Assembly | None = None
        try:
            if sockets is None:
                sockets = await asyncio.to_thread(open_sockets, opened.options, found.sockets)
            assembly = Assembly(
                self.invocation.places,
                opened,
                supervisor,
                sockets,
                self.netlink,
                Firewall(),
                self._stop,
                self._left,
                self._writable,
            )
            self._refuse_departed(assembly)
            await assembly.start(found, opened.fresh and self.invocation.action == "launch")
        except BaseException:
            if assembly is not None:
                await assembly.abandon(found)
            if found.adopted:
                supervisor.leave()
            else:
                await supervisor.stop()
            raise
        self._main = None
        await self._tell_ready(assembly)
        await self.ended.wait()
        await assembly.end(self.stop_both)

    async def _read_anew(self) -> Opened:
        """Go on from what is stored, as a start does, while the forwarder goes on as it is.

        Tried until it works or the daemon is to end.
        """
        self._main = asyncio.current_task()
        while True:
            self._anew = False
            self.ended.clear()
            opened: Opened | None = None
            try:
                opened = await resume(self.invocation.places)
                log.warning("the disk takes writes again: going on from what is stored")
                await self._go(opened, None)
                return opened
            except BaseException as error:
                if opened is not None:
                    opened.discard()
                if self._wipe is not None or not isinstance(error, MeshnetError | HostError):
                    raise
                log.error("%s: %s", error.what, error.why)
                await asyncio.sleep(PROBE_S)

    # --- what parts ask for ----------------------------------------------------------------------------------------

    def _refuse_departed(self, assembly: Assembly) -> None:
        """A daemon that died between leaving and ending left its state behind: it is put aside now."""
        if assembly.has_left:
            self._wipe = False
            raise MeshnetError(
                "this host has left its mesh",
                "its state was still here, and is put aside now",
                "run `meshnet join TOKEN`, or `meshnet launch` for a new mesh",
            )

    def _left(self, wipe: bool) -> None:
        self._wipe = wipe
        self._stop()

    def _stop(self) -> None:
        self.stop_both = self._final = True
        self.ended.set()

    def _writable(self) -> None:
        self._anew = True
        self.ended.set()

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        self._main = asyncio.current_task()
        loop.add_signal_handler(signal.SIGTERM, self._terminate)
        if self.invocation.foreground:
            loop.add_signal_handler(signal.SIGINT, self._interrupt)

    def _terminate(self) -> None:
        self._final = True
        self.ended.set()
        if self._main is not None:
            self._main.cancel()

    def _interrupt(self) -> None:
        self.stop_both = True
        self._terminate()

    async def _tell_ready(self, assembly: Assembly) -> None:
        log.info("ready name=%s addresses=%s", assembly.keys.membership.name, ",".join(assembly.addresses))
        if self.invocation.ready_fd is None or self._told:
            return
        self._told = True
        message: dict[str, object] = {"ready": True, "join": None, "state": await assembly.status.whole()}
        if self.invocation.action == "launch":
            token = await assembly.backend.create_token(LAUNCH_TOKEN_USES, LAUNCH_TOKEN_TTL_S, ())
            message["join"] = token["join"]
        write_ready(self.invocation.ready_fd, message)


def main(argv: Sequence[str]) -> int:
    """Run one daemon; returns its exit code."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    leave_no_core()
    ready_fd = Invocation.ready_fd_of(argv)
    try:
        invocation = Invocation.parse(argv)
        plain = os.environ.get("MESHNET_LOOP") == "asyncio"
        factory = asyncio.new_event_loop if plain else uvloop.new_event_loop
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(_run(invocation))
    except (MeshnetError, HostError) as error:
        failure = error if isinstance(error, MeshnetError) else MeshnetError(error.what, error.why, error.fix)
        log.error("%s", failure)
        if ready_fd is not None:
            write_ready(ready_fd, {"error": failure.to_json()})
        return int(failure.code)
    return int(ExitCode.OK)


async def _run(invocation: Invocation) -> None:
    if not invocation.foreground:
        asyncio.get_running_loop().call_later(LOG_CHECK_S, bound_log)
    try:
        await Daemon(invocation).run()
    except asyncio.CancelledError:
        raise MeshnetError("meshnetd was ended before it was ready", "it got a signal", "start it again") from None
