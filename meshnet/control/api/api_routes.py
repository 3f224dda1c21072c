"""Every route of the HTTP interface: where it is, what its body must be, what it asks of the backend.

Rule: a handler meets only what its shape allows, and returns the backend's answer unchanged.
Reference: design §9; docs/membership.md for the routes of membership and keys.
"""

from aiohttp import web

from meshnet.control.api import ipam_routes
from meshnet.control.api.reading import NAME, check_address, read, wrong_value
from meshnet.control.api.requests import (
    AcceptRequest,
    AllowRequest,
    Backend,
    DockerRequest,
    EndpointRequest,
    ExposeRequest,
    FinishRequest,
    LeaveRequest,
    NetworkRequest,
    PasswordRequest,
    PeerAddressesRequest,
    RevokeRequest,
    TokenRequest,
)

__all__ = ["add_routes"]

PEER = r"{peer:[0-9a-z-]{1,64}}"


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
        wanted = await read(request, TokenRequest)
        roles = tuple(sorted(set(wanted.roles)))
        return web.json_response(await self._backend.create_token(wanted.uses, wanted.ttl_s, roles), status=201)

    async def list_tokens(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.list_tokens())

    async def revoke_token(self, request: web.Request) -> web.StreamResponse:
        token_id = bytes.fromhex(request.match_info["token"])
        return web.json_response(await self._backend.revoke_token(token_id))

    async def set_password(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, PasswordRequest)
        return web.json_response(await self._backend.set_password(wanted.password))

    async def revoke_peer(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, RevokeRequest)
        if not wanted.reason.isprintable():
            raise wrong_value("a reason is one line of printable characters")
        return web.json_response(await self._backend.revoke_peer(request.match_info["peer"], wanted))

    async def connect_peer(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, PeerAddressesRequest)
        if not wanted.addresses:
            raise wrong_value("`addresses` names none")
        return web.json_response(await self._backend.connect_peer(request.match_info["peer"], wanted.addresses))

    async def forget_peer(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, PeerAddressesRequest)
        return web.json_response(await self._backend.forget_peer(request.match_info["peer"], wanted.addresses))

    async def allow(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, AllowRequest)
        key = None if wanted.key is None else bytes.fromhex(wanted.key)
        return web.json_response(await self._backend.allow(key, wanted.on))

    async def allowed(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.allowed())

    async def secret(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.secret())

    async def rotate_secret(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.rotate_secret())

    async def finish_secret(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, FinishRequest)
        return web.json_response(await self._backend.finish_secret(wanted.force))

    async def accept_secret(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, AcceptRequest)
        return web.json_response(await self._backend.accept_secret(wanted.token))

    async def rotate_key(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.rotate_key())

    async def create_endpoint(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, EndpointRequest)
        check_address(wanted.ip)
        return web.json_response(await self._backend.create_endpoint(wanted), status=201)

    async def list_endpoints(self, request: web.Request) -> web.StreamResponse:
        netns = request.query.get("netns", "")
        device, colon, inode = netns.partition(":")
        if not (colon and len(netns) <= 41 and f"{device}{inode}".isascii() and device.isdigit() and inode.isdigit()):
            raise wrong_value("`netns` is DEVICE:INODE of a namespace's file")
        return web.json_response(await self._backend.list_endpoints(netns))

    async def confirm_endpoint(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.confirm_endpoint(request.match_info["endpoint"]))

    async def delete_endpoint(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.delete_endpoint(request.match_info["endpoint"]))

    async def create_network(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, NetworkRequest)
        return web.json_response(await self._backend.create_network(wanted), status=201)

    async def list_networks(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.list_networks())

    async def remove_network(self, request: web.Request) -> web.StreamResponse:
        everywhere = request.query.get("everywhere", "0")
        if everywhere not in ("0", "1"):
            raise wrong_value("`everywhere` is 0 or 1")
        return web.json_response(await self._backend.remove_network(request.match_info["name"], everywhere == "1"))

    async def expose(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, ExposeRequest)
        check_address(wanted.ip)
        return web.json_response(await self._backend.expose(wanted), status=201)

    async def hide(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.hide(request.match_info["name"]))

    async def docker(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.docker(await read(request, DockerRequest)))

    async def docker_status(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(await self._backend.docker_status())

    async def leave(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, LeaveRequest)
        return web.json_response(await self._backend.leave(wanted.wipe))


def add_routes(router: web.UrlDispatcher, backend: Backend) -> None:
    """Serve `backend` at every route of the interface."""
    handlers = _Handlers(backend)
    router.add_get("/v1/status", handlers.status)
    router.add_get("/v1/peers", handlers.peers)
    router.add_post("/v1/stop", handlers.stop)
    router.add_post("/v1/tokens", handlers.create_token)
    router.add_get("/v1/tokens", handlers.list_tokens)
    router.add_delete("/v1/tokens/{token:[0-9a-f]{16}}", handlers.revoke_token)
    router.add_post("/v1/password", handlers.set_password)
    router.add_post(f"/v1/peers/{PEER}/revoke", handlers.revoke_peer)
    router.add_post(f"/v1/peers/{PEER}/connect", handlers.connect_peer)
    router.add_post(f"/v1/peers/{PEER}/forget", handlers.forget_peer)
    router.add_post("/v1/allow", handlers.allow)
    router.add_get("/v1/allow", handlers.allowed)
    router.add_get("/v1/secret", handlers.secret)
    router.add_post("/v1/secret/rotate", handlers.rotate_secret)
    router.add_post("/v1/secret/finish", handlers.finish_secret)
    router.add_post("/v1/secret/accept", handlers.accept_secret)
    router.add_post("/v1/key/rotate", handlers.rotate_key)
    router.add_post("/v1/endpoints", handlers.create_endpoint)
    router.add_get("/v1/endpoints", handlers.list_endpoints)
    router.add_post(r"/v1/endpoints/{endpoint:[0-9a-f]{1,64}}/confirm", handlers.confirm_endpoint)
    router.add_delete(r"/v1/endpoints/{endpoint:[0-9a-f]{1,64}}", handlers.delete_endpoint)
    router.add_post("/v1/networks", handlers.create_network)
    router.add_get("/v1/networks", handlers.list_networks)
    router.add_delete(f"/v1/networks/{NAME}", handlers.remove_network)
    router.add_post("/v1/expose", handlers.expose)
    router.add_delete(f"/v1/expose/{NAME}", handlers.hide)
    router.add_post("/v1/leave", handlers.leave)
    router.add_post("/v1/docker", handlers.docker)
    router.add_get("/v1/docker", handlers.docker_status)
    ipam_routes.add_routes(router, backend.ipam)
