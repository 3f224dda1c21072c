"""What a client of the HTTP interface may ask: the shapes of its bodies, and the backend that answers them.

Rule: a shape refuses unknown fields and wrong values, so a handler meets only what makes sense; every answer is a
plain JSON object with a `schema`, every refusal a MeshnetError.  Reference: design §9.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

import msgspec

from meshnet.control.api.ipam_requests import IpamBackend
from meshnet.control.api.reading import Address, Answer, NetworkName

__all__ = [
    "AcceptRequest",
    "AllowRequest",
    "Backend",
    "DockerRequest",
    "EndpointRequest",
    "ExposeRequest",
    "FinishRequest",
    "LeaveRequest",
    "NetworkRequest",
    "PasswordRequest",
    "PeerAddressesRequest",
    "RevokeRequest",
    "TokenRequest",
]

MAX_TOKEN_USES = 10_000
MAX_TOKEN_TTL_S = 366 * 86_400
MIN_MTU, MAX_MTU = 576, 60_000
"""A frame has to fit one record (64,000 bytes) with its headers."""
MAX_SUBNETS = 8
MAX_SERIAL = (1 << 53) - 1
MAX_REASON = 120
MAX_TOKEN = 4096
MAX_PASSWORD = 1024
MAX_WAYS = 8


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


class PasswordRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/password: the password hosts may join with from now on, at this host; null: none any more."""

    password: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_PASSWORD)] | None

    def __repr__(self) -> str:
        return "PasswordRequest(none)" if self.password is None else "PasswordRequest(one)"


class RevokeRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/peers/PEER/revoke: from which serial on the peer's certificates are void as well.

    `issued_all`: every one it ever issued; both left out: what it issues from now on. `reason`: for people.
    """

    issued_from: Annotated[int, msgspec.Meta(ge=0, le=MAX_SERIAL)] | None = None
    issued_all: bool = False
    reason: Annotated[str, msgspec.Meta(max_length=MAX_REASON)] = ""


class PeerAddressesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/peers/PEER/connect and /forget: addresses as "host:port" or "[v6]:port"; forget: none are all."""

    addresses: Annotated[list[Address], msgspec.Meta(max_length=MAX_WAYS)] = []


class AllowRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/allow: put an identity key (64 hex digits) on the allow-list or take it off; null: the list itself."""

    key: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")] | None
    on: bool


class FinishRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/secret/finish: whether the old secret is dropped although members lack the new one."""

    force: bool = False


class AcceptRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/secret/accept: a token of this very mesh, by which a host that missed a rotation gets the secret."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TOKEN)]

    def __repr__(self) -> str:
        return "AcceptRequest()"


class DockerRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/docker: whether this host's Docker is served, and in which directory it looks for plugins."""

    enabled: bool
    plugin_dir: Annotated[str, msgspec.Meta(pattern=r"^/[^\x00]{0,200}\Z")] = "/run/docker/plugins"


class Backend(Protocol):
    """What the interface asks of the daemon.

    Every answer is a plain JSON object with a `schema`; a refusal is a MeshnetError.
    """

    @property
    def ipam(self) -> IpamBackend:
        """Who answers what is asked about addresses."""
        ...

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

    async def list_tokens(self) -> Answer:
        """meshnet.tokens/v1: those of this host."""
        ...

    async def revoke_token(self, token_id: bytes) -> Answer:
        """meshnet.token-revoked/v1, durable."""
        ...

    async def set_password(self, password: str | None) -> Answer:
        """meshnet.password/v1, durable."""
        ...

    async def revoke_peer(self, peer: str, request: RevokeRequest) -> Answer:
        """meshnet.revoked/v1, durable; `peer` is a name or an id in hex, or the beginning of one."""
        ...

    async def connect_peer(self, peer: str, addresses: Sequence[str]) -> Answer:
        """meshnet.peer-addresses/v1, durable: added, and tried."""
        ...

    async def forget_peer(self, peer: str, addresses: Sequence[str]) -> Answer:
        """meshnet.peer-addresses/v1, durable: taken back; none given: all."""
        ...

    async def allow(self, key: bytes | None, on: bool) -> Answer:
        """meshnet.allowed/v1, durable; key None: the list itself."""
        ...

    async def allowed(self) -> Answer:
        """meshnet.allowed/v1"""
        ...

    async def secret(self) -> Answer:
        """meshnet.secret/v1: how far the mesh secret's rotation is."""
        ...

    async def rotate_secret(self) -> Answer:
        """meshnet.secret/v1: a rotation has begun, or goes on here."""
        ...

    async def finish_secret(self, force: bool) -> Answer:
        """meshnet.secret/v1: the old secret is dropped."""
        ...

    async def accept_secret(self, token: str) -> Answer:
        """meshnet.secret/v1: this host holds the mesh's present secret, durable."""
        ...

    async def rotate_key(self) -> Answer:
        """meshnet.key/v1: this host has another static key, durable."""
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
