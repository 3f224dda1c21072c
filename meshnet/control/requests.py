"""What a client of the HTTP interface may ask: the shapes of its bodies, and the backend that answers them.

Rule: a shape refuses unknown fields and wrong values, so a handler meets only what makes sense; every answer is a
plain JSON object with a `schema`, every refusal a MeshnetError.  Reference: design §9.
"""

from collections.abc import Mapping
from typing import Annotated, Literal, Protocol

import msgspec

__all__ = ["Answer", "Backend", "EndpointRequest", "ExposeRequest", "LeaveRequest", "NetworkRequest", "TokenRequest"]

MAX_TOKEN_USES = 10_000
MAX_TOKEN_TTL_S = 366 * 86_400
MIN_MTU, MAX_MTU = 576, 60_000
"""A frame has to fit one record (64,000 bytes) with its headers."""
MAX_SUBNETS = 8

Answer = Mapping[str, object]
NetworkName = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")]
Address = Annotated[str, msgspec.Meta(max_length=64)]


class TokenRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/tokens: how many hosts may join with the token, for how many seconds, with which roles."""

    uses: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKEN_USES)] = 1
    ttl_s: Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKEN_TTL_S)] = 3600
    roles: Annotated[list[Literal["invite", "admin"]], msgspec.Meta(max_length=2)] = []


class EndpointRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/endpoints: a port on a network for the namespace `netns`, "device:inode" of its file.

    `target` is how the operator named the namespace, `ip` the wanted address (None: any free one), `ifname`
    the interface's name inside.
    """

    target: Annotated[str, msgspec.Meta(min_length=1, max_length=255)]
    netns: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{1,20}:[0-9]{1,20}\Z")]
    network: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] = "default"
    ip: Address | None = None
    ifname: Annotated[str, msgspec.Meta(pattern=r"^(?!\.{1,2}\Z)[!-.0-9;-~]{1,15}\Z")] = "mesh0"


class NetworkRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/networks: the network's name, its pools as CIDR (none: one derived from the name), its MTU in bytes."""

    name: NetworkName
    subnets: Annotated[list[Address], msgspec.Meta(max_length=MAX_SUBNETS)] = []
    mtu: Annotated[int, msgspec.Meta(ge=MIN_MTU, le=MAX_MTU)] | None = None


class ExposeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/expose: an address of the network for the host itself, `ip` the wanted one (None: any free one)."""

    network: Annotated[str, msgspec.Meta(min_length=1, max_length=63)] = "default"
    masquerade: bool = False
    ip: Address | None = None


class LeaveRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/leave: whether the state is deleted instead of being put aside."""

    wipe: bool = False


class DockerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/docker: whether this host's Docker is served, and in which directory it looks for plugins."""

    enabled: bool
    plugin_dir: Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]{0,200}\Z")] = "/run/docker/plugins"


class Backend(Protocol):
    """What the interface asks of the daemon.

    Every answer is a plain JSON object with a `schema`; a refusal is a MeshnetError.
    """

    async def status(self) -> Answer:
        """meshnet.status/v1"""
        ...

    async def peers(self) -> Answer:
        """meshnet.peers/v1"""
        ...

    async def stop(self) -> Answer:
        """meshnet.stopped/v1; both processes end once this has been answered."""
        ...

    async def leave(self, wipe: bool) -> Answer:
        """meshnet.left/v1; everything is handed back, and both processes end once this has been answered."""
        ...

    async def create_token(self, uses: int, ttl_s: int, roles: tuple[str, ...]) -> Answer:
        """meshnet.token/v1, durable."""
        ...

    async def create_endpoint(self, request: EndpointRequest) -> Answer:
        """meshnet.endpoint/v1: lease and link made, in the host's namespace, not yet confirmed."""
        ...

    async def confirm_endpoint(self, endpoint: str) -> Answer:
        """meshnet.endpoint/v1: the link is in its namespace and configured."""
        ...

    async def delete_endpoint(self, endpoint: str) -> Answer:
        """meshnet.detached/v1: link deleted, lease given back."""
        ...

    async def list_endpoints(self, netns: str) -> Answer:
        """meshnet.endpoints/v1 of one namespace."""
        ...

    async def create_network(self, request: NetworkRequest) -> Answer:
        """meshnet.network/v1: founded, or found founded, and served here."""
        ...

    async def list_networks(self) -> Answer:
        """meshnet.networks/v1: every network of the mesh."""
        ...

    async def remove_network(self, name: str, everywhere: bool) -> Answer:
        """meshnet.removed/v1: no longer served here, or gone from the mesh."""
        ...

    async def expose(self, request: ExposeRequest) -> Answer:
        """meshnet.exposed/v1: the host has an address on the network."""
        ...

    async def docker(self, request: DockerRequest) -> Answer:
        """meshnet.docker/v1: Docker is served from now on, or no longer."""
        ...

    async def docker_status(self) -> Answer:
        """meshnet.docker/v1"""
        ...

    async def hide(self, network: str) -> Answer:
        """meshnet.hidden/v1: the host's address is given back."""
        ...
