"""The plugin's HTTP server on one unix socket, and the table of its paths.

Rule: every answer is one JSON object, `{}` at least, with `Connection: close`; a refusal carries its text under "Err"
(network driver, and every status but 200) and "Error" (IPAM driver).  Docker puts no deadline on a call, so none
takes over ANSWER_S here: what takes longer goes on and is answered with an error.  A retried request of Docker
comes with an empty body (moby#35459): that is 400, never a guess.
Flow: path -> (struct, method) -> decode -> driver -> JSON.
Reference: moby pkg/plugins/client.go; unix(7).
"""

import asyncio
import errno
import logging
import os
import socket
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from docker_plugin import messages
from docker_plugin.backend import Backend
from docker_plugin.errors import BadRequest, PluginError, Refused
from docker_plugin.ipam_driver import IpamDriver
from docker_plugin.network_driver import NetworkDriver

__all__ = ["SOCKET_NAME", "PluginServer", "Table", "application", "table"]

log = logging.getLogger(__name__)

SOCKET_NAME = "meshnet.sock"
BODY_BYTES = 256 * 1024
ANSWER_S = 0.95
BODY_S = 5.0
CALLS_AT_ONCE = 256
BACKLOG = 128
SHUTDOWN_S = 1.0
MEDIA_TYPE = "application/vnd.docker.plugins.v1.2+json"
SOCKET_UMASK = 0o177

Method = Callable[[Any], Awaitable[dict[str, object]]]
Table = dict[str, tuple[type[msgspec.Struct], Method]]


async def _activate(_: messages.Nothing) -> dict[str, object]:
    return {"Implements": ["NetworkDriver", "IpamDriver"]}


def table(backend: Backend) -> Table:
    """Every path: what its body is, and who answers it."""
    net, ipam = NetworkDriver(backend), IpamDriver(backend)
    return {
        "/Plugin.Activate": (messages.Nothing, _activate),
        "/NetworkDriver.GetCapabilities": (messages.Nothing, net.get_capabilities),
        "/NetworkDriver.GwAllocCheck": (messages.Nothing, net.gw_alloc_check),
        "/NetworkDriver.CreateNetwork": (messages.CreateNetwork, net.create_network),
        "/NetworkDriver.DeleteNetwork": (messages.NetworkId, net.delete_network),
        "/NetworkDriver.AllocateNetwork": (messages.CreateNetwork, net.allocate_network),
        "/NetworkDriver.FreeNetwork": (messages.NetworkId, net.free_network),
        "/NetworkDriver.CreateEndpoint": (messages.CreateEndpoint, net.create_endpoint),
        "/NetworkDriver.DeleteEndpoint": (messages.EndpointId, net.delete_endpoint),
        "/NetworkDriver.EndpointOperInfo": (messages.EndpointId, net.endpoint_info),
        "/NetworkDriver.Join": (messages.Join, net.join),
        "/NetworkDriver.Leave": (messages.EndpointId, net.leave),
        "/NetworkDriver.ProgramExternalConnectivity": (messages.EndpointId, net.connectivity),
        "/NetworkDriver.RevokeExternalConnectivity": (messages.EndpointId, net.connectivity),
        "/NetworkDriver.DiscoverNew": (messages.Discovery, net.discovered),
        "/NetworkDriver.DiscoverDelete": (messages.Discovery, net.discovered),
        "/IpamDriver.GetCapabilities": (messages.Nothing, ipam.get_capabilities),
        "/IpamDriver.GetDefaultAddressSpaces": (messages.Nothing, ipam.get_default_address_spaces),
        "/IpamDriver.RequestPool": (messages.RequestPool, ipam.request_pool),
        "/IpamDriver.ReleasePool": (messages.PoolId, ipam.release_pool),
        "/IpamDriver.RequestAddress": (messages.RequestAddress, ipam.request_address),
        "/IpamDriver.ReleaseAddress": (messages.ReleaseAddress, ipam.release_address),
    }


def _answer(body: dict[str, object], status: int = 200) -> web.Response:
    response = web.Response(body=msgspec.json.encode(body) + b"\n", status=status, content_type=MEDIA_TYPE)
    response.force_close()
    return response


def _refusal(text: str, status: int) -> web.Response:
    return _answer({"Err": text, "Error": text}, status)


def _decode(kind: type[msgspec.Struct], body: bytes) -> msgspec.Struct:
    """The request; raises BadRequest.  A call that needs nothing may come without a body."""
    if kind is messages.Nothing:
        return messages.Nothing()
    if not body.strip():
        raise BadRequest("the body is empty: Docker retried a call whose first delivery was cut off")
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BadRequest(f"the body cannot be read: {error}") from None


class _Calls:
    """Runs the calls of one server, each to its end, whether or not its answer is still in time."""

    def __init__(self, methods: Table, answer_s: float) -> None:
        self._methods = methods
        self._answer_s = answer_s
        self._running: dict[asyncio.Task[dict[str, object]], None] = {}

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One call; never raises but for the cancellation of the server's end."""
        try:
            return _answer(await self._call(request))
        except PluginError as error:
            log.info("%s refused: %s", request.path[:80], error)
            return _refusal(str(error), error.status)
        except web.HTTPException as error:
            return _refusal(
                f"a body may have {BODY_BYTES} bytes" if error.status == 413 else error.reason, error.status
            )
        except LookupError:
            return _refusal(f"meshnet has no {request.method[:20]} {request.path[:80]}", 404)
        except Exception:
            log.exception("%s failed", request.path[:80])
            return _refusal("meshnetd met a fault of its own: look at its log, and report it", 500)

    async def _call(self, request: web.Request) -> dict[str, object]:
        if request.method != "POST":
            raise LookupError
        kind, method = self._methods[request.path]
        if len(self._running) >= CALLS_AT_ONCE:
            raise Refused(f"{CALLS_AT_ONCE} calls wait already: try again")
        try:
            async with asyncio.timeout(BODY_S):
                body = await request.read()
        except TimeoutError:
            raise BadRequest("the body did not come in time") from None
        # A task of its own: neither Docker's hanging up nor the deadline may stop a change half way.
        task = asyncio.ensure_future(method(_decode(kind, body)))
        self._running[task] = None
        task.add_done_callback(self._ended)
        done, _ = await asyncio.wait([task], timeout=self._answer_s)
        if not done:
            raise Refused("this takes longer than Docker should wait: it goes on, try again")
        return task.result()

    def _ended(self, task: "asyncio.Task[dict[str, object]]") -> None:
        self._running.pop(task, None)
        if not task.cancelled():
            task.exception()  # seen: it was answered, or came too late to be

    async def drain(self) -> None:
        """Let what runs finish, for SHUTDOWN_S."""
        if self._running:
            await asyncio.wait(list(self._running), timeout=SHUTDOWN_S)
        for task in self._running:
            task.cancel()


def application(calls: _Calls) -> web.Application:
    """The aiohttp application: every path goes through the table."""
    app = web.Application(client_max_size=BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", calls.handle)
    return app


class PluginServer:
    """Serves a backend on DIRECTORY/meshnet.sock from `start` to `close`."""

    def __init__(self, directory: Path, backend: Backend, answer_s: float = ANSWER_S) -> None:
        self.path = directory / SOCKET_NAME
        self._calls = _Calls(table(backend), answer_s)
        self._runner = web.AppRunner(
            application(self._calls), access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        self._inode: int | None = None

    async def start(self) -> None:
        """Bind and answer; raises Refused when another process answers there or the path cannot be used."""
        sock = bind(self.path)
        self._inode = self.path.lstat().st_ino
        await self._runner.setup()
        await web.SockSite(self._runner, sock, backlog=BACKLOG).start()
        log.info("plugin socket=%s", self.path)

    async def close(self) -> None:
        """Remove the socket (a file nobody answers on would stall Docker), then finish what was asked."""
        try:
            if self._inode is not None and self.path.lstat().st_ino == self._inode:
                self.path.unlink()
        except FileNotFoundError:
            pass
        await self._calls.drain()
        await self._runner.cleanup()


def bind(path: Path) -> socket.socket:
    """A socket bound to `path`, 0600 from its first moment; a stale one is removed.  Raises Refused."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        _clear(path)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(SOCKET_UMASK)
        try:
            sock.bind(os.fspath(path))
        except OSError:
            sock.close()
            raise
        finally:
            os.umask(before)
    except OSError as error:
        raise Refused(f"cannot listen on {path}: {error.strerror or error}") from error
    return sock


def _clear(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise Refused(f"{path} is in the way and no socket: move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        code = probe.connect_ex(os.fspath(path))
    if code not in (errno.ECONNREFUSED, errno.ENOENT):
        raise Refused(f"another process answers on {path}: is a second meshnetd serving Docker here?")
    path.unlink(missing_ok=True)
