"""The daemon's HTTP interface on a unix socket: what the CLI and scripts talk to.

Rule: the socket is root's (and the group `meshnet`'s) from its first moment; whoever reaches it may read,
only uid 0 may change something.  Every answer is one JSON object with the header `Meshnet-API`, every refusal
is {"error": {what, why, fix, code}}, and nothing a client sends can raise past a request.
Flow: aiohttp routes a request, `_guard` checks the caller and turns errors into answers, a handler of `api_routes`
validates the body against a Struct and asks the `Backend`; the socket is `api_socket`'s.  Reference: design §9.
"""

import logging
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from meshnet import __version__
from meshnet.config import API_VERSION
from meshnet.control.api.api_routes import add_routes
from meshnet.control.api.api_socket import GROUP, bind, peer_uid
from meshnet.control.api.requests import Backend
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["ApiServer", "application"]

log = logging.getLogger(__name__)

BODY_BYTES = 64 * 1024
REQUESTS_AT_ONCE = 64
BACKLOG = 64
SHUTDOWN_S = 2.0
LINGER_S = 0.5
"""How long the rest of a body is read after the answer, before the connection is closed."""

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


def _refusal(status: int, error: MeshnetError, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": error.to_json()}, status=status, headers=headers)


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
    add_routes(app.router, backend)
    app.on_response_prepare.append(_mark)
    return app


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
