"""What is kept for Docker: networks, endpoints, holds on pools and leases, each a row of the space "docker".

Rule: a row is durable before Docker hears of what it says (Docker repeats nothing after a restart), and memory holds
exactly what was written.  Times are seconds of CLOCK_BOOTTIME; one that lies ahead of the clock is of an earlier boot.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Final, Generic, TypeVar

import msgspec

from meshnet.control.store.row import Row
from meshnet.control.store.store import Store

__all__ = [
    "SPACE",
    "Endpoint",
    "Held",
    "Lease",
    "Network",
    "Rows",
    "Shelf",
    "age",
    "endpoint_key",
    "lease_key",
    "link_id",
]

SPACE: Final = "docker"
BEYOND: Final = float("inf")


class Held(msgspec.Struct, array_like=True):
    """Holds on a pool that no network uses yet; `founded`: the network came to be by them."""

    network: str
    cidr: str
    holds: int
    founded: bool
    since: float


class Network(msgspec.Struct, array_like=True):
    """A network of Docker's: `network` of the mesh, "" for one of this host alone; `ours`: by our IPAM.

    `unserve`: Docker is why this host serves it.
    """

    network: str
    number: int
    pools: list[str]
    mtu: int
    ours: bool
    unserve: bool


class Endpoint(msgspec.Struct, array_like=True):
    """A container's end: its MAC, addresses with length, whether Docker has it in a container, since when."""

    network: str
    mac: bytes
    addresses: list[str]
    joined: bool
    since: float


class Lease(msgspec.Struct, array_like=True):
    """An address of a network of the mesh, with the core's key for it and the number of the lease.

    `ipam`: Docker's IPAM calls hold it; `auxiliary`: for good, no endpoint takes it.
    """

    network: str
    address: str
    key: bytes
    lease: int
    ipam: bool
    auxiliary: bool
    since: float


T = TypeVar("T", bound=msgspec.Struct)


class Shelf(Generic[T]):
    """All rows of one kind, by their id."""

    def __init__(self, store: Store, kind: bytes, shape: type[T], loaded: list[tuple[bytes, bytes]]) -> None:
        self._store = store
        self._kind = kind
        self.rows: dict[str, T] = {
            key[len(kind) :].decode(): msgspec.msgpack.decode(value, type=shape)
            for key, value in loaded
            if key.startswith(kind)
        }

    def get(self, row: str) -> T | None:
        """The row of this id."""
        return self.rows.get(row)

    async def put(self, row: str, value: T) -> None:
        """Keep a row; durable on return.  Raises StoreError, and memory is then ahead of a dead disk."""
        self.rows[row] = value
        await self._store.commit([Row(SPACE, self._kind + row.encode(), msgspec.msgpack.encode(value))])

    async def drop(self, row: str) -> None:
        """Forget a row; nothing when it is unknown."""
        if self.rows.pop(row, None) is not None:
            await self._store.commit([Row(SPACE, self._kind + row.encode(), None)])


class Rows:
    """The shelves.  Keys: pool id, network id, `endpoint_key`, "network address"."""

    def __init__(self, store: Store) -> None:
        loaded = store.load(SPACE)
        self.held = Shelf(store, b"held/", Held, loaded)
        self.networks = Shelf(store, b"network/", Network, loaded)
        self.endpoints = Shelf(store, b"endpoint/", Endpoint, loaded)
        self.leases = Shelf(store, b"lease/", Lease, loaded)

    def in_use(self, network: str, cidr: str) -> bool:
        """Whether a network of Docker's on this host holds the pool, or is about to."""
        if any(row.network == network and cidr in row.pools for row in self.networks.rows.values()):
            return True
        return any(row.network == network and row.cidr == cidr and row.holds for row in self.held.rows.values())

    def user_of(self, network: str, address: str) -> str | None:
        """The key of the endpoint that uses an address (without length) of a network of the mesh."""
        for key, row in self.endpoints.rows.items():
            home = self.networks.get(row.network)
            here = home is not None and home.network == network
            if here and any(text.partition("/")[0] == address for text in row.addresses):
                return key
        return None

    def held_in(self, numbers: Mapping[str, int]) -> list[tuple[int, bytes]]:
        """Network and the core's key of every lease; `numbers`: name → number of the networks that are known."""
        return [(numbers[row.network], row.key) for row in self.leases.rows.values() if row.network in numbers]

    def said(self) -> list[tuple[int, bytes]]:
        """Network and MAC of every endpoint that the mesh is told of."""
        homes = [(self.networks.get(row.network), row.mac) for row in self.endpoints.rows.values()]
        return [(home.number, mac) for home, mac in homes if home is not None and home.network]

    def described(self) -> dict[str, object]:
        """All of it, as JSON says it."""
        networks = [
            {"id": key, "network": row.network or None, "subnets": row.pools, "mtu": row.mtu, "alone": not row.network}
            for key, row in sorted(self.networks.rows.items())
        ]
        endpoints = [
            {
                "id": key.partition(" ")[2],
                "docker_network": row.network,
                "mac": row.mac.hex(":"),
                "addresses": row.addresses,
                "joined": row.joined,
                "link": f"mv{link_id(key)}",
            }
            for key, row in sorted(self.endpoints.rows.items())
        ]
        leases = [{"network": row.network, "address": row.address} for _, row in sorted(self.leases.rows.items())]
        return {"networks": networks, "endpoints": endpoints, "leases": leases}


def lease_key(network: str, address: str) -> str:
    """The id of a lease's row."""
    return f"{network} {address}"


def endpoint_key(network: str, endpoint: str) -> str:
    """The id of an endpoint's row."""
    return f"{network} {endpoint}"


def link_id(key: str) -> str:
    """10 hex digits that name an endpoint's links, from its row's id."""
    return hashlib.blake2s(key.encode(), digest_size=5).hexdigest()


def age(since: float, clock: Callable[[], float]) -> float:
    """Seconds since then; without end when it was before this boot."""
    now = clock()
    return now - since if since <= now else BEYOND
