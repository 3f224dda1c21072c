"""The IPAM half for Docker: holds on pools, leases of addresses, both of networks of the mesh.

Rule: NAME is a network's identity, else an explicit subnet is, else it is the default network.  A pool id says
everything ("space/NAME/pool[/sub-pool]"), so that a release works after any loss.  A call without a subnet is never
answered with a pool that is held or overlaps a route of the host: dockerd would ask again without end
(libnetwork#1386).  A gateway's address is the one every pool reserves, the same on all hosts, and is no lease.
An address is free again once neither Docker's IPAM calls nor an endpoint hold it; one that no endpoint took within
UNUSED_S is taken back, because Docker does not say for whom it asked.
"""

import ipaddress
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from docker_plugin.backend import GrantedPool, PoolRequest
from docker_plugin.errors import Refused
from gossip.errors import Refusal
from gossip.events import SPACE_LEASE, Lease
from gossip.node import Node
from gossip.state.address_bodies import NetworkBody
from meshnet.control.docker import docker_rows as rows
from meshnet.control.docker.docker_rows import Rows, age, lease_key
from meshnet.control.store.store import Store
from meshnet.errors import MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["DEFAULT", "KEY_PREFIX", "SPANNING", "Desk", "Leases", "PoolId", "Pools", "refused"]

log = logging.getLogger(__name__)

DEFAULT: Final = "default"
KEY_PREFIX: Final = b"docker/"
SPANNING: Final = "docker network create -d meshnet --ipam-driver meshnet --ipam-opt meshnet.network=NAME NAME"
"""The command that makes a network which spans hosts."""
KEY_BYTES: Final = 8
UNCLAIMED_S: Final = 120.0
"""So long a pool is held for the network that Docker asked it for."""
UNUSED_S: Final = 600.0
"""So long an address waits for the endpoint that Docker asked it for: a slow host must not lose it on its way."""
RECLAIM_S: Final = 10.0
MAX_HELD: Final = 1024
NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


class Desk(Protocol):
    """Who founds and serves networks of the mesh on this host; refusals are MeshnetErrors."""

    async def create(self, name: str, pools: Sequence[str], mtu: int | None) -> object:
        """Found a network of the mesh, or be answered with the existing one."""
        ...

    async def serve(self, name: str) -> NetworkBody:
        """Serve a known network on this host; idempotent."""
        ...

    async def unserve(self, name: str) -> object:
        """End this host's membership, unless something here uses the network."""
        ...


class Leases(Protocol):
    """Who leases addresses; refusals are MeshnetErrors."""

    async def lease(self, network: str, key: bytes, address: str | None) -> Lease:
        """The address asked for, or any; the same for the same key."""
        ...

    async def release(self, network: str, key: bytes) -> None:
        """End the key's lease; nothing when it has none."""
        ...


def refused(error: MeshnetError | HostError | Refusal) -> Refused:
    """The same words for an operator of Docker."""
    return Refused(f"{error.what}: {error.why} ({error.fix})")


@dataclass(frozen=True, slots=True)
class PoolId:
    """What a pool id says; `sub` is None or a CIDR inside `cidr`."""

    space: str
    network: str
    cidr: str
    sub: str | None

    def __str__(self) -> str:
        return f"{self.space}/{self.network}/{self.cidr}" + (f"/{self.sub}" if self.sub else "")

    @classmethod
    def parse(cls, text: str) -> "PoolId | None":
        """The pool a text names, or None when it names none."""
        parts = text.split("/")
        if len(parts) not in (4, 6):
            return None
        cidrs = ["/".join(parts[start : start + 2]) for start in range(2, len(parts), 2)]
        try:
            if [str(ipaddress.ip_network(cidr)) for cidr in cidrs] != cidrs:
                return None
        except ValueError:
            return None
        return cls(parts[0], parts[1], cidrs[0], cidrs[1] if len(cidrs) > 1 else None)


class Pools:
    """Pools and addresses of this host's Docker."""

    def __init__(
        self,
        kept: Rows,
        node: Node,
        netlink: NetlinkPort,
        desk: Desk,
        leases: Leases,
        entropy: Callable[[int], bytes],
        clock: Callable[[], float],
    ) -> None:
        self._rows = kept
        self._node = node
        self._netlink = netlink
        self._desk = desk
        self._leases = leases
        self._entropy = entropy
        self._clock = clock
        self._last: dict[PoolId, int] = {}
        self._claiming: dict[str, None] = {}

    # --- pools -----------------------------------------------------------------------------------------------------

    async def request_pool(self, request: PoolRequest) -> GrantedPool:
        """Hold a pool of a network, founded by this very call when the mesh has none of that name."""
        name = request.network or (DEFAULT if request.pool is None else subnet_name(request.pool))
        if NAME.fullmatch(name) is None:
            raise Refused(f"meshnet.network={name[:80]}: a name is of a-z, 0-9 and dashes, up to 63")
        if len(self._rows.held.rows) >= MAX_HELD:
            raise Refused(f"{MAX_HELD} pools are held already: remove networks of Docker that are not used")
        body, founded = self.known(name), False
        if body is None:
            body, founded = await self.found(name, [] if request.pool is None else [request.pool], None), True
        cidr = self._choose(body, request)
        if request.pool is None:
            await self._refuse_unfit(name, cidr)
        pool = PoolId(request.space, name, cidr, request.sub_pool)
        row = self._rows.held.get(str(pool)) or rows.Held(name, cidr, 0, founded, 0.0)
        row.holds, row.since, row.founded = row.holds + 1, self._clock(), row.founded or founded
        await self._rows.held.put(str(pool), row)
        return GrantedPool(str(pool), cidr)

    async def release_pool(self, pool: str) -> None:
        """One hold less; what a network of Docker's uses is let go with that network."""
        row = self._rows.held.get(pool)
        if row is None:
            return
        row.holds -= 1
        if row.holds > 0:
            await self._rows.held.put(pool, row)
            return
        await self._rows.held.drop(pool)
        if row.founded and not self._rows.in_use(row.network, row.cidr):
            await self.unserve(row.network)

    def waiting(self, cidr: str) -> dict[str, rows.Held]:
        """Name → hold, of the pools with this CIDR that wait for their network."""
        return {row.network: row for row in self._rows.held.rows.values() if row.cidr == cidr and row.holds > 0}

    async def bind(self, name: str, cidr: str) -> None:
        """A network of Docker's took over one hold on the pool."""
        for pool, row in list(self._rows.held.rows.items()):
            if (row.network, row.cidr) == (name, cidr) and row.holds > 0:
                row.holds -= 1
                await (self._rows.held.put(pool, row) if row.holds else self._rows.held.drop(pool))
                return

    def known(self, name: str) -> NetworkBody | None:
        """The network of the mesh of this name."""
        return next((body for body in self._node.networks() if body.name == name), None)

    async def found(self, name: str, pools: Sequence[str], mtu: int | None) -> NetworkBody:
        """Found it, or learn who else did; raises Refused."""
        try:
            await self._desk.create(name, pools, mtu)
        except MeshnetError as error:
            raise refused(error) from error
        body = self.known(name)
        if body is None:
            raise Refused(f"network {name} was founded and is not known: try again")
        return body

    async def unserve(self, name: str) -> None:
        """End this host's membership if nothing here needs it."""
        try:
            await self._desk.unserve(name)
        except MeshnetError as error:
            log.info("network=%s is served on: %s", name, error)

    def _choose(self, body: NetworkBody, request: PoolRequest) -> str:
        if request.pool is None:
            fitting = [pool for pool in body.pools if (":" in pool) == request.v6]
            if not fitting:
                family = "IPv6" if request.v6 else "IPv4"
                raise Refused(f"network {body.name} has no {family} addresses: it has {', '.join(body.pools)}")
            return fitting[0]
        if request.pool not in body.pools:
            have = ", ".join(body.pools)
            raise Refused(
                f"network {body.name} exists with {have}, not with {request.pool}:"
                f" give one of these as --subnet, or another {'name' if request.network else 'subnet'}"
            )
        return request.pool

    async def _refuse_unfit(self, name: str, cidr: str) -> None:
        if self._rows.in_use(name, cidr):
            raise Refused(
                f"{cidr} of network {name} is held by another network of Docker on this host:"
                f" name another network with --ipam-opt meshnet.network=NAME, or share this one with --subnet {cidr}"
            )
        try:
            routes = await self._netlink.routes()
        except HostError as error:
            raise refused(error) from error
        pool = ipaddress.ip_network(cidr)
        for route, device in routes:
            other = ipaddress.ip_network(route)
            if other.version == pool.version and other.overlaps(pool):
                raise Refused(
                    f"{cidr} of network {name} overlaps this host's route {route} on {device}:"
                    f" if that is meant, give --subnet {cidr}"
                )

    # --- addresses -------------------------------------------------------------------------------------------------

    async def request_address(self, pool_id: str, address: str | None, gateway: bool) -> str:
        """Lease an address of the pool; a gateway gets the reserved one."""
        pool = PoolId.parse(pool_id)
        body = None if pool is None else self.known(pool.network)
        if pool is None or body is None or pool.cidr not in body.pools:
            raise Refused(f"there is no pool {pool_id[:120]}: remove the network of Docker and create it again")
        network = ipaddress.ip_network(pool.cidr)
        first = str(network.network_address + 1)
        if gateway and address in (None, first):
            return f"{first}/{network.prefixlen}"
        if address is not None:
            if ipaddress.ip_address(address) not in network:
                raise Refused(f"{address} is outside {pool.cidr}")
            await self._take_back(pool.network, address)
        elif pool.sub is not None or len(body.pools) > 1:
            address = self._candidate(body, pool)
        row = await self.claim(pool.network, address, ipam=True)
        if gateway:
            await self.keep(row)
        return f"{row.address}/{network.prefixlen}"

    async def release_address(self, pool_id: str, address: str) -> None:
        """Docker's hold ends; an endpoint that still uses the address keeps it until it goes."""
        pool = PoolId.parse(pool_id)
        row = None if pool is None else self._rows.leases.get(lease_key(pool.network, address))
        if row is None:
            return
        row.ipam = row.auxiliary = False
        await self.settle(row)

    async def claim(self, name: str, address: str | None, ipam: bool) -> rows.Lease:
        """A lease of this address or any, kept; raises Refused, naming who holds it."""
        wanted = lease_key(name, address or "")
        if address is not None and (self._rows.leases.get(wanted) is not None or wanted in self._claiming):
            raise Refused(f"{address} is in use on this host in network {name}: choose another address")
        key = KEY_PREFIX + self._entropy(KEY_BYTES)
        self._claiming[wanted] = None
        try:
            lease = await self._leases.lease(name, key, address)
        except (MeshnetError, Refusal) as error:
            raise refused(error) from error
        finally:
            self._claiming.pop(wanted, None)
        plain = lease.address.partition("/")[0]
        row = rows.Lease(name, plain, key, lease.number, ipam, False, self._clock())
        await self._rows.leases.put(lease_key(name, plain), row)
        return row

    async def settle(self, row: rows.Lease) -> None:
        """Keep the lease while Docker's IPAM or an endpoint holds it, else end it; nothing when it has ended."""
        if self._rows.leases.get(lease_key(row.network, row.address)) is not row:
            return
        if row.ipam or row.auxiliary or self._rows.user_of(row.network, row.address) is not None:
            await self._rows.leases.put(lease_key(row.network, row.address), row)
            return
        await self._rows.leases.drop(lease_key(row.network, row.address))
        try:
            await self._leases.release(row.network, row.key)
        except (MeshnetError, Refusal) as error:
            log.warning("lease of %s cannot be ended now: %s", row.address, error)

    async def keep(self, row: rows.Lease) -> None:
        """The address is a gateway's or auxiliary: no endpoint will ever take it."""
        row.auxiliary = True
        await self._rows.leases.put(lease_key(row.network, row.address), row)

    async def _take_back(self, name: str, address: str) -> None:
        """A claim of an address that no endpoint has is the one that was lost on its way."""
        row = self._rows.leases.get(lease_key(name, address))
        lost = row is not None and not row.auxiliary and age(row.since, self._clock) > RECLAIM_S
        if row is not None and lost and self._rows.user_of(name, address) is None:
            row.ipam = False
            await self.settle(row)

    def _candidate(self, body: NetworkBody, pool: PoolId) -> str:
        """The next free address of the sub-pool that this peer owns, round-robin; raises Refused."""
        inner, outer = ipaddress.ip_network(pool.sub or pool.cidr), ipaddress.ip_network(pool.cidr)
        low, high = int(inner.network_address), int(inner.broadcast_address)
        low = max(low, int(outer.network_address) + 2)
        high = min(high, int(outer.broadcast_address) - (1 if outer.version == 4 else 0))
        leases = [lease for lease in self._node.leases() if lease.network == body.number]
        used = {int(ipaddress.ip_interface(lease.address).ip) for lease in leases}
        own = [tile for tile in self._node.ranges(body.number) if tile.owner == self._node.identity]
        spans = [(max(low, tile.start), min(high + 1, tile.end)) for tile in own]
        last = self._last.get(pool, low - 1)
        rotated = [(max(start, last + 1), end) for start, end in spans]
        rotated += [(start, min(end, last + 1)) for start, end in spans]
        make = ipaddress.IPv4Address if outer.version == 4 else ipaddress.IPv6Address
        for start, end in rotated:
            for value in range(start, end):
                if value not in used:
                    self._last[pool] = value
                    return str(make(value))
        if low > high:
            raise Refused(f"{inner} has no address to give")
        return str(make(low))  # whose owner can be asked, and is named if it refuses

    # --- time ------------------------------------------------------------------------------------------------------

    async def sweep(self) -> None:
        """Let go of what Docker asked for and never used."""
        for row in list(self._rows.leases.rows.values()):
            stale = age(row.since, self._clock) > UNUSED_S and not row.auxiliary
            if stale and row.ipam and self._rows.user_of(row.network, row.address) is None:
                log.info("network=%s address=%s was never used: released", row.network, row.address)
                row.ipam = False
                await self.settle(row)
        for pool, held in list(self._rows.held.rows.items()):
            if age(held.since, self._clock) > UNCLAIMED_S:
                held.holds = 1
                await self.release_pool(pool)

    async def reconcile(self, store: Store) -> None:
        """After a start: end leases of the core that no row of ours knows (a crash between the two)."""
        known = {row.key for row in self._rows.leases.rows.values()}
        names = {body.number: body.name for body in self._node.networks()}
        for key, _ in store.load(SPACE_LEASE):
            number, owner = int.from_bytes(key[:4], "big"), key[4:]
            if owner.startswith(KEY_PREFIX) and owner not in known and number in names:
                await self._leases.release(names[number], owner)


def subnet_name(cidr: str) -> str:
    """The name of the network that an explicit subnet alone identifies."""
    return "subnet-" + re.sub(r"[^0-9a-f]+", "-", cidr).strip("-")
