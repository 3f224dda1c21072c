"""What is asked about addresses over HTTP, and what must answer it.

Reference: design §6, §9; docs/addresses.md.
"""

from collections.abc import Sequence
from typing import Annotated, Protocol

import msgspec

from meshnet.control.api.reading import Address, Answer, NetworkName

__all__ = ["MAX_PEERS", "AddressRequest", "IpamBackend", "PeerName", "ReclaimRequest", "RegistrarRequest"]

MAX_PEERS = 16
"""Peers of one reclaim, as many as a statement may name."""

PeerName = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-z-]{1,64}\Z")]


class ReclaimRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/ipam/reclaim: peers, each a name or an id in hex, and whether the others' agreement is waived."""

    peers: Annotated[list[PeerName], msgspec.Meta(min_length=1, max_length=MAX_PEERS)]
    force: bool = False


class AddressRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/ipam/claim and /v1/ipam/release: an address (without length) of a network."""

    address: Address
    network: NetworkName = "default"


class RegistrarRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /v1/registrar: the peer that gives out network numbers from now on, a name or an id in hex."""

    peer: PeerName


class IpamBackend(Protocol):
    """What the interface asks about addresses; a refusal is a MeshnetError."""

    def listed(self) -> Answer:
        """meshnet.ipam/v1"""
        ...

    def shown(self, network: str | None) -> Answer:
        """meshnet.ipam-networks/v1: of one network, or of all."""
        ...

    def checked(self) -> Answer:
        """meshnet.ipam-check/v1"""
        ...

    def plan(self, peers: Sequence[str]) -> Answer:
        """meshnet.ipam-plan/v1"""
        ...

    async def reclaim(self, peers: Sequence[str], forced: bool) -> Answer:
        """meshnet.ipam-reclaimed/v1, durable."""
        ...

    async def claim(self, network: str, address: str) -> Answer:
        """meshnet.ipam-claim/v1, durable."""
        ...

    async def release(self, network: str, address: str) -> Answer:
        """meshnet.ipam-release/v1, durable."""
        ...

    def registrar(self) -> Answer:
        """meshnet.registrar/v1"""
        ...

    async def hand_registrar(self, peer: str) -> Answer:
        """meshnet.registrar/v1, durable."""
        ...
