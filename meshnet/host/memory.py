"""A host's links and packet filter in memory, for tests of whatever stands on `NetlinkPort` and `FirewallPort`.

Purpose: the same verbs, refusals and side effects as the kernel's where control can tell them apart: a veth
goes with either of its ends, a bridge lets its ports go, a name is taken once, a missing link is ENODEV.
Rule: one scenario runs against this class and against the kernel, so the two cannot drift apart.
Tests reach in through `add_tap`, `take_away`, `fail_next`, `host_routes`, `own_addresses` and `mtus`.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_interface

from meshnet.host.errors import HostError, refused
from meshnet.host.ports import OWN_PREFIXES, Link, is_own_name

DEFAULT_MTU = 1500


class MemoryNetlink:
    """A `NetlinkPort` without a kernel."""

    def __init__(self) -> None:
        self.links: dict[str, Link] = {}
        self.veth_peers: dict[str, str] = {}
        self.gso_max: dict[str, int] = {}
        self.link_addresses: dict[str, dict[str, None]] = {}
        self.host_routes: list[tuple[str, str]] = []
        self.own_addresses: list[str] = []
        self.mtus: dict[str, int] = {}
        self.found_lacking: list[str] = []
        self.closed = False
        self._next_index = 2
        self._failures: dict[str, list[HostError]] = {}

    # What a test does in the kernel's and the operator's place

    def add_tap(self, name: str) -> None:
        """Stand in for `open_tap`: the device appears, down and without a bridge."""
        self._add(name, "tun", b"\x02\0\0\0\0\x01", DEFAULT_MTU, None, up=False)

    def take_away(self, name: str) -> None:
        """Stand in for `meshnet attach`: the workload's end leaves this namespace."""
        del self.links[self._get(f"cannot move {name}", name).name]

    def fail_next(self, verb: str, error: HostError) -> None:
        """Make the next call of the method `verb` raise `error`; several queue up."""
        self._failures.setdefault(verb, []).append(error)

    # NetlinkPort

    async def ensure_bridge(self, name: str, mtu: int, mac: bytes) -> None:
        """Make or adopt the bridge."""
        self._begin("ensure_bridge")
        link = self.links.get(name)
        if link is not None and link.kind != "bridge":
            raise refused(f"cannot make bridge {name}", errno.EEXIST, message="it is another kind of interface")
        if link is None:
            self._add(name, "bridge", mac, mtu, None, up=True)
        else:
            self.links[name] = replace(link, mac=mac, mtu=mtu, up=True)

    async def configure_tap(self, name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int) -> None:
        """Configure the TAP made by `add_tap`."""
        self._begin("configure_tap")
        what = f"cannot configure TAP {name}"
        link = self._get(what, name)
        master = self._get(what, bridge)
        self.links[name] = replace(link, mac=mac, mtu=mtu, master=master.name, up=True)
        self.gso_max[name] = gso_max_size

    async def create_veth(
        self, host_name: str, peer_name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int, alias: str = ""
    ) -> None:
        """Make both ends of a veth."""
        self._begin("create_veth")
        what = f"cannot make veth {host_name}"
        master = self._get(what, bridge)
        if host_name in self.links or peer_name in self.links:
            raise refused(what, errno.EEXIST)
        self._add(host_name, "veth", b"\x02" + mac[1:], mtu, master.name, up=True)
        self.links[host_name] = replace(self.links[host_name], alias=alias)
        self._add(peer_name, "veth", mac, mtu, None, up=False)
        self.veth_peers[host_name] = peer_name
        self.veth_peers[peer_name] = host_name
        self.gso_max[host_name] = self.gso_max[peer_name] = gso_max_size

    async def attach_to_bridge(self, name: str, bridge: str) -> None:
        """Make the link a port of the bridge."""
        self._begin("attach_to_bridge")
        what = f"cannot attach {name} to bridge {bridge}"
        master = self._get(what, bridge)
        self.links[name] = replace(self._get(what, name), master=master.name)

    async def set_gso_max(self, name: str, size: int) -> None:
        """Remember the cap in `gso_max`."""
        self._begin("set_gso_max")
        self._get(f"cannot set gso_max_size of {name}", name)
        self.gso_max[name] = size

    async def set_up(self, name: str) -> None:
        """Set the link up."""
        self._begin("set_up")
        self.links[name] = replace(self._get(f"cannot set {name} up", name), up=True)

    async def delete_link(self, name: str) -> None:
        """Delete the link, the other end of a veth too, and free the ports of a bridge."""
        self._begin("delete_link")
        if name not in self.links:
            return
        for gone in (name, self.veth_peers.get(name, name)):
            self.links.pop(gone, None)
            self.veth_peers.pop(gone, None)
            self.gso_max.pop(gone, None)
            self.link_addresses.pop(gone, None)
        for port in [link for link in self.links.values() if link.master == name]:
            self.links[port.name] = replace(port, master=None)

    async def add_address(self, name: str, address: str) -> None:
        """Remember the address, and the route to its network that the kernel adds."""
        self._begin("add_address")
        self._get(f"cannot add address {address} to {name}", name)
        self.link_addresses.setdefault(name, {})[address] = None

    async def remove_address(self, name: str, address: str) -> None:
        """Forget the address."""
        self._begin("remove_address")
        self.link_addresses.get(name, {}).pop(address, None)

    async def list_links(self, prefixes: Sequence[str] = OWN_PREFIXES) -> list[Link]:
        """Our own links, sorted by name."""
        self._begin("list_links")
        return [self.links[name] for name in sorted(self.links) if is_own_name(name, prefixes)]

    async def routes(self) -> list[tuple[str, str]]:
        """What the test put into `host_routes`, and the networks of our links' addresses."""
        self._begin("routes")
        own = [(str(ip_interface(text).network), name) for name, held in self.link_addresses.items() for text in held]
        return sorted([*self.host_routes, *own])

    async def addresses(self) -> list[str]:
        """What the test put into `own_addresses`."""
        self._begin("addresses")
        return list(self.own_addresses)

    async def route_mtu(self, address: str) -> int:
        """What the test put into `mtus`, else 1500."""
        self._begin("route_mtu")
        return self.mtus.get(address, DEFAULT_MTU)

    def notes(self) -> list[str]:
        """What the test put into `found_lacking`."""
        return list(self.found_lacking)

    def close(self) -> None:
        """End; later calls raise HostError."""
        self.closed = True

    def _begin(self, verb: str) -> None:
        if self.closed:
            raise HostError("netlink is closed", "meshnet is stopping", "start it again")
        waiting = self._failures.get(verb)
        if waiting:
            raise waiting.pop(0)

    def _get(self, what: str, name: str) -> Link:
        if name not in self.links:
            raise refused(what, errno.ENODEV, message=f"no interface {name}")
        return self.links[name]

    def _add(self, name: str, kind: str, mac: bytes, mtu: int, master: str | None, *, up: bool) -> None:
        if name in self.links:
            raise refused(f"cannot make {name}", errno.EEXIST)
        self.links[name] = Link(name, self._next_index, mac, master, kind, up, mtu)
        self._next_index += 1


class MemoryFirewall:
    """A `FirewallPort` without a kernel: `masked` and `passing` say what would be in force.

    A test empties `passing` to stand in for a flush, and sets `error` to be refused.
    """

    def __init__(self) -> None:
        self.masked: list[str] = []
        self.passing: str | None = None
        self.checks = 0
        self.error: HostError | None = None

    async def masquerade(self, pools: Sequence[str]) -> None:
        """Remember the pools."""
        self._begin()
        self.masked = sorted(dict.fromkeys(pools))

    async def pass_frames(self, routed: bool) -> bool:
        """Remember what passes."""
        self._begin()
        self.checks += 1
        wanted = "bridged and routed" if routed else "bridged"
        missing, self.passing = self.passing != wanted, wanted
        return missing

    async def remove(self) -> None:
        """Forget all of it."""
        self._begin()
        self.masked, self.passing = [], None

    def notes(self) -> list[str]:
        """Nothing is lacking in memory."""
        return []

    def _begin(self) -> None:
        if self.error is not None:
            raise self.error
