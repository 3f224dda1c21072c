"""The networks this host serves: their bridge and TAP here, their table of endpoints in the forwarder.

Rule: the forwarder's table is a copy of what gossip says and is sent anew, whole, to every fresh forwarder; devices
are named after the network's number, so a daemon that comes back finds its own.
"""

import logging
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from hashlib import blake2s
from typing import Final, Protocol

from gossip.state.address_bodies import NetworkBody
from meshnet.boundary import AddNetwork, DropNetwork, EndpointRow, NetworkRow, SetEndpoints, Verb
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort
from meshnet.host.tap import Tap, open_tap

__all__ = ["ENDPOINTS_PER_VERB", "GSO_MAX_BYTES", "Networks", "Sends", "bridge_name", "device_mac", "tap_name"]

log = logging.getLogger(__name__)

ENDPOINTS_PER_VERB: Final = 1000
GSO_MAX_BYTES: Final = 61_440
"""Largest super-frame a device is given, so that it fits a record with headers to spare."""
ALL_FEATURES: Final = 0x1F


class Sends(Protocol):
    """How a verb leaves for the forwarder."""

    def __call__(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        """Send `verb`, duplicating `descriptors` beside it."""


def bridge_name(number: int) -> str:
    """The bridge of a network on every host."""
    return f"mn{number:08x}"


def tap_name(number: int) -> str:
    """The TAP of a network on every host."""
    return f"mt{number:08x}"


def device_mac(peer: bytes, label: str) -> bytes:
    """A locally administered unicast MAC, the same for the same peer and label."""
    return b"\x02" + blake2s(label.encode() + peer, digest_size=5).digest()


Claims = dict[bytes, list[bytes]]
"""MAC → the peers that announce an endpoint with it, this host (empty) first, else the earliest first.

A second claim of a MAC must not take an endpoint's frames away from the first: it counts once the first is gone.
"""


def claim(claims: Claims, mac: bytes, owner: bytes) -> bool:
    """Add a claim; True when the effective owner of the MAC changed."""
    owners = claims.setdefault(mac, [])
    if owner in owners:
        return False
    owners.insert(0 if owner == b"" else len(owners), owner)
    return owners[0] == owner


def waive(claims: Claims, mac: bytes, owner: bytes) -> bool:
    """Take a claim back; True when the effective owner changed."""
    owners = claims.get(mac, [])
    if owner not in owners:
        return False
    was_effective = owners[0] == owner
    owners.remove(owner)
    if not owners:
        del claims[mac]
    return was_effective


@dataclass(slots=True)
class _Served:
    body: NetworkBody
    tap: int
    features: int
    claims: Claims = field(default_factory=dict)


class Networks:
    """Devices and tables of all networks served here."""

    def __init__(
        self, peer: bytes, netlink: NetlinkPort, send: Sends, open_device: Callable[[str], Tap] = open_tap
    ) -> None:
        self._peer = peer
        self._netlink = netlink
        self._send = send
        self._open = open_device
        self._served: dict[int, _Served] = {}
        self._waiting: dict[int, Claims] = {}
        self._adopted: dict[int, tuple[int, int]] = {}
        self.notes: dict[str, None] = {}

    @property
    def features(self) -> int:
        """What every TAP here takes: all bits until a TAP said otherwise."""
        features = ALL_FEATURES
        for served in self._served.values():
            features &= served.features
        return features

    def adopt(self, networks: list[tuple[NetworkRow, int]]) -> None:
        """Devices that a forwarder already held: they are used again instead of being made anew."""
        self._adopted.update((row.number, (descriptor, row.features)) for row, descriptor in networks)

    async def serve(self, body: NetworkBody) -> None:
        """Make (or adopt) a network's devices and hand its TAP to the forwarder.  Raises HostError."""
        if body.number in self._served:
            self._served[body.number].body = body
            return
        bridge, device = bridge_name(body.number), tap_name(body.number)
        await self._netlink.ensure_bridge(bridge, body.mtu, device_mac(self._peer, bridge))
        adopted = self._adopted.pop(body.number, None)
        if adopted is not None:
            descriptor, features = adopted
        else:
            tap = self._open(device)
            descriptor, features = tap.fd, tap.features
            self.notes.update(dict.fromkeys(tap.notes))
        try:
            await self._netlink.configure_tap(
                device, mtu=body.mtu, mac=device_mac(self._peer, device), bridge=bridge, gso_max_size=GSO_MAX_BYTES
            )
        except HostError:
            if adopted is not None:
                self._adopted[body.number] = adopted
            else:
                os.close(descriptor)  # and with it the device: the next attempt makes it anew
            raise
        served = _Served(body, descriptor, features)
        served.claims.update(self._waiting.pop(body.number, {}))
        self._served[body.number] = served
        self._install(served)
        log.info("serving network=%s number=%d", body.name, body.number)

    def close(self) -> None:
        """Close this process's duplicates; the forwarder keeps its own."""
        for served in self._served.values():
            os.close(served.tap)
        self._served.clear()

    async def remove_all(self) -> None:
        """Delete every device of ours: the mesh is being stopped on this host."""
        for number in list(self._served):
            self._send(DropNetwork(number=number))
        self.close()
        for link in await self._netlink.list_links(("mn", "mt")):
            await self._netlink.delete_link(link.name)

    async def unserve(self, number: int) -> None:
        """Delete one network's devices; its table is kept for when it is served again.  Raises HostError."""
        served = self._served.pop(number, None)
        if served is None:
            return
        self._waiting[number] = served.claims
        self._send(DropNetwork(number=number))
        os.close(served.tap)
        for name in (tap_name(number), bridge_name(number)):
            await self._netlink.delete_link(name)

    async def sweep(self, keep: Collection[str] = ()) -> None:
        """After a start: drop what a forwarder still held of networks that are no longer served here, and bridges
        that nobody's TAP is on, except those to `keep`.
        """
        for number, (descriptor, _) in self._adopted.items():
            self._send(DropNetwork(number=number))
            os.close(descriptor)
            await self._netlink.delete_link(tap_name(number))
        self._adopted.clear()
        links = await self._netlink.list_links(("mn", "mt"))
        alive = {link.master for link in links if link.kind == "tun"} | {bridge_name(number) for number in self._served}
        for link in links:
            if link.kind == "bridge" and link.name not in alive and link.name not in keep:
                log.info("bridge=%s belongs to no network served here: deleted", link.name)
                await self._netlink.delete_link(link.name)

    def is_served(self, number: int) -> bool:
        """Whether this host has devices on the network."""
        return number in self._served

    def set_endpoint(self, number: int, mac: bytes, owner: bytes) -> None:
        """An endpoint with this MAC is at `owner` (empty: here)."""
        served = self._served.get(number)
        if served is None:
            claim(self._waiting.setdefault(number, {}), mac, owner)
        elif claim(served.claims, mac, owner):
            self._send(SetEndpoints(number=number, endpoints=[EndpointRow(mac=mac, peer=owner)]))
        elif served.claims[mac][0] != owner:
            log.warning("mac=%s network=%d is claimed by a second peer", mac.hex(":"), number)

    def drop_endpoint(self, number: int, mac: bytes, owner: bytes) -> None:
        """The endpoint of `owner` with this MAC is gone; another owner's endpoint of that MAC stays."""
        served = self._served.get(number)
        claims = self._waiting.get(number, {}) if served is None else served.claims
        if not waive(claims, mac, owner) or served is None:
            return
        left = served.claims.get(mac)
        rows = [EndpointRow(mac=mac, peer=left[0])] if left else []
        self._send(SetEndpoints(number=number, endpoints=rows, gone=[] if left else [mac]))

    def reinstall(self) -> None:
        """A fresh forwarder knows nothing: hand it every TAP and table again."""
        for served in self._served.values():
            self._install(served)

    def refill(self) -> None:
        """The forwarder forgot endpoints with their peers, which are peers again: hand it every table anew."""
        for served in self._served.values():
            self._fill(served)

    def _install(self, served: _Served) -> None:
        body = served.body
        device, features = tap_name(body.number), served.features
        verb = AddNetwork(number=body.number, device=device, mtu=body.mtu, features=features)
        self._send(verb, (served.tap,))
        self._fill(served)

    def _fill(self, served: _Served) -> None:
        body = served.body
        rows = [EndpointRow(mac=mac, peer=owners[0]) for mac, owners in served.claims.items()]
        self._send(SetEndpoints(number=body.number, endpoints=rows[:ENDPOINTS_PER_VERB], replace=True))
        for start in range(ENDPOINTS_PER_VERB, len(rows), ENDPOINTS_PER_VERB):
            self._send(SetEndpoints(number=body.number, endpoints=rows[start : start + ENDPOINTS_PER_VERB]))
