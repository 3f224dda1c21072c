"""What the HTTP interface asks for, answered by the parts that know it."""

import asyncio
from collections.abc import Callable, Sequence

from meshnet.control.api.reading import Answer
from meshnet.control.api.requests import (
    DockerRequest,
    EndpointRequest,
    ExposeRequest,
    NetworkRequest,
    RevokeRequest,
)
from meshnet.control.api.status import Status
from meshnet.control.authority import Authority
from meshnet.control.departure import Departure
from meshnet.control.docker.docker_service import DockerService
from meshnet.control.joining.invitations import Invitations
from meshnet.control.keys.rotator import Rotator
from meshnet.control.keys.static_rotation import StaticRotation
from meshnet.control.links.reaching import Reaching
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures
from meshnet.control.networks.ipam import Ipam

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
        invitations: Invitations,
        authority: Authority,
        rotator: Rotator,
        statics: StaticRotation,
        reaching: Reaching,
        ipam: Ipam,
        on_stop: Callable[[], None],
    ) -> None:
        self.ipam = ipam
        self._status = status
        self._desk = desk
        self._endpoints = endpoints
        self._exposures = exposures
        self._departure = departure
        self._docker = docker
        self._invitations = invitations
        self._authority = authority
        self._rotator = rotator
        self._statics = statics
        self._reaching = reaching
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
        """meshnet.token/v1"""
        return await self._invitations.create(uses, ttl_s, roles)

    async def list_tokens(self) -> Answer:
        """meshnet.tokens/v1"""
        return self._invitations.listed()

    async def revoke_token(self, token_id: bytes) -> Answer:
        """meshnet.token-revoked/v1"""
        return await self._invitations.revoke(token_id)

    async def set_password(self, password: str | None) -> Answer:
        """meshnet.password/v1"""
        return await self._invitations.password(password)

    async def revoke_peer(self, peer: str, request: RevokeRequest) -> Answer:
        """meshnet.revoked/v1"""
        return await self._authority.revoke(peer, request)

    async def connect_peer(self, peer: str, addresses: Sequence[str]) -> Answer:
        """meshnet.peer-addresses/v1"""
        return await self._reaching.connect(peer, addresses)

    async def forget_peer(self, peer: str, addresses: Sequence[str]) -> Answer:
        """meshnet.peer-addresses/v1"""
        return await self._reaching.forget(peer, addresses)

    async def allow(self, key: bytes | None, on: bool) -> Answer:
        """meshnet.allowed/v1"""
        return await self._authority.allow(key, on)

    async def allowed(self) -> Answer:
        """meshnet.allowed/v1"""
        return self._authority.allowed()

    async def secret(self) -> Answer:
        """meshnet.secret/v1"""
        return self._rotator.describe()

    async def rotate_secret(self) -> Answer:
        """meshnet.secret/v1"""
        return await self._rotator.rotate()

    async def finish_secret(self, force: bool) -> Answer:
        """meshnet.secret/v1"""
        return await self._rotator.finish(force)

    async def accept_secret(self, token: str) -> Answer:
        """meshnet.secret/v1"""
        return await self._rotator.accept(token)

    async def rotate_key(self) -> Answer:
        """meshnet.key/v1"""
        return await self._statics.rotate()

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
