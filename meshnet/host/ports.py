"""What the control side may ask of the host's links, whoever answers: netlink, or its twin in memory.

Purpose: `NetlinkPort` is the whole contract between meshnet.control and the kernel's links, `FirewallPort` the one
with its packet filter.
Rule: sizes in bytes; MACs as 6 bytes; link names as the kernel knows them; every method may raise HostError.
The names are those of design §8: bridge mn<8 hex> and TAP mt<8 hex> of a network, veth mv<10 hex> of an
endpoint with the workload's end mp<10 hex>.
Reference: rtnetlink(7); design §8.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

OWN_PREFIXES = ("mn", "mt", "mv", "mp")
_DIGITS = re.compile(r"[0-9a-f]{8,13}")
MAX_ALIAS_BYTES = 240
"""A link's alias: the kernel keeps 255 bytes."""


@dataclass(frozen=True)
class Link:
    """One interface: `master` is the name of its bridge or None, `kind` "bridge", "veth", "tun" or "" for
    others, `alias` the words that were left on it, or "".
    """

    name: str
    index: int
    mac: bytes
    master: str | None
    kind: str
    up: bool
    mtu: int
    alias: str = ""


def is_own_name(name: str, prefixes: Sequence[str] = OWN_PREFIXES) -> bool:
    """Say whether a link's name is one we give: a prefix and 8 to 13 hex digits, so never somebody's
    `mnt0`.
    """
    return any(name.startswith(p) and _DIGITS.fullmatch(name, len(p)) is not None for p in prefixes)


class NetlinkPort(Protocol):
    """The host's links, asked from asyncio."""

    async def ensure_bridge(self, name: str, mtu: int, mac: bytes) -> None:
        """Make the bridge, or adopt the one of that name, with these settings, and set it up."""

    async def configure_tap(self, name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int) -> None:
        """Give an open TAP its settings and its bridge, then set it up."""

    async def create_veth(
        self, host_name: str, peer_name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int, alias: str = ""
    ) -> None:
        """Make a veth: the host's end up on the bridge, the workload's end (`mac`) down and ready to be
        moved. The host's end bears `alias` (up to MAX_ALIAS_BYTES, printable ASCII) before it is up.
        """

    async def attach_to_bridge(self, name: str, bridge: str) -> None:
        """Make the link a port of the bridge."""

    async def set_gso_max(self, name: str, size: int) -> None:
        """Cap the super-frames a link is given, of both families where the kernel tells them apart."""

    async def set_up(self, name: str) -> None:
        """Set the link up."""

    async def delete_link(self, name: str) -> None:
        """Delete the link; one that does not exist is no error."""

    async def add_address(self, name: str, address: str) -> None:
        """Give the link "a.b.c.d/len"; one it has already is no error."""

    async def remove_address(self, name: str, address: str) -> None:
        """Take "a.b.c.d/len" from the link; neither a missing address nor a missing link is an error."""

    async def list_links(self, prefixes: Sequence[str] = OWN_PREFIXES) -> list[Link]:
        """Our own links, sorted by name."""

    async def routes(self) -> list[tuple[str, str]]:
        """Every (CIDR, device) the host routes, sorted, without default, link-local and multicast ones."""

    async def addresses(self) -> list[str]:
        """The host's own global addresses, likeliest to be reached first, none of our links."""

    async def route_mtu(self, address: str) -> int:
        """The MTU the kernel knows for the way to `address`: the route's, else the device's."""

    def notes(self) -> list[str]:
        """What this host lacks, one line each."""

    def close(self) -> None:
        """End; later calls raise HostError."""


class FirewallPort(Protocol):
    """The host's packet filter, asked from asyncio."""

    async def masquerade(self, pools: Sequence[str]) -> None:
        """Hide the addresses of these pools (CIDR) behind the host's own where packets leave the mesh; none: nobody."""

    async def pass_frames(self, routed: bool) -> bool:
        """Let frames between ports of our bridges pass the FORWARD chain, with `routed` also what leaves and enters
        them by the host's routing; whether something was missing.
        """

    async def remove(self) -> None:
        """Take every rule of ours away."""

    def notes(self) -> list[str]:
        """What this host lacks, one line each."""
