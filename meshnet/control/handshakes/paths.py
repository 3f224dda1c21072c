"""The paths to peers: where each is reached, and which datagram size the route there carries.

Purpose: the forwarder cuts records to the path's MTU, which it cannot ask for itself.
Flow: a path is set → the last known MTU of that host, or the smallest, serves at once → the kernel is asked → the
forwarder is told what differs. Every ROUTES_S all routes are asked again.
Rule: where the operator gave an MTU, that is it and nobody is asked. Nothing waits for an answer.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from meshnet.boundary import Address, SetPath
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["PATHS_KEPT", "ROUTES_S", "SMALLEST_MTU", "Paths"]

log = logging.getLogger(__name__)

SMALLEST_MTU: Final = 1280
ROUTES_S: Final = 30.0
PATHS_KEPT: Final = 8192
"""Hosts whose MTU is remembered; more than peers and their addresses need."""


class Paths:
    """Lives on one event loop; ``send`` takes the verbs, ``underlay_mtu`` is the operator's (bytes) or None."""

    def __init__(self, netlink: NetlinkPort, underlay_mtu: int | None, send: Callable[[SetPath], None]) -> None:
        self._netlink = netlink
        self._underlay_mtu = underlay_mtu
        self._send = send
        self._mtus: dict[str, int] = {}
        """Host of an address → what the route to it was last known to carry."""
        self._sent_mtus: dict[bytes, int] = {}
        """Peer → the MTU the forwarder was told."""
        self._addresses: dict[bytes, Address] = {}
        self._watch: asyncio.Task[None] | None = None
        self._lookups: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to ask again from time to time."""
        self._watch = asyncio.get_running_loop().create_task(self._watch_routes(), name="routes")

    def close(self) -> None:
        """End every task."""
        for task in [self._watch, *self._lookups]:
            if task is not None:
                task.cancel()

    def adopt(self, peer: bytes, address: Address) -> None:
        """The forwarder has this path already, with an MTU that is asked for at the next round."""
        self._addresses[peer] = address

    def installed(self, peer: bytes, address: Address) -> int:
        """A session is about to be installed at this address: the MTU to install it with."""
        self._addresses[peer] = address
        mtu = self._sent_mtus[peer] = self._mtu(address)
        self._look_up(peer, address)
        return mtu

    def moved(self, peer: bytes, address: Address) -> None:
        """A peer is reached at another address now."""
        mtu = self.installed(peer, address)
        self._send(SetPath(peer=peer, address=address, mtu=mtu))

    def forget(self, peer: bytes) -> None:
        """A peer is gone, or has no session any more: the path is told again with its next one."""
        self._addresses.pop(peer, None)
        self._sent_mtus.pop(peer, None)

    def _mtu(self, address: Address) -> int:
        return self._underlay_mtu or self._mtus.get(address[0], SMALLEST_MTU)

    def _look_up(self, peer: bytes, address: Address) -> None:
        if self._underlay_mtu is not None:
            return
        task = asyncio.get_running_loop().create_task(self._ask_route(peer, address))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _ask_route(self, peer: bytes, address: Address) -> None:
        try:
            mtu = await self._netlink.route_mtu(address[0].partition("%")[0])
        except HostError as error:
            log.info("no route to %s: %s", address[0], error.why)
            return
        if self._addresses.get(peer) != address:
            return
        if len(self._mtus) >= PATHS_KEPT:
            self._mtus.clear()
        self._mtus[address[0]] = mtu
        if self._sent_mtus.get(peer) != mtu:
            self._sent_mtus[peer] = mtu
            self._send(SetPath(peer=peer, address=address, mtu=mtu))

    async def _watch_routes(self) -> None:
        while self._underlay_mtu is None:
            await asyncio.sleep(ROUTES_S)
            for peer, address in list(self._addresses.items()):
                await self._ask_route(peer, address)
