"""The daemon's HTTP interface on a unix socket: what the CLI and scripts talk to.

Rule: the socket is root's (and the group `meshnet`'s) from its first moment; whoever reaches it may read,
only uid 0 may change something.  Every answer is one JSON object with the header `Meshnet-API`, every refusal
is {"error": {what, why, fix, code}}, and nothing a client sends can raise past a request.
Flow: aiohttp routes a request, `_guard` checks the caller and turns errors into answers, a handler validates
the body against a Struct and asks the `Backend`.  Reference: design §9; SO_PEERCRED: unix(7).
"""

import asyncio
import errno
import grp
import ipaddress
import logging
import os
import socket
import stat
import struct
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from meshnet import __version__
from meshnet.config import API_VERSION
from meshnet.control.requests import (
    Backend,
    DockerRequest,
    EndpointRequest,
    ExposeRequest,
    LeaveRequest,
    NetworkRequest,
    TokenRequest,
)
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["ApiServer", "application", "bind", "peer_uid"]

log = logging.getLogger(__name__)

BODY_BYTES = 64 * 1024
BODY_TIMEOUT_S = 10.0
REQUESTS_AT_ONCE = 64
BACKLOG = 64
SHUTDOWN_S = 2.0
LINGER_S = 0.5
"""How long the rest of a body is read after the answer, before the connection is closed."""
GROUP = "meshnet"
SOCKET_UMASK = 0o117
NAME = r"{name:[a-z0-9-]{1,63}}"

_S = TypeVar("_S", bound=msgspec.Struct)
_UCRED = struct.Struct("iII")

HTTP_OF_CODE = {
    ExitCode.USAGE: HTTPStatus.BAD_REQUEST,
    ExitCode.PERMISSION: HTTPStatus.FORBIDDEN,
    ExitCode.NOT_FOUND: HTTPStatus.NOT_FOUND,
    ExitCode.TIMED_OUT: HTTPStatus.REQUEST_TIMEOUT,
}
"""Any other code is a conflict with the daemon's present state: 409."""

CODE_OF_HTTP = {
    HTTPStatus.FORBIDDEN: ExitCode.PERMISSION,
    HTTPStatus.NOT_FOUND: ExitCode.NOT_FOUND,
    HTTPStatus.REQUEST_TIMEOUT: ExitCode.TIMED_OUT,
}


def peer_uid(request: web.Request) -> int | None:
    """The uid of the process at the other end of the request's socket; None when it is gone."""
    transport = request.transport
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return None
    try:
        credentials: bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def _refusal(status: int, error: MeshnetError, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": error.to_json()}, status=status, headers=headers)


def _bad(why: str, what: str = "the request cannot be read") -> MeshnetError:
    return MeshnetError(what, why, "use the `meshnet` command of this version", ExitCode.USAGE)


async def _read(request: web.Request, kind: type[_S]) -> _S:
    """The request's JSON body as `kind`; raises MeshnetError (USAGE) for anything else."""
    async with asyncio.timeout(BODY_TIMEOUT_S):
        body = await request.read()
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise _bad(str(error), "the request has a wrong value") from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise _bad(f"its body is no JSON: {error}") from None


def _check_address(text: str | None) -> None:
    try:
        ipaddress.ip_address(text or "0.0.0.0")
    except ValueError:
        raise _bad(f"{text!r} is not an IP address", "the request has a wrong value") from None


class _Handlers:
    """One method per route; each returns the backend's answer unchanged."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    async def status(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.status())

    async def peers(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.peers())

    async def stop(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.stop())

    async def create_token(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, TokenRequest)
        roles = tuple(sorted(set(wanted.roles)))
        return web.json_response(await self._backend.create_token(wanted.uses, wanted.ttl_s, roles), status=201)

    async def create_endpoint(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, EndpointRequest)
        _check_address(wanted.ip)
        return web.json_response(await self._backend.create_endpoint(wanted), status=201)

    async def list_endpoints(self, request: web.Request) -> web.StreamResponse:
        netns = request.query.get("netns", "")
        device, colon, inode = netns.partition(":")
        if not (colon and len(netns) <= 41 and f"{device}{inode}".isascii() and device.isdigit() and inode.isdigit()):
            raise _bad("`netns` is DEVICE:INODE of a namespace's file", "the request has a wrong value")
        return web.json_response(await self._backend.list_endpoints(netns))

    async def confirm_endpoint(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.confirm_endpoint(request.match_info["endpoint"]))

    async def delete_endpoint(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.delete_endpoint(request.match_info["endpoint"]))

    async def create_network(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, NetworkRequest)
        return web.json_response(await self._backend.create_network(wanted), status=201)

    async def list_networks(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.list_networks())

    async def remove_network(self, request: web.Request) -> web.StreamResponse:
        everywhere = request.query.get("everywhere", "0")
        if everywhere not in ("0", "1"):
            raise _bad("`everywhere` is 0 or 1", "the request has a wrong value")
        return web.json_response(await self._backend.remove_network(request.match_info["name"], everywhere == "1"))

    async def expose(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, ExposeRequest)
        _check_address(wanted.ip)
        return web.json_response(await self._backend.expose(wanted), status=201)

    async def hide(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.hide(request.match_info["name"]))

    async def docker(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.docker(await _read(request, DockerRequest)))

    async def docker_status(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.docker_status())

    async def leave(self, request: web.Request) -> web.StreamResponse:
        wanted = await _read(request, LeaveRequest)
        return web.json_response(await self._backend.leave(wanted.wipe))


def _guard(uid_of: Callable[[web.Request], int | None]) -> Middleware:
    """The middleware around every request, also those for unknown paths."""
    running = 0

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal running
        if running >= REQUESTS_AT_ONCE:
            busy = MeshnetError("meshnetd is busy", f"{REQUESTS_AT_ONCE} requests wait for answers", "try again")
            return _refusal(HTTPStatus.SERVICE_UNAVAILABLE, busy)
        running += 1
        try:
            if request.method not in ("GET", "HEAD") and uid_of(request) != 0:
                raise MeshnetError(
                    "you may not change this mesh",
                    "only root may; the group `meshnet` may read",
                    "run the command with sudo",
                    ExitCode.PERMISSION,
                )
            return await handler(request)
        except MeshnetError as error:
            return _refusal(HTTP_OF_CODE.get(error.code, HTTPStatus.CONFLICT), error)
        except web.HTTPException as error:
            return _of_http(request, error)
        except TimeoutError:
            late = MeshnetError("the request took too long", "it was given up", "try again", ExitCode.TIMED_OUT)
            return _refusal(HTTPStatus.REQUEST_TIMEOUT, late)
        except Exception:
            log.exception("%s %s failed", request.method, request.path)
            broken = MeshnetError(
                "meshnetd could not do this",
                "it met a fault of its own",
                "look at its log, and report the fault",
            )
            return _refusal(HTTPStatus.INTERNAL_SERVER_ERROR, broken)
        finally:
            running -= 1

    return guard


def _of_http(request: web.Request, error: web.HTTPException) -> web.Response:
    """aiohttp's own refusals (unknown path, wrong method, too large a body) in our form."""
    fix = "use the `meshnet` command of this version"
    code = CODE_OF_HTTP.get(HTTPStatus(error.status), ExitCode.USAGE)
    why = {
        HTTPStatus.NOT_FOUND: f"there is no {request.path[:80]}",
        HTTPStatus.METHOD_NOT_ALLOWED: f"{request.path[:80]} has no {request.method[:20]}",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: f"a body may have {BODY_BYTES} bytes",
    }.get(HTTPStatus(error.status), error.reason)
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return _refusal(error.status, MeshnetError("meshnetd does not take this request", why, fix, code), allow)


async def _mark(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Meshnet-API"] = str(API_VERSION)
    response.headers["Meshnet-Version"] = __version__


def application(backend: Backend, uid_of: Callable[[web.Request], int | None] = peer_uid) -> web.Application:
    """The aiohttp application that serves `backend`; `uid_of` tells who asks."""
    app = web.Application(middlewares=[_guard(uid_of)], client_max_size=BODY_BYTES)
    handlers = _Handlers(backend)
    app.router.add_get("/v1/status", handlers.status)
    app.router.add_get("/v1/peers", handlers.peers)
    app.router.add_post("/v1/stop", handlers.stop)
    app.router.add_post("/v1/tokens", handlers.create_token)
    app.router.add_post("/v1/endpoints", handlers.create_endpoint)
    app.router.add_get("/v1/endpoints", handlers.list_endpoints)
    app.router.add_post(r"/v1/endpoints/{endpoint:[0-9a-f]{1,64}}/confirm", handlers.confirm_endpoint)
    app.router.add_delete(r"/v1/endpoints/{endpoint:[0-9a-f]{1,64}}", handlers.delete_endpoint)
    app.router.add_post("/v1/networks", handlers.create_network)
    app.router.add_get("/v1/networks", handlers.list_networks)
    app.router.add_delete(f"/v1/networks/{NAME}", handlers.remove_network)
    app.router.add_post("/v1/expose", handlers.expose)
    app.router.add_delete(f"/v1/expose/{NAME}", handlers.hide)
    app.router.add_post("/v1/leave", handlers.leave)
    app.router.add_post("/v1/docker", handlers.docker)
    app.router.add_get("/v1/docker", handlers.docker_status)
    app.on_response_prepare.append(_mark)
    return app


def _answers(path: Path) -> bool:
    """Whether a process listens on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that is gone; raises MeshnetError if it is alive or this is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise MeshnetError(
            f"{path} is in the way",
            "it is no socket, so meshnet did not make it",
            "move it away, then start again",
        )
    if _answers(path):
        raise MeshnetError(
            "meshnetd runs already",
            f"a daemon answers on {path}",
            "run `meshnet status`, or give the second one its own --run-dir and --state-dir",
        )
    path.unlink(missing_ok=True)


def bind(path: Path, group: str | None = GROUP) -> socket.socket:
    """A socket bound to `path`, 0660 from the start and of `group` where that exists; not listening yet.

    Raises MeshnetError when another daemon answers there or the path cannot be used.
    """
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(SOCKET_UMASK)
    try:
        sock.bind(os.fspath(path))
    except OSError as error:
        sock.close()
        code = ExitCode.PERMISSION if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ExitCode.FAILED
        raise MeshnetError(
            f"cannot listen on {path}", error.strerror or str(error), "make the run directory writable", code
        ) from error
    finally:
        os.umask(before)
    try:
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        pass  # without the group the socket is root's alone
    except OSError as error:
        sock.close()
        path.unlink(missing_ok=True)
        raise MeshnetError(
            f"cannot give {path} to the group {group}",
            error.strerror or str(error),
            "start meshnet as root",
            ExitCode.PERMISSION,
        ) from error
    return sock


class ApiServer:
    """Serves a backend on one unix socket from `start` to `close`."""

    def __init__(
        self,
        path: Path,
        backend: Backend,
        group: str | None = GROUP,
        uid_of: Callable[[web.Request], int | None] = peer_uid,
    ) -> None:
        self._path = path
        self._group = group
        self._runner = web.AppRunner(
            application(backend, uid_of),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=SHUTDOWN_S,
            lingering_time=LINGER_S,
        )
        self._inode: int | None = None

    async def start(self) -> None:
        """Bind and answer; raises MeshnetError as `bind` does."""
        sock = bind(self._path, self._group)
        self._inode = self._path.lstat().st_ino
        await self._runner.setup()
        await web.SockSite(self._runner, sock, backlog=BACKLOG).start()

    async def close(self) -> None:
        """Finish what is being answered (at most 2 s) and remove the socket, if it is still ours."""
        await self._runner.cleanup()
        try:
            if self._inode is not None and self._path.lstat().st_ino == self._inode:
                self._path.unlink()
        except FileNotFoundError:
            pass
        self._inode = None
