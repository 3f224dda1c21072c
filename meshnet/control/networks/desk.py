"""Which of the mesh's networks this host serves: made, joined on demand, given up.

Rule: that a network is served here is a row, durable before its devices exist; the default network is always served.
What others founded is known by gossip and costs nothing here until somebody asks for it.  A pool that overlaps a
route of this host is refused, since the host could never tell which of both an address means; after a start it is a
notice, because what was served goes on.
Flow: API, attach, Docker -> `create` / `serve` -> store -> `Networks` (devices, forwarder).  Reference: design §6.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address, ip_network
from typing import Final

from gossip.errors import Refusal
from gossip.node import Node
from gossip.state.address_bodies import NetworkBody
from meshnet.config import parse_ranges
from meshnet.control.networks.networks import Networks
from meshnet.control.pending import Pending, network_key, refused
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort, is_own_name

__all__ = ["DEFAULT_NETWORK", "SPACE", "NetworkDesk", "clash"]

log = logging.getLogger(__name__)

SPACE: Final = "network"
DEFAULT_NETWORK: Final = 1
NAMED_USERS: Final = 8


def clash(pools: Iterable[str], routes: Iterable[tuple[str, str]]) -> str | None:
    """The first of `routes` that overlaps one of `pools`, as "CIDR dev NAME"."""
    taken = [(ip_network(cidr), f"{cidr} dev {device}") for cidr, device in routes]
    for pool in map(ip_network, pools):
        for network, text in taken:
            if network.version == pool.version and network.overlaps(pool):
                return text
    return None


class NetworkDesk:
    """All networks of the mesh as this host sees them, and those it serves."""

    def __init__(
        self,
        node: Node,
        runner: NodeRunner[Node],
        pending: Pending,
        store: Store,
        netlink: NetlinkPort,
        networks: Networks,
    ) -> None:
        self._node = node
        self._runner = runner
        self._pending = pending
        self._store = store
        self._netlink = netlink
        self._networks = networks
        self._wanted: dict[str, None] = {key.decode(): None for key, _ in store.load(SPACE)}
        self._changing = asyncio.Lock()
        self.users: list[Callable[[int], list[str]]] = []
        """Who can name what uses a network of that number on this host: endpoints, the host's own address, Docker."""
        self.notice: Callable[[str, str, str], None] = lambda what, why, fix: None

    # --- verbs -----------------------------------------------------------------------------------------------------

    async def create(self, name: str, subnets: Sequence[str], mtu: int | None) -> dict[str, object]:
        """Found the network, or join it where it is founded already with these settings; then serve it here.

        `subnets` empty: a pool derived from the name.  Raises MeshnetError.
        """
        pools = parse_ranges(subnets, "--subnet")
        known = self.find(name) is not None
        await self._refuse_overlap(name, pools)
        body: NetworkBody = await self._pending.ask(
            network_key(name), lambda now: self._node.create_network(name, pools, mtu, now)
        )
        _refuse_other(body, pools, mtu)
        try:
            await self._serve(body)
        except MeshnetError:
            if not known:
                await self._take_back(body)
            raise
        return {"schema": "meshnet.network/v1", **self.describe(body)}

    async def serve(self, name: str) -> NetworkBody:
        """Serve a known network on this host; nothing where it is served.  Raises MeshnetError."""
        body = self.known(name)
        await self._serve(body)
        return body

    async def unserve(self, name: str) -> NetworkBody:
        """End this host's membership; raises MeshnetError naming what uses the network here."""
        body = self.known(name)
        self._refuse_default(body)
        async with self._changing:
            self._refuse_use(body)
            await self._end(body)
        return body

    async def remove(self, name: str, everywhere: bool) -> dict[str, object]:
        """End this host's membership or, `everywhere`, the network itself when nobody uses it.  Raises MeshnetError."""
        body = self.known(name)
        self._refuse_default(body)
        if everywhere:
            async with self._changing:
                self._refuse_use(body)
                try:
                    await self._runner.step(lambda now: self._node.remove_network(body.number, now))
                except Refusal as refusal:
                    raise refused(refusal) from None
                await self._end(body)
        else:
            await self.unserve(name)
        return {"schema": "meshnet.removed/v1", "name": name, "number": body.number, "everywhere": everywhere}

    # --- what gossip tells -----------------------------------------------------------------------------------------

    def is_wanted(self, body: NetworkBody) -> bool:
        """Whether this host serves, or should serve, the network."""
        return body.number == DEFAULT_NETWORK or body.name in self._wanted

    async def seen(self, body: NetworkBody) -> None:
        """A network that is wanted here became known, or changed.  Raises HostError for the default one alone."""
        async with self._changing:
            if not self.is_wanted(body):
                return
            try:
                await self._networks.serve(body)
            except HostError as error:
                if body.number == DEFAULT_NETWORK:
                    raise
                self.notice(f"network {body.name} is not served", f"{error.what}: {error.why}", error.fix)
                return
        if body.number != DEFAULT_NETWORK and (route := await self._overlap(body.pools)) is not None:
            fix = "remove that route, or move the workloads to a network with another pool"
            self.notice(f"network {body.name} overlaps a route of this host", f"{route} is routed too", fix)

    async def gone(self, body: NetworkBody) -> None:
        """A network was removed from the mesh."""
        async with self._changing:
            if body.name not in self._wanted:
                return
            if used := self.used_by(body.number):
                why = f"{', '.join(used)} still used it here"
                self.notice(f"network {body.name} was removed from the mesh", why, "detach what is left on it")
            await self._end(body)

    # --- questions -------------------------------------------------------------------------------------------------

    def find(self, name: str) -> NetworkBody | None:
        """The network of that name, served or not."""
        return next((body for body in self._node.networks() if body.name == name), None)

    def known(self, name: str) -> NetworkBody:
        """The network of that name; raises MeshnetError (NOT_FOUND)."""
        body = self.find(name)
        if body is None:
            raise MeshnetError(
                f"there is no network {name[:63]!r}",
                "no peer that this host knows of founded one of that name",
                f"see `meshnet network ls`, or found it: meshnet network create {name[:63]}",
                ExitCode.NOT_FOUND,
            )
        return body

    def name_of(self, number: int) -> str:
        """The name of a network, or its number where it is not known."""
        return next((body.name for body in self._node.networks() if body.number == number), str(number))

    def used_by(self, number: int) -> list[str]:
        """What uses a network on this host, in words."""
        named = [text for names in self.users for text in names(number)]
        leases = [lease.address for lease in self._node.leases() if lease.network == number]
        return named or [f"address {address}" for address in leases]

    def describe(self, body: NetworkBody) -> dict[str, object]:
        """A network as status and `network ls` show it."""
        own = self._node.identity
        names = {view.identity: view.body.name for view in self._node.peers()}
        endpoints = self._node.endpoints(body.number)
        return {
            "name": body.name,
            "number": body.number,
            "pools": list(body.pools),
            "mtu": body.mtu,
            "served": self._networks.is_served(body.number),
            "members": sorted({names.get(owner, owner.hex()[:8]) for owner, _ in endpoints}),
            "endpoints": len(endpoints),
            "owned": [_range(r.start, r.end) for r in self._node.ranges(body.number) if r.owner == own],
        }

    # --- steps -----------------------------------------------------------------------------------------------------

    async def _serve(self, body: NetworkBody) -> None:
        if self._networks.is_served(body.number):
            return
        await self._refuse_overlap(body.name, body.pools)
        async with self._changing:
            if self._networks.is_served(body.number):
                return
            await self._store.commit([Row(SPACE, body.name.encode(), body.key)])
            self._wanted[body.name] = None
            try:
                await self._networks.serve(body)
            except HostError as error:
                await self._end(body)
                raise MeshnetError(error.what, error.why, error.fix) from error

    async def _end(self, body: NetworkBody) -> None:
        """Devices first, then the row: a crash between leaves a row, and the next start makes the devices again."""
        try:
            await self._networks.unserve(body.number)
        except HostError as error:
            log.warning("network=%s devices stay: %s", body.name, error)
        self._wanted.pop(body.name, None)
        await self._store.commit([Row(SPACE, body.name.encode(), None)])

    async def _take_back(self, body: NetworkBody) -> None:
        """A network founded a moment ago cannot be served here: it goes again, unless another peer founded it."""
        try:
            await self._runner.step(lambda now: self._node.remove_network(body.number, now))
        except Refusal:
            log.info("network=%s stays: it is another peer's", body.name)

    def _refuse_default(self, body: NetworkBody) -> None:
        if body.number == DEFAULT_NETWORK:
            raise MeshnetError(
                "the default network stays",
                "every host of a mesh serves it",
                "to take this host out of the mesh: meshnet leave",
                ExitCode.USAGE,
            )

    def _refuse_use(self, body: NetworkBody) -> None:
        used = self.used_by(body.number)
        if used:
            more = f" and {len(used) - NAMED_USERS} more" if len(used) > NAMED_USERS else ""
            raise MeshnetError(
                f"network {body.name} is in use on this host",
                f"{', '.join(used[:NAMED_USERS])}{more}",
                "detach what is on it (and `meshnet hide` the host), then remove it",
            )

    async def _refuse_overlap(self, name: str, pools: Iterable[str]) -> None:
        route = await self._overlap(pools)
        if route is not None:
            raise MeshnetError(
                f"network {name} overlaps a route of this host",
                f"{route} is routed already",
                f"choose a pool that no host routes: meshnet network create {name} --subnet CIDR",
            )

    async def _overlap(self, pools: Iterable[str]) -> str | None:
        try:
            routes = await self._netlink.routes()
        except HostError as error:
            raise MeshnetError(error.what, error.why, error.fix) from error
        return clash(pools, [(cidr, device) for cidr, device in routes if not is_own_name(device)])


def _refuse_other(body: NetworkBody, pools: Sequence[str], mtu: int | None) -> None:
    """Two claims of one name may wait for one answer: each looks whether it is the network it meant."""
    if (pools and sorted(pools) != sorted(body.pools)) or mtu not in (None, body.mtu):
        raise MeshnetError(
            f"there is a network {body.name} already",
            f"it has {', '.join(body.pools)} and MTU {body.mtu}",
            f"join it as it is: meshnet network create {body.name}, or choose another name",
        )


def _range(start: int, end: int) -> str:
    return f"{ip_address(start)}-{ip_address(end - 1)}"
