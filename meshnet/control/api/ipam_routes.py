"""The routes about addresses: who has what, what is odd, a dead peer's ranges, claims by hand, the registrar.

Rule: what is only asked is a GET, also the plan of a reclaim, so that whoever may read may see what it would do.
Reference: design §6, §9; docs/addresses.md.
"""

import re
from collections.abc import Mapping

from aiohttp import web

from meshnet.control.api.ipam_requests import (
    MAX_PEERS,
    AddressRequest,
    IpamBackend,
    ReclaimRequest,
    RegistrarRequest,
)
from meshnet.control.api.reading import NAME, check_address, read, wrong_value

__all__ = ["add_routes"]

_PEER = re.compile(r"[0-9a-z-]{1,64}")


class _Handlers:
    """One method per route; each returns the backend's answer unchanged."""

    def __init__(self, backend: IpamBackend) -> None:
        self._backend = backend

    async def listed(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._backend.listed())

    async def shown(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._backend.shown(request.match_info.get("name")))

    async def checked(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._backend.checked())

    async def plan(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._backend.plan(_peers(request.query)))

    async def reclaim(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, ReclaimRequest)
        return web.json_response(await self._backend.reclaim(wanted.peers, wanted.force))

    async def claim(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, AddressRequest)
        check_address(wanted.address)
        return web.json_response(await self._backend.claim(wanted.network, wanted.address), status=201)

    async def release(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, AddressRequest)
        check_address(wanted.address)
        return web.json_response(await self._backend.release(wanted.network, wanted.address))

    async def registrar(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(self._backend.registrar())

    async def hand_registrar(self, request: web.Request) -> web.StreamResponse:
        wanted = await read(request, RegistrarRequest)
        return web.json_response(await self._backend.hand_registrar(wanted.peer))


def _peers(query: Mapping[str, str]) -> list[str]:
    """The peers of `?peers=A,B`; raises MeshnetError (USAGE)."""
    peers = query.get("peers", "").split(",")
    if len(peers) > MAX_PEERS or not all(_PEER.fullmatch(peer) for peer in peers):
        raise wrong_value(f"`peers` is 1 to {MAX_PEERS} names or ids with commas between")
    return peers


def add_routes(router: web.UrlDispatcher, backend: IpamBackend) -> None:
    """Serve `backend` at every route about addresses."""
    handlers = _Handlers(backend)
    router.add_get("/v1/ipam", handlers.listed)
    router.add_get("/v1/ipam/networks", handlers.shown)
    router.add_get(f"/v1/ipam/networks/{NAME}", handlers.shown)
    router.add_get("/v1/ipam/check", handlers.checked)
    router.add_get("/v1/ipam/reclaim", handlers.plan)
    router.add_post("/v1/ipam/reclaim", handlers.reclaim)
    router.add_post("/v1/ipam/claim", handlers.claim)
    router.add_post("/v1/ipam/release", handlers.release)
    router.add_get("/v1/registrar", handlers.registrar)
    router.add_post("/v1/registrar", handlers.hand_registrar)
