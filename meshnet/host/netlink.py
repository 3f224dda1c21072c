"""The host's links for asyncio: one private thread owns the netlink socket and answers in order.

Purpose: `Netlink` is what meshnetd asks; the functions re-exported here are what `meshnet attach` runs by
itself.
Rule: pyroute2's sockets do not run on uvloop, and its synchronous half not in a thread whose loop runs. So
exactly one thread per `Netlink` opens the socket, uses it and closes it; callers hand it work through a
bounded queue.
Flow: coroutine -> queue -> the thread's Rtnl -> future -> coroutine.
Reference: design §8.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from meshnet.host import routing
from meshnet.host.attach import configure, move_link, restore_link
from meshnet.host.errors import HostError
from meshnet.host.namespace import ResolvedTarget, enter, namespace_key, resolve
from meshnet.host.ports import OWN_PREFIXES, Link
from meshnet.host.rtnl import Rtnl

__all__ = [
    "HostError",
    "Link",
    "Netlink",
    "ResolvedTarget",
    "configure",
    "move_link",
    "namespace_key",
    "resolve",
    "restore_link",
]

MAX_WAITING = 256

Result = TypeVar("Result")


class Netlink:
    """The kernel's `NetlinkPort` for the caller's namespace, or for `namespace` (a path), with a thread of
    its own.

    Use it from one event loop. The socket is opened with the first call.
    """

    def __init__(self, namespace: str | None = None) -> None:
        self._namespace = namespace
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="meshnet-netlink")
        self._rtnl: Rtnl | None = None
        self._waiting = 0
        self._closed = False
        self._notes: list[str] = []

    async def ensure_bridge(self, name: str, mtu: int, mac: bytes) -> None:
        """Make the bridge or adopt the one of that name, and set it up; MTU in bytes, MAC 6 bytes."""
        await self._run(lambda rtnl: rtnl.ensure_bridge(name, mtu, mac))

    async def configure_tap(self, name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int) -> None:
        """Give an open TAP its MAC, MTU, bridge and caps (bytes), then set it up."""
        await self._run(
            lambda rtnl: rtnl.configure_tap(name, mtu=mtu, mac=mac, bridge=bridge, gso_max_size=gso_max_size)
        )

    async def create_veth(
        self, host_name: str, peer_name: str, *, mtu: int, mac: bytes, bridge: str, gso_max_size: int, alias: str = ""
    ) -> None:
        """Make a veth: host end up on the bridge under `alias`, the other end with `mac`, down, ready to be moved."""
        await self._run(
            lambda rtnl: rtnl.create_veth(
                host_name, peer_name, mtu=mtu, mac=mac, bridge=bridge, gso_max_size=gso_max_size, alias=alias
            )
        )

    async def attach_to_bridge(self, name: str, bridge: str) -> None:
        """Make the link a port of the bridge."""
        await self._run(lambda rtnl: rtnl.attach_to_bridge(name, bridge))

    async def set_gso_max(self, name: str, size: int) -> None:
        """Cap the super-frames handed to the link at `size` bytes."""
        await self._run(lambda rtnl: rtnl.set_gso_max(name, size))

    async def set_up(self, name: str) -> None:
        """Set the link up."""
        await self._run(lambda rtnl: rtnl.set_up(name))

    async def delete_link(self, name: str) -> None:
        """Delete the link; a missing one is no error."""
        await self._run(lambda rtnl: rtnl.delete_link(name))

    async def add_address(self, name: str, address: str) -> None:
        """Give the link an address ("a.b.c.d/len"); one it has already is no error."""
        await self._run(lambda rtnl: rtnl.add_address(name, address))

    async def remove_address(self, name: str, address: str) -> None:
        """Take an address ("a.b.c.d/len") from the link; a missing one is no error."""
        await self._run(lambda rtnl: rtnl.remove_address(name, address))

    async def list_links(self, prefixes: Sequence[str] = OWN_PREFIXES) -> list[Link]:
        """Our own links, sorted by name."""
        return await self._run(lambda rtnl: rtnl.list_links(prefixes))

    async def routes(self) -> list[tuple[str, str]]:
        """Every (CIDR, device) the host routes, sorted."""
        return await self._run(routing.routes)

    async def addresses(self) -> list[str]:
        """The host's own global addresses, likeliest to be reached first."""
        return await self._run(routing.addresses)

    async def route_mtu(self, address: str) -> int:
        """The MTU in bytes the kernel knows for the way to `address`."""
        return await self._run(lambda rtnl: routing.route_mtu(rtnl, address))

    def notes(self) -> list[str]:
        """What this host was found to lack so far, one line each."""
        return list(self._notes)

    def close(self) -> None:
        """Let the calls already made finish, close the socket and join the thread; twice is harmless."""
        if self._closed:
            return
        self._closed = True
        self._thread.submit(self._close_socket)
        self._thread.shutdown(wait=True)

    async def _run(self, work: Callable[[Rtnl], Result]) -> Result:
        """Hand `work` to the thread; raises HostError, also when closed or when too much waits already."""
        if self._closed:
            raise HostError("netlink is closed", "meshnet is stopping", "start it again")
        if self._waiting >= MAX_WAITING:
            raise HostError("netlink is busy", f"{self._waiting} calls wait for the kernel", "try again")
        self._waiting += 1
        future: Future[Result] = self._thread.submit(self._in_thread, work)
        try:
            return await asyncio.wrap_future(future)
        finally:
            self._waiting -= 1

    def _in_thread(self, work: Callable[[Rtnl], Result]) -> Result:
        if self._rtnl is None:
            if self._namespace is not None:
                enter(self._namespace)
            self._rtnl = Rtnl()
        try:
            return work(self._rtnl)
        finally:
            self._notes = list(self._rtnl.notes)

    def _close_socket(self) -> None:
        if self._rtnl is not None:
            self._rtnl.close()
            self._rtnl = None
