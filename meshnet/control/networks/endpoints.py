"""Endpoints of this host, one life cycle for everything that asks for one.

An endpoint is *made* (address leased, row stored, veth created), then *confirmed* once its end is where it belongs
and configured, and only then announced; or it is undone.  What is never confirmed is undone after PENDING_S, so a
client that dies half way leaves nothing.

Rule: the lease is durable before a device exists, and the device is gone before the address is released; after any
crash `reconcile` brings rows, leases and links together again, the links deciding what really exists.  A row without
a lease that counts is left to `adoption`.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Final

import msgspec

from gossip.errors import Refusal
from gossip.events import Lease
from gossip.node import Node
from gossip.state.address_bodies import EndpointBody, NetworkBody
from meshnet.control.api.requests import EndpointRequest
from meshnet.control.networks.alias import Alias
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoint_rows import SPACE, Record, host_link, is_unclaimed, lease_ids, peer_link
from meshnet.control.networks.networks import GSO_MAX_BYTES, Networks, bridge_name, device_mac
from meshnet.control.pending import Pending, refused
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["PENDING_S", "Endpoints", "endpoint_mac"]

log = logging.getLogger(__name__)

ID_BYTES: Final = 5
PENDING_S: Final = 30.0
MULTICAST: Final = "224.0.0.0/4"


class Endpoints:
    """All endpoints of this host."""

    def __init__(
        self,
        node: Node,
        runner: NodeRunner[Node],
        store: Store,
        netlink: NetlinkPort,
        networks: Networks,
        desk: NetworkDesk,
        pending: Pending,
        entropy: Callable[[int], bytes],
        mesh: bytes,
    ) -> None:
        self._mesh = mesh
        self._node = node
        self._runner = runner
        self._store = store
        self._netlink = netlink
        self._networks = networks
        self._desk = desk
        self._pending = pending
        self._entropy = entropy
        self.records: dict[bytes, Record] = {
            key: msgspec.msgpack.decode(value, type=Record) for key, value in store.load(SPACE)
        }
        self.lost: dict[bytes, str] = {}
        """Why an endpoint's lease did not count any more at this start, by id."""
        self._expiries: dict[bytes, asyncio.Task[None]] = {}
        self._changing: dict[bytes, asyncio.Lock] = {}
        desk.users.append(self._users)

    # --- verbs -----------------------------------------------------------------------------------------------------

    async def make(self, request: EndpointRequest) -> dict[str, object]:
        """Lease an address and make the link; the caller moves it and then confirms.  Raises MeshnetError."""
        self._refuse_clash(request)
        network = await self._desk.serve(request.network)
        self._refuse_clash(request)  # again: another may have come while the network was made
        endpoint = self._entropy(ID_BYTES)
        record = Record(
            number=network.number,
            mac=b"",
            addresses=[],
            leases=[],
            target=request.target,
            netns=request.netns,
            ifname=request.ifname,
            confirmed=False,
        )
        self.records[endpoint] = record
        try:
            # The row comes first: a lease that no row names would be lost for ever by a crash.
            await self.keep(endpoint, record)
            lease: Lease = await self._pending.lease(self._node, network.number, endpoint, request.ip)
            record.mac = endpoint_mac(network.number, lease.address)
            record.addresses, record.leases = [lease.address], [lease.number]
            await self.keep(endpoint, record)
            await self._create_link(endpoint, network, record)
        except BaseException:
            await self._try_undo(endpoint, record)
            raise
        self._expiries[endpoint] = asyncio.get_running_loop().create_task(
            self._expire(endpoint), name=f"expire-endpoint-{endpoint.hex()}"
        )
        return self._describe(endpoint, record)

    async def confirm(self, endpoint_id: str) -> dict[str, object]:
        """The link is in place: announce the endpoint.  Idempotent; raises MeshnetError."""
        endpoint, record = self._find(endpoint_id)
        async with self.changing(endpoint):
            if self.records.get(endpoint) is not record:
                raise _unknown(endpoint_id)
            if (task := self._expiries.pop(endpoint, None)) is not None:
                task.cancel()
            record.confirmed = True
            await self.keep(endpoint, record)
            await self.announce(endpoint, record)
        return self._describe(endpoint, record)

    async def delete(self, endpoint_id: str) -> dict[str, object]:
        """Take the link away and give the address back.  Raises MeshnetError for an unknown id."""
        endpoint, record = self._find(endpoint_id)
        async with self.changing(endpoint):
            if self.records.get(endpoint) is record:
                await self._undo(endpoint, record)
        answer = self._describe(endpoint, record)
        answer["schema"] = "meshnet.detached/v1"
        return answer

    async def delete_all(self) -> int:
        """The host leaves the mesh: every endpoint goes and gives its address back; returns how many there were."""
        gone = 0
        for endpoint, record in list(self.records.items()):
            async with self.changing(endpoint):
                if self.records.get(endpoint) is record:
                    await self._try_undo(endpoint, record)
                    gone += 1
        return gone

    def listed(self, netns: str | None = None) -> list[dict[str, object]]:
        """Every endpoint, or those of one namespace."""
        return [
            self._describe(endpoint, record)
            for endpoint, record in sorted(self.records.items())
            if netns is None or record.netns == netns
        ]

    async def reconcile(self, keep: Collection[str] = ()) -> None:
        """After a start: release what has no link behind it, delete links nobody knows (`keep`: somebody else does),
        announce the rest.
        """
        links = {link.name for link in await self._netlink.list_links(("mv",))}
        for endpoint, record in list(self.records.items()):
            served = self._networks.is_served(record.number) or is_unclaimed(record)
            if host_link(endpoint) not in links or not record.confirmed or not served:
                log.info("endpoint=%s has no link any more: released", endpoint.hex())
                await self._try_undo(endpoint, record)
            elif not is_unclaimed(record):
                await self._netlink.attach_to_bridge(host_link(endpoint), bridge_name(record.number))
                await self._announce_or_lose(endpoint, record)
        known = {host_link(endpoint) for endpoint in self.records}
        for name in sorted(links - known - set(keep)):
            log.info("link=%s belongs to no endpoint: deleted", name)
            await self._netlink.delete_link(name)

    def held(self) -> Iterable[tuple[int, bytes]]:
        """Network and key of every lease that an endpoint of this host stands for."""
        for endpoint, record in self.records.items():
            yield from ((record.number, key) for key in lease_ids(endpoint, record))

    def said(self) -> Iterable[tuple[int, bytes]]:
        """Network and MAC of every endpoint of this host."""
        return [(record.number, record.mac) for record in self.records.values()]

    def without_link(self, links: Collection[str]) -> list[bytes]:
        """The confirmed endpoints whose end of the veth is not among `links`."""
        rows = sorted(self.records.items())
        return [endpoint for endpoint, record in rows if record.confirmed and host_link(endpoint) not in links]

    async def give_up(self, endpoint: bytes) -> None:
        """End an endpoint that is gone from this host; nothing when it is unknown."""
        async with self.changing(endpoint):
            record = self.records.get(endpoint)
            if record is not None:
                await self._try_undo(endpoint, record)

    async def remove_all(self) -> None:
        """The mesh is being stopped on this host: links go, addresses stay leased until `reconcile`."""
        for task in self._expiries.values():
            task.cancel()
        for link in await self._netlink.list_links(("mv",)):
            await self._netlink.delete_link(link.name)

    async def lease(self, network: str, key: bytes, address: str | None) -> Lease:
        """Lease an address of a known network for a key of the caller's own (up to 64 bytes); the same for the same
        key.  Raises MeshnetError.
        """
        body = self._desk.known(network)
        return await self._pending.lease(self._node, body.number, key, address)

    async def release(self, network: str, key: bytes) -> None:
        """End a key's lease; nothing when it has none, or the network is gone."""
        body = self._desk.find(network)
        if body is not None:
            await self._runner.step(lambda now: self._node.release(body.number, key, now))

    # --- steps -----------------------------------------------------------------------------------------------------

    def _refuse_clash(self, request: EndpointRequest) -> None:
        for record in self.records.values():
            if record.netns == request.netns and record.ifname == request.ifname:
                raise MeshnetError(
                    f"{request.target} already has an interface {request.ifname}",
                    "it was attached before",
                    f"detach it first, or choose another name: meshnet attach --ifname NAME {request.target}",
                )

    def _users(self, number: int) -> list[str]:
        return [
            f"endpoint {endpoint.hex()} ({record.target}, {', '.join(record.addresses)})"
            for endpoint, record in sorted(self.records.items())
            if record.number == number
        ]

    async def _create_link(self, endpoint: bytes, network: NetworkBody, record: Record) -> None:
        try:
            await self._netlink.create_veth(
                host_link(endpoint),
                peer_link(endpoint),
                mtu=network.mtu,
                mac=record.mac,
                bridge=bridge_name(network.number),
                gso_max_size=GSO_MAX_BYTES,
                alias=self._alias(endpoint, network, record),
            )
        except HostError as error:
            raise MeshnetError(error.what, error.why, error.fix) from error

    async def announce(self, endpoint: bytes, record: Record) -> None:
        """Tell the forwarder and the mesh of an endpoint that is in place.  Raises MeshnetError."""
        held = list(zip(record.addresses, record.leases, strict=True))
        body = EndpointBody(network=record.number, mac=record.mac, addresses=held, name=record.target[:63])
        self._networks.set_endpoint(record.number, record.mac, b"")
        try:
            await self._runner.step(lambda now: self._node.set_endpoint(body, now))
        except Refusal as refusal:
            raise refused(refusal) from None

    async def _announce_or_lose(self, endpoint: bytes, record: Record) -> None:
        """At a start: an address that is not this host's any more must not keep the daemon from starting."""
        try:
            await self.announce(endpoint, record)
        except MeshnetError as error:
            log.warning("endpoint=%s is not announced: %s", endpoint.hex(), error)
            if error.code is not ExitCode.PERMISSION:  # a host that does not count keeps what it has until it does
                self._networks.drop_endpoint(record.number, record.mac, b"")
                self.lost[endpoint], record.leases = f"{error.what}: {error.why}", []
                await self.keep(endpoint, record)

    async def _try_undo(self, endpoint: bytes, record: Record) -> None:
        """Undo where nobody waits for it; what cannot be undone now is when the daemon starts again."""
        try:
            await self._undo(endpoint, record)
        except MeshnetError as error:
            log.warning("endpoint=%s stays: %s", endpoint.hex(), error)

    async def _undo(self, endpoint: bytes, record: Record) -> None:
        """Raises MeshnetError, and keeps lease and row, when the link cannot be deleted or a write is not durable."""
        if (task := self._expiries.pop(endpoint, None)) is not None and task is not asyncio.current_task():
            task.cancel()
        try:
            await self._netlink.delete_link(host_link(endpoint))
        except HostError as error:
            raise MeshnetError(error.what, error.why, error.fix) from error
        self._networks.drop_endpoint(record.number, record.mac, b"")
        await self._runner.step(lambda now: self._node.drop_endpoint(record.number, record.mac, now))
        for key in lease_ids(endpoint, record):
            await self._runner.step(partial(self._node.release, record.number, key))
        await self._store.commit([Row(SPACE, endpoint, None)])
        self.records.pop(endpoint, None)
        self.lost.pop(endpoint, None)
        self._changing.pop(endpoint, None)

    async def _expire(self, endpoint: bytes) -> None:
        await asyncio.sleep(PENDING_S)
        async with self.changing(endpoint):
            record = self.records.get(endpoint)
            if record is not None and not record.confirmed:
                log.warning("endpoint=%s was never confirmed: undone", endpoint.hex())
                await self._try_undo(endpoint, record)

    # --- rows ------------------------------------------------------------------------------------------------------

    def changing(self, endpoint: bytes) -> asyncio.Lock:
        """Held by whoever changes the endpoint."""
        return self._changing.setdefault(endpoint, asyncio.Lock())

    async def keep(self, endpoint: bytes, record: Record) -> None:
        """Store an endpoint's row, durable on return."""
        self.records[endpoint] = record
        await self._store.commit([Row(SPACE, endpoint, msgspec.msgpack.encode(record))])

    def _find(self, endpoint_id: str) -> tuple[bytes, Record]:
        try:
            endpoint = bytes.fromhex(endpoint_id)
        except ValueError:
            raise _unknown(endpoint_id) from None
        record = self.records.get(endpoint)
        if record is None:
            raise _unknown(endpoint_id)
        return endpoint, record

    def _describe(self, endpoint: bytes, record: Record) -> dict[str, object]:
        body = next((body for body in self._node.networks() if body.number == record.number), None)
        return {
            "schema": "meshnet.endpoint/v1",
            "endpoint": endpoint.hex(),
            "network": body.name if body is not None else str(record.number),
            "target": record.target,
            "netns": record.netns,
            "link": peer_link(endpoint),
            "ifname": record.ifname,
            "mac": record.mac.hex(":"),
            "addresses": record.addresses,
            "mtu": body.mtu if body is not None else 0,
            "routes": [MULTICAST],
            "confirmed": record.confirmed,
            "claimed": not is_unclaimed(record),
        }

    def _alias(self, endpoint: bytes, network: NetworkBody, record: Record) -> str:
        where = (record.netns, record.ifname, record.target)
        addresses = tuple(record.addresses)
        return Alias(self._mesh, network.name, network.number, addresses, record.mac, endpoint, *where).text()


def endpoint_mac(network: int, address: str) -> bytes:
    """The MAC of whoever has `address` ("a.b.c.d/len"): when the address moves, neighbours' tables stay right."""
    return device_mac(network.to_bytes(4), address.partition("/")[0])


def _unknown(endpoint_id: str) -> MeshnetError:
    return MeshnetError(
        f"there is no endpoint {endpoint_id[:40]!r}",
        "it was detached, or never made on this host",
        "see `meshnet status` for this host's endpoints",
        ExitCode.NOT_FOUND,
    )
