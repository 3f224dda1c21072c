"""What the host must offer so that the two drivers can serve Docker.

Rule: every method is idempotent and safe on unknown ids, is durable before it returns, answers in well under a
second, never asks Docker anything, and says no by `Refused` alone.  Deleting and releasing never refuse.
Addresses are text ("10.1.0.9" or, with a length, "10.1.0.9/16"); ids are Docker's, opaque.
Reference: libnetwork docs/remote.md and docs/ipam.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Backend", "Claim", "GrantedPool", "NetworkPool", "NetworkRequest", "PoolRequest"]


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """A wish for a pool: `network` the mesh's network (None: not named), `pool`/`sub_pool` CIDR or None for any."""

    space: str
    network: str | None
    pool: str | None
    sub_pool: str | None
    v6: bool


@dataclass(frozen=True, slots=True)
class GrantedPool:
    """A pool that is held: the id Docker shows again, and its CIDR."""

    id: str
    cidr: str


@dataclass(frozen=True, slots=True)
class NetworkPool:
    """A pool as CreateNetwork tells it: `space` says which IPAM chose it; auxiliary addresses without length."""

    space: str
    cidr: str
    aux: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """A network of Docker's: `network` the mesh's network (None: not named), `mtu` in bytes or None."""

    id: str
    network: str | None
    pools: tuple[NetworkPool, ...]
    mtu: int | None
    internal: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """An endpoint's wishes: addresses with length, in any family; `mac` 6 bytes or None for any."""

    addresses: tuple[str, ...]
    mac: bytes | None
    options: Mapping[str, object]


class Backend(Protocol):
    """The host's side of both drivers."""

    async def request_pool(self, request: PoolRequest) -> GrantedPool:
        """Hold a pool.  Without a CIDR in the request, never one that is held or overlaps a host's route."""
        ...

    async def release_pool(self, pool: str) -> None:
        """Let go of one hold."""
        ...

    async def request_address(self, pool: str, address: str | None, gateway: bool) -> str:
        """Lease an address; with the length of the pool.  A gateway's is shared by all hosts of the network."""
        ...

    async def release_address(self, pool: str, address: str) -> None:
        """End a lease."""
        ...

    async def create_network(self, request: NetworkRequest) -> None:
        """Serve a network of Docker's on this host."""
        ...

    async def delete_network(self, network: str) -> None:
        """Serve it no longer."""
        ...

    async def create_endpoint(self, network: str, endpoint: str, claim: Claim) -> bytes | None:
        """Make an endpoint; its MAC where the claim left it open, else None."""
        ...

    async def delete_endpoint(self, network: str, endpoint: str) -> None:
        """Take the endpoint's link away."""
        ...

    async def join(self, network: str, endpoint: str) -> str:
        """The name of the link Docker is to move into the container."""
        ...

    async def leave(self, network: str, endpoint: str) -> None:
        """The link is leaving the container; the endpoint stays until it is deleted."""
        ...
