"""Docker's networks and endpoints on this host: the plugin's `Backend`.

Rule: what Docker was told is on disk (Docker repeats nothing after a restart), every call may come twice, and what
Docker never came back for is swept: an endpoint whose link is gone went with its container, one that was made and
not joined within PENDING_S was never wanted.  The links decide what exists; Docker is never asked anything.
Three forms: a network of the mesh with our IPAM, one with Docker's IPAM (each address is then claimed in the mesh when
its endpoint is made), and, where no network is named, a bridge of this host alone.
Flow: docker_plugin -> here -> `Pools` for addresses, netlink for links, the core for what the mesh is told.
"""

import asyncio
import hashlib
import logging
import weakref
from collections.abc import Callable
from typing import Final

from docker_plugin.backend import Claim, GrantedPool, NetworkRequest, PoolRequest
from docker_plugin.errors import Refused
from gossip.errors import Refusal
from gossip.node import Node
from gossip.state.address_bodies import EndpointBody
from meshnet.control.docker import docker_rows as rows
from meshnet.control.docker.docker_links import alias, host_link, inner_link
from meshnet.control.docker.docker_pools import SPANNING, Leases, Pools, refused
from meshnet.control.docker.docker_rows import Rows, age, endpoint_key, lease_key
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoints import endpoint_mac
from meshnet.control.networks.networks import GSO_MAX_BYTES, Networks, bridge_name, device_mac
from meshnet.control.runner import NodeRunner
from meshnet.control.store.store import Store
from meshnet.errors import MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["Docker"]

log = logging.getLogger(__name__)

OUR_SPACE: Final = "meshnet-"
PENDING_S: Final = 60.0
DEFAULT_MTU: Final = 1500


class Docker:
    """Implements `docker_plugin.backend.Backend`."""

    def __init__(
        self,
        node: Node,
        runner: NodeRunner[Node],
        store: Store,
        netlink: NetlinkPort,
        networks: Networks,
        desk: NetworkDesk,
        leases: Leases,
        entropy: Callable[[int], bytes],
        clock: Callable[[], float],
        mesh: bytes,
    ) -> None:
        self._mesh = mesh
        self._peer = node.identity
        self._node = node
        self._runner = runner
        self._store = store
        self._netlink = netlink
        self._networks = networks
        self._desk = desk
        self._clock = clock
        self._rows = Rows(store)
        self._pools = Pools(self._rows, node, netlink, desk, leases, entropy, clock)
        desk.users.append(self.users)
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    # --- addresses -------------------------------------------------------------------------------------------------

    async def request_pool(self, request: PoolRequest) -> GrantedPool:
        """See `Pools.request_pool`."""
        return await self._pools.request_pool(request)

    async def release_pool(self, pool: str) -> None:
        """See `Pools.release_pool`."""
        await self._pools.release_pool(pool)

    async def request_address(self, pool: str, address: str | None, gateway: bool) -> str:
        """See `Pools.request_address`."""
        return await self._pools.request_address(pool, address, gateway)

    async def release_address(self, pool: str, address: str) -> None:
        """See `Pools.release_address`."""
        await self._pools.release_address(pool, address)

    # --- networks --------------------------------------------------------------------------------------------------

    async def create_network(self, request: NetworkRequest) -> None:
        """Serve it; the same network twice is one."""
        async with self._lock(request.id):
            cidrs = [pool.cidr for pool in request.pools]
            old = self._rows.networks.get(request.id)
            if old is not None:
                if old.pools != cidrs or request.network not in (None, old.network):
                    raise Refused(f"network {request.id[:12]} exists with {', '.join(old.pools)}")
                return
            ours = request.pools[0].space.startswith(OUR_SPACE)
            if not ours and request.network is None:
                row = await self._make_alone(request, cidrs)
            else:
                row = await self._make_spanning(request, cidrs, ours)
            await self._rows.networks.put(request.id, row)
            for cidr in cidrs if ours else ():
                await self._pools.bind(row.network, cidr)

    async def delete_network(self, network: str) -> None:
        """Take its endpoints and, if nothing else here uses it, its devices away."""
        async with self._lock(network):
            row = self._rows.networks.get(network)
            if row is None:
                return
            for key in [key for key, end in self._rows.endpoints.rows.items() if end.network == network]:
                async with self._lock(key):
                    await self._undo(key)
            await self._rows.networks.drop(network)
            if not row.network:
                await self._delete_link(bridge_name(row.number))
            elif row.unserve and not any(self._rows.in_use(row.network, cidr) for cidr in row.pools):
                await self._pools.unserve(row.network)

    async def _make_alone(self, request: NetworkRequest, cidrs: list[str]) -> rows.Network:
        number = int.from_bytes(hashlib.blake2s(request.id.encode(), digest_size=4).digest(), "big")
        row = rows.Network("", number, cidrs, request.mtu or DEFAULT_MTU, False, False)
        await self._bridge(row)
        return row

    async def _make_spanning(self, request: NetworkRequest, cidrs: list[str], ours: bool) -> rows.Network:
        name = self._name_of(request, cidrs) if ours else request.network or ""
        waiting = [self._pools.waiting(cidr).get(name) for cidr in cidrs]
        body, founded = self._pools.known(name), any(held is not None and held.founded for held in waiting)
        if body is None:
            body, founded = await self._pools.found(name, cidrs, request.mtu), True
        others = [row for row in self._rows.networks.rows.values() if row.network == name]
        before = self._networks.is_served(body.number) and not founded and not any(row.unserve for row in others)
        foreign = [cidr for cidr in cidrs if cidr not in body.pools]
        if foreign:
            raise Refused(
                f"network {name} has {', '.join(body.pools)}, not {foreign[0]}: give --subnet {body.pools[0]}"
            )
        if request.mtu is not None and request.mtu > body.mtu:
            raise Refused(
                f"network {name} has an MTU of {body.mtu}, and {request.mtu} was asked for: a larger one is chosen by"
                f" `meshnet network create NAME --mtu {request.mtu}` before Docker's create"
            )
        try:
            body = await self._desk.serve(name)
        except MeshnetError as error:
            raise refused(error) from error
        for address in [text for pool in request.pools for text in pool.aux] if ours else ():
            lease = self._rows.leases.get(lease_key(name, address))
            if lease is not None:
                await self._pools.keep(lease)
        return rows.Network(name, body.number, cidrs, request.mtu or body.mtu, ours, not before)

    def _name_of(self, request: NetworkRequest, cidrs: list[str]) -> str:
        """The network whose pools our IPAM gave to this request, which does not say so itself."""
        names = [name for name in self._pools.waiting(cidrs[0]) if request.network in (None, name)]
        names = [name for name in names if all(name in self._pools.waiting(cidr) for cidr in cidrs[1:])]
        if not names and request.network is not None and self._pools.waiting(cidrs[0]):
            held = ", ".join(self._pools.waiting(cidrs[0]))
            raise Refused(f"-o meshnet.network={request.network} differs from --ipam-opt, which named {held}")
        if not names:
            raise Refused(f"no pool {cidrs[0]} was requested of meshnet's IPAM on this host: create the network anew")
        if len(names) > 1:
            raise Refused(
                f"networks {', '.join(sorted(names))} are being created with the same {cidrs[0]}:"
                " say which with -o meshnet.network=NAME too, or try again"
            )
        return names[0]

    # --- endpoints -------------------------------------------------------------------------------------------------

    async def create_endpoint(self, network: str, endpoint: str, claim: Claim) -> bytes | None:
        """Make the link, and claim what Docker's own IPAM chose; what fails half way is undone."""
        key = endpoint_key(network, endpoint)
        async with self._lock(key):
            home = self._rows.networks.get(network)
            if home is None:
                raise Refused(f"meshnet does not know network {network[:12]}: remove it from Docker and create it anew")
            mac = claim.mac or self._mac(home, key, claim.addresses)
            old = self._rows.endpoints.get(key)
            if old is not None and (old.addresses != list(claim.addresses) or old.mac != mac):
                raise Refused(f"endpoint {endpoint[:12]} exists with {', '.join(old.addresses)}")
            if old is None:
                if not claim.addresses:
                    raise Refused("an endpoint of meshnet needs an address: Docker gave none")
                row = rows.Endpoint(network, mac, list(claim.addresses), False, self._clock())
                await self._make(key, home, row)
            return None if claim.mac is not None else mac

    async def delete_endpoint(self, network: str, endpoint: str) -> None:
        """Take its link away and give back what it held."""
        async with self._lock(key := endpoint_key(network, endpoint)):
            await self._undo(key)

    async def join(self, network: str, endpoint: str) -> str:
        """Announce the endpoint and name its link, made again when it is missing."""
        key = endpoint_key(network, endpoint)
        async with self._lock(key):
            row, home = self._rows.endpoints.get(key), self._rows.networks.get(network)
            if row is None or home is None:
                raise Refused(f"meshnet does not know endpoint {endpoint[:12]}: start the container again")
            if not await self._links() >= {host_link(key), inner_link(key)}:
                await self._delete_link(host_link(key))
                await self._create_link(key, home, row)
            row.joined, row.since = True, self._clock()
            await self._rows.endpoints.put(key, row)
            await self._announce(home, row)
        return inner_link(key)

    async def leave(self, network: str, endpoint: str) -> None:
        """Withdraw the endpoint; DeleteEndpoint follows, or the sweep."""
        key = endpoint_key(network, endpoint)
        async with self._lock(key):
            row, home = self._rows.endpoints.get(key), self._rows.networks.get(network)
            if row is not None and home is not None:
                row.joined, row.since = False, self._clock()
                await self._rows.endpoints.put(key, row)
                await self._withdraw(home, row)

    async def _make(self, key: str, home: rows.Network, row: rows.Endpoint) -> None:
        claimed: list[rows.Lease] = []
        try:
            for text in row.addresses if home.network else ():
                claimed += await self._claim(home.network, text.partition("/")[0])
            await self._rows.endpoints.put(key, row)
            await self._create_link(key, home, row)
        except BaseException:
            await self._undo(key)
            for lease in claimed:
                await self._pools.settle(lease)
            raise

    async def _claim(self, name: str, address: str) -> list[rows.Lease]:
        """Have a lease on the address: the one its IPAM call made, or a new one; raises Refused naming the holder."""
        user = self._rows.user_of(name, address)
        if user is not None:
            raise Refused(
                f"{address} is in use in network {name} by endpoint {user.partition(' ')[2][:12]} of this host"
            )
        if self._rows.leases.get(lease_key(name, address)) is not None:
            return []
        try:
            return [await self._pools.claim(name, address, ipam=False)]
        except Refused as error:
            raise Refused(
                f"{error}; addresses that Docker chooses by itself meet on several hosts: give each host an --ip-range"
                f" of its own, or let meshnet choose: {SPANNING.replace('NAME', name)}"
            ) from error

    def _mac(self, home: rows.Network, key: str, addresses: tuple[str, ...]) -> bytes:
        """In the mesh the address decides, so that neighbours' tables stay right when it moves to another host."""
        return endpoint_mac(home.number, addresses[0]) if home.network and addresses else device_mac(self._peer, key)

    async def _create_link(self, key: str, home: rows.Network, row: rows.Endpoint) -> None:
        try:
            await self._netlink.create_veth(
                host_link(key),
                inner_link(key),
                mtu=home.mtu,
                mac=row.mac,
                bridge=bridge_name(home.number),
                gso_max_size=GSO_MAX_BYTES,
                alias=alias(self._mesh, key, home, row),
            )
        except HostError as error:
            raise refused(error) from error

    async def _undo(self, key: str, forget: bool = False) -> None:
        """Link, announcement, row, then what only this endpoint held; nothing when it is unknown.

        `forget`: Docker will not release its addresses, or has tried while nobody answered.
        """
        row = self._rows.endpoints.get(key)
        if row is None:
            return
        await self._delete_link(host_link(key))
        home = self._rows.networks.get(row.network)
        if home is not None:
            await self._withdraw(home, row)
        await self._rows.endpoints.drop(key)
        name = "" if home is None else home.network
        for text in row.addresses:
            lease = self._rows.leases.get(lease_key(name, text.partition("/")[0]))
            if lease is not None:
                lease.ipam = lease.ipam and not forget
                lease.since = self._clock()
                await self._pools.settle(lease)

    async def _announce(self, home: rows.Network, row: rows.Endpoint) -> None:
        if not home.network:
            return
        held = []
        for text in row.addresses:
            lease = self._rows.leases.get(lease_key(home.network, text.partition("/")[0]))
            if lease is None:
                raise Refused(f"the lease of {text} was lost: start the container again")
            held.append((text, lease.lease))
        body = EndpointBody(network=home.number, mac=row.mac, addresses=held, name=f"docker-{row.network[:12]}")
        self._networks.set_endpoint(home.number, row.mac, b"")
        try:
            await self._runner.step(lambda now: self._node.set_endpoint(body, now))
        except Refusal as error:
            raise refused(error) from error

    async def _withdraw(self, home: rows.Network, row: rows.Endpoint) -> None:
        if home.network:
            self._networks.drop_endpoint(home.number, row.mac, b"")
            await self._runner.step(lambda now: self._node.drop_endpoint(home.number, row.mac, now))

    # --- time and starts -------------------------------------------------------------------------------------------

    async def reconcile(self) -> None:
        """After a start of meshnetd: serve again, adopt the links that exist, announce, sweep the rest."""
        await self._pools.reconcile(self._store)
        for network, home in list(self._rows.networks.rows.items()):
            try:
                await (self._desk.serve(home.network) if home.network else self._bridge(home))
            except (MeshnetError, Refused) as error:
                log.warning("docker network=%s cannot be served: %s", network[:12], error)
        links = await self._links()
        for key, row in list(self._rows.endpoints.rows.items()):
            of = self._rows.networks.get(row.network)
            if of is None or host_link(key) not in links:
                continue
            try:
                await self._netlink.attach_to_bridge(host_link(key), bridge_name(of.number))
                if row.joined:
                    await self._announce(of, row)
            except (HostError, Refused) as error:
                log.warning("docker endpoint=%s cannot be adopted: %s", key.partition(" ")[2][:12], error)
        await self.sweep()

    async def sweep(self) -> None:
        """End what Docker forgot: endpoints without their link, or never taken into a container, and their leases."""
        links = await self._links()
        for key in list(self._rows.endpoints.rows):
            async with self._lock(key):
                row = self._rows.endpoints.get(key)
                if row is None or age(row.since, self._clock) < 1:
                    continue  # made while the links were listed
                abandoned = inner_link(key) in links and age(row.since, self._clock) > PENDING_S
                if host_link(key) not in links or abandoned:
                    log.info("docker endpoint=%s is gone: swept", key.partition(" ")[2][:12])
                    await self._undo(key, forget=True)
        await self._pools.sweep()

    def own_links(self) -> list[str]:
        """The links here that are Docker's endpoints'."""
        return [host_link(key) for key in self._rows.endpoints.rows]

    def held(self) -> list[tuple[int, bytes]]:
        """See `Rows.held_in`."""
        return self._rows.held_in({body.name: body.number for body in self._node.networks()})

    def said(self) -> list[tuple[int, bytes]]:
        """See `Rows.said`."""
        return self._rows.said()

    def own_bridges(self) -> list[str]:
        """The bridges of networks of this host alone."""
        return [bridge_name(row.number) for row in self._rows.networks.rows.values() if not row.network]

    def users(self, number: int) -> list[str]:
        """What of Docker's on this host uses a network of the mesh."""
        named = self._rows.networks.rows.items()
        return [f"docker network {key[:12]}" for key, row in named if row.network and row.number == number]

    def described(self) -> dict[str, object]:
        """Networks, endpoints and leases, for `meshnet docker status`."""
        return self._rows.described()

    async def _links(self) -> set[str]:
        return {link.name for link in await self._netlink.list_links(("mv", "mp"))}

    async def _bridge(self, home: rows.Network) -> None:
        bridge = bridge_name(home.number)
        try:
            await self._netlink.ensure_bridge(bridge, home.mtu, device_mac(self._peer, bridge))
        except HostError as error:
            raise refused(error) from error

    async def _delete_link(self, name: str) -> None:
        try:
            await self._netlink.delete_link(name)
        except HostError as error:
            log.warning("link=%s cannot be deleted: %s", name, error)

    def _lock(self, key: str) -> asyncio.Lock:
        lock = self._locks.get(key)
        if lock is None:
            lock = self._locks[key] = asyncio.Lock()
        return lock
