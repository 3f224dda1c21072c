"""Addresses that peers say they are at, and that lie inside the mesh itself. PURE.

Purpose: a tunnel to such an address would run through itself: each frame of it becomes another one, without end.
Rule: an address inside a pool of a network that this host serves is neither dialled nor answered, nor is what is no
literal address. Networks that are not served here do not count: no route leads into them, and whoever founds one must
not be able to part others from their peers. It is said once per peer.
Flow: `links.dialling` and the handshakes ask `why_not` for each address before they use it.
Reference: docs/threat-model.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final, Protocol

from gossip.events import PeerView
from gossip.state.address_bodies import NetworkBody

__all__ = ["SAID_MAX", "Inside"]

SAID_MAX: Final = 1024
"""Peers that are remembered as told of; beyond it the first ones may be told of again."""


class Mesh(Protocol):
    """What this asks of the gossip node."""

    def networks(self) -> Sequence[NetworkBody]: ...
    def peer(self, identity: bytes) -> PeerView | None: ...


class Inside:
    """serves(number): whether a network is served here. say: what, why, what to do."""

    def __init__(self, mesh: Mesh, serves: Callable[[int], bool], say: Callable[[str, str, str], None]) -> None:
        self._mesh = mesh
        self._serves = serves
        self._say = say
        self._texts: tuple[str, ...] = ()
        self._parsed: list[IPv4Network | IPv6Network] = []
        self._said: dict[bytes, None] = {}

    def why_not(self, peer: bytes, host: str) -> str | None:
        """Why the peer is not to be reached at this address (without a port), or None."""
        try:
            literal = ip_address(host)
        except ValueError:
            return "it is no literal address"
        pool = self._pool_of(literal)
        if pool is None:
            return None
        if peer not in self._said:
            self._tell(peer, host, pool)
        return f"it lies inside {pool}, which is a network of the mesh"

    def _pool_of(self, literal: IPv4Address | IPv6Address) -> IPv4Network | IPv6Network | None:
        served = (body for body in self._mesh.networks() if self._serves(body.number))
        texts = tuple(text for body in served for text in body.pools)
        if texts != self._texts:
            self._texts, self._parsed = texts, [ip_network(text) for text in texts]
        plain = literal.ipv4_mapped if isinstance(literal, IPv6Address) and literal.ipv4_mapped else literal
        return next((pool for pool in self._parsed if plain in pool), None)

    def _tell(self, peer: bytes, host: str, pool: IPv4Network | IPv6Network) -> None:
        self._said[peer] = None
        if len(self._said) > SAID_MAX:
            del self._said[next(iter(self._said))]
        view = self._mesh.peer(peer)
        name = peer.hex()[:16] if view is None else view.body.name
        self._say(
            f"an address of {name} is not used",
            f"{host} lies inside {pool}, a network of this mesh: the tunnel would run through itself",
            "start that host with --advertise HOST:PORT of an address outside the mesh",
        )
