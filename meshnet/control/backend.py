"""What the HTTP interface asks for, answered by the parts that know it."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from meshnet.control.departure import Departure
from meshnet.control.desk import NetworkDesk
from meshnet.control.docker_service import DockerService
from meshnet.control.endpoints import Endpoints
from meshnet.control.expose import Exposures
from meshnet.control.membership import Tokens
from meshnet.control.requests import Answer, DockerRequest, EndpointRequest, ExposeRequest, NetworkRequest
from meshnet.control.status import Status
from meshnet.control.store import Store

__all__ = ["LiveBackend"]


class LiveBackend:
    """The API's `Backend` on a running daemon; `on_stop` begins its end."""

    def __init__(
        self,
        status: Status,
        desk: NetworkDesk,
        endpoints: Endpoints,
        exposures: Exposures,
        departure: Departure,
        docker: DockerService,
        tokens: Tokens,
        store: Store,
        addresses: Callable[[], list[str]],
        entropy: Callable[[int], bytes],
        on_stop: Callable[[], None],
    ) -> None:
        self._status = status
        self._desk = desk
        self._endpoints = endpoints
        self._exposures = exposures
        self._departure = departure
        self._docker = docker
        self._tokens = tokens
        self._store = store
        self._addresses = addresses
        self._entropy = entropy
        self._on_stop = on_stop

    async def status(self) -> Answer:
        """meshnet.status/v1"""
        return await self._status.whole()

    async def peers(self) -> Answer:
        """meshnet.peers/v1"""
        return await self._status.peers()

    async def stop(self) -> Answer:
        """meshnet.stopped/v1; the answer leaves before the end begins."""
        asyncio.get_running_loop().call_later(0.05, self._on_stop)
        return {"schema": "meshnet.stopped/v1", "stopping": True}

    async def leave(self, wipe: bool) -> Answer:
        """meshnet.left/v1; the answer leaves before the end begins."""
        return await self._departure.leave(wipe)

    async def create_token(self, uses: int, ttl_s: int, roles: tuple[str, ...]) -> Answer:
        """meshnet.token/v1, durable before it is told."""
        puts, token = self._tokens.create(uses, ttl_s, roles, self._addresses(), self._entropy, time.time())
        await self._store.commit(puts)
        text = token.encode()
        expires = datetime.fromtimestamp(token.expires, UTC)
        return {
            "schema": "meshnet.token/v1",
            "token": text,
            "join": f"meshnet join {text}",
            "expires_at": expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "uses": uses,
        }

    async def create_endpoint(self, request: EndpointRequest) -> Answer:
        """meshnet.endpoint/v1"""
        return await self._endpoints.make(request)

    async def confirm_endpoint(self, endpoint: str) -> Answer:
        """meshnet.endpoint/v1"""
        return await self._endpoints.confirm(endpoint)

    async def delete_endpoint(self, endpoint: str) -> Answer:
        """meshnet.detached/v1"""
        return await self._endpoints.delete(endpoint)

    async def list_endpoints(self, netns: str) -> Answer:
        """meshnet.endpoints/v1"""
        return {"schema": "meshnet.endpoints/v1", "endpoints": self._endpoints.listed(netns)}

    async def create_network(self, request: NetworkRequest) -> Answer:
        """meshnet.network/v1"""
        return await self._desk.create(request.name, request.subnets, request.mtu)

    async def list_networks(self) -> Answer:
        """meshnet.networks/v1"""
        return {"schema": "meshnet.networks/v1", "networks": self._status.networks()}

    async def remove_network(self, name: str, everywhere: bool) -> Answer:
        """meshnet.removed/v1"""
        return await self._desk.remove(name, everywhere)

    async def expose(self, request: ExposeRequest) -> Answer:
        """meshnet.exposed/v1"""
        return await self._exposures.expose(request.network, request.ip, request.masquerade)

    async def hide(self, network: str) -> Answer:
        """meshnet.hidden/v1"""
        return await self._exposures.hide(network)

    async def docker(self, request: DockerRequest) -> Answer:
        """meshnet.docker/v1, durable."""
        if request.enabled:
            return await self._docker.enable(request.plugin_dir)
        return await self._docker.disable()

    async def docker_status(self) -> Answer:
        """meshnet.docker/v1"""
        return self._docker.status()
