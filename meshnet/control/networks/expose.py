"""The host itself on a network: an address on the bridge, and where wanted the way out for workloads.

Rule: an exposure is a row, durable before the address exists and gone after it; it is announced like any endpoint,
with the bridge's MAC.  `stop` deletes the bridges and keeps the rows, so a start brings the same addresses back.
Flow: `expose` -> lease -> row -> address on the bridge -> announced (-> masqueraded); `hide` goes the other way.
Reference: design §6, §8.
"""

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import msgspec

from gossip.errors import Refusal
from gossip.events import Lease
from gossip.node import Node
from gossip.state.address_bodies import EndpointBody, NetworkBody
from meshnet.control.networks.desk import NetworkDesk, clash
from meshnet.control.networks.networks import GSO_MAX_BYTES, Networks, bridge_name, device_mac
from meshnet.control.networks.passage import Passage
from meshnet.control.pending import Pending, refused
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["ENDPOINT_ID", "SPACE", "Exposures"]

log = logging.getLogger(__name__)

SPACE: Final = "expose"
ENDPOINT_ID: Final = b"this host"
"""The id of the host's own lease on each network."""


class Record(msgspec.Struct, array_like=True):
    """An exposure as it is stored; the key of its row is the network's number, 4 bytes."""

    address: str
    lease: int
    masquerade: bool


@dataclass(frozen=True, slots=True)
class Parts:
    """What an exposure is made with."""

    node: Node
    runner: NodeRunner[Node]
    pending: Pending
    store: Store
    netlink: NetlinkPort
    networks: Networks
    desk: NetworkDesk
    passage: Passage


class Exposures:
    """The host's own addresses, at most one a network."""

    def __init__(self, name: str, parts: Parts) -> None:
        self._name = name
        self._parts = parts
        self._records: dict[int, Record] = {
            int.from_bytes(key, "big"): msgspec.msgpack.decode(value, type=Record)
            for key, value in parts.store.load(SPACE)
        }
        self._changing = asyncio.Lock()
        parts.desk.users.append(self._users)

    async def expose(self, network: str, ip: str | None, masquerade: bool) -> dict[str, object]:
        """Give the host an address on the network; once more changes `masquerade` alone.  Raises MeshnetError."""
        body = await self._parts.desk.serve(network)
        async with self._changing:
            record = self._records.get(body.number)
            if record is None:
                record = await self._begin(body, ip, masquerade)
            else:
                _refuse_other_address(body, record, ip)
                await self._masquerade(body, record, masquerade)
        return {"schema": "meshnet.exposed/v1", **self._describe(body, record)}

    async def hide(self, network: str) -> dict[str, object]:
        """Take the host's address back.  Raises MeshnetError."""
        body = self._parts.desk.find(network)
        async with self._changing:
            record = None if body is None else self._records.get(body.number)
            if body is None or record is None:
                raise MeshnetError(
                    f"this host has no address on network {network[:63]!r}",
                    "it was hidden, or never exposed",
                    "see `meshnet network ls`",
                    ExitCode.NOT_FOUND,
                )
            await self._end(body.number, record)
        return {"schema": "meshnet.hidden/v1", **self._describe(body, record)}

    async def restore(self) -> None:
        """After a start: the same addresses on the bridges again; what is on no served network is given back."""
        for number, record in list(self._records.items()):
            body = next((body for body in self._parts.node.networks() if body.number == number), None)
            if body is None or not record.address or not self._parts.networks.is_served(number):
                await self._end(number, record)
                continue
            try:
                await self._put_on_bridge(body, record)
                await self._announce(body, record)
            except (HostError, MeshnetError) as error:
                log.warning("network=%s the host's address is not back: %s", body.name, error)

    async def hide_all(self) -> None:
        """The host leaves the mesh."""
        async with self._changing:
            for number, record in list(self._records.items()):
                await self._end(number, record)

    def masked(self) -> list[str]:
        """The pools that are masqueraded."""
        numbers = {number for number, record in self._records.items() if record.masquerade}
        return sorted({pool for body in self._parts.node.networks() if body.number in numbers for pool in body.pools})

    def address_on(self, number: int) -> str | None:
        """The host's address on a network, "a.b.c.d/len"."""
        record = self._records.get(number)
        return None if record is None or not record.address else record.address

    def held(self) -> Iterable[tuple[int, bytes]]:
        """Network and key of every lease of the host's own."""
        return [(number, ENDPOINT_ID) for number in self._records]

    def said(self) -> Iterable[tuple[int, bytes]]:
        """Network and MAC of the host's own endpoints."""
        return [(number, self._mac(number)) for number in self._records]

    # --- steps -----------------------------------------------------------------------------------------------------

    async def _begin(self, body: NetworkBody, ip: str | None, masquerade: bool) -> Record:
        await self._refuse_overlap(body)
        parts = self._parts
        record = self._records[body.number] = self._blank()
        try:
            # The row comes first: a lease that no row names would be lost for ever by a crash.
            await self._save(body.number, record)
            lease: Lease = await parts.pending.lease(parts.node, body.number, ENDPOINT_ID, ip)
            record.address, record.lease = lease.address, lease.number
            await self._save(body.number, record)
            await self._put_on_bridge(body, record)
            await self._announce(body, record)
            await self._masquerade(body, record, masquerade)
        except BaseException as error:
            await self._end(body.number, record)  # also of a task that is cancelled: nothing half-made may stay
            if isinstance(error, HostError):
                raise MeshnetError(error.what, error.why, error.fix) from error
            raise
        return record

    def _blank(self) -> Record:
        return Record("", 0, False)

    async def _refuse_overlap(self, body: NetworkBody) -> None:
        """The bridge's address brings a route: it must not take another's addresses, not even another network's."""
        own = bridge_name(body.number)
        routes = await self._parts.netlink.routes()
        route = clash(body.pools, [(cidr, device) for cidr, device in routes if device != own])
        if route is not None:
            raise MeshnetError(
                f"this host cannot have an address on network {body.name}",
                f"{route} is routed already, and overlaps {', '.join(body.pools)}",
                "hide it from the network that has that route, or remove the route",
            )

    async def _put_on_bridge(self, body: NetworkBody, record: Record) -> None:
        bridge = bridge_name(body.number)
        await self._parts.netlink.set_gso_max(bridge, GSO_MAX_BYTES)
        await self._parts.netlink.add_address(bridge, record.address)

    async def _announce(self, body: NetworkBody, record: Record) -> None:
        held = [(record.address, record.lease)]
        mac = self._mac(body.number)
        said = EndpointBody(network=body.number, mac=mac, addresses=held, name=f"host {self._name}"[:63])
        self._parts.networks.set_endpoint(body.number, mac, b"")
        try:
            await self._parts.runner.step(lambda now: self._parts.node.set_endpoint(said, now))
        except Refusal as refusal:
            raise refused(refusal) from None

    async def _masquerade(self, body: NetworkBody, record: Record, wanted: bool) -> None:
        if record.masquerade == wanted:
            return
        record.masquerade = wanted
        try:
            await self._parts.passage.masquerade(self.masked())
        except HostError as error:
            record.masquerade = not wanted
            raise MeshnetError(error.what, error.why, error.fix) from error
        await self._save(body.number, record)

    async def _end(self, number: int, record: Record) -> None:
        """Undo in the reverse order; the row goes last, so a crash half way is undone by the next start."""
        parts = self._parts
        if record.masquerade:
            record.masquerade = False
            try:
                await parts.passage.masquerade(self.masked())
            except HostError as error:
                log.warning("masquerading of network %d stays: %s", number, error)
        try:
            if record.address:
                await parts.netlink.remove_address(bridge_name(number), record.address)
        except HostError as error:
            log.warning("address=%s stays on its bridge: %s", record.address, error)
        mac = self._mac(number)
        parts.networks.drop_endpoint(number, mac, b"")
        await parts.runner.step(lambda now: parts.node.drop_endpoint(number, mac, now))
        await parts.runner.step(lambda now: parts.node.release(number, ENDPOINT_ID, now))
        await parts.store.commit([Row(SPACE, number.to_bytes(4, "big"), None)])
        self._records.pop(number, None)

    async def _save(self, number: int, record: Record) -> None:
        await self._parts.store.commit([Row(SPACE, number.to_bytes(4, "big"), msgspec.msgpack.encode(record))])

    def _mac(self, number: int) -> bytes:
        return device_mac(self._parts.node.identity, bridge_name(number))

    def _users(self, number: int) -> list[str]:
        record = self._records.get(number)
        return [] if record is None else [f"this host itself ({record.address})"]

    def _describe(self, body: NetworkBody, record: Record) -> dict[str, object]:
        return {
            "network": body.name,
            "address": record.address,
            "masquerade": record.masquerade,
            "device": bridge_name(body.number),
        }


def _refuse_other_address(body: NetworkBody, record: Record, ip: str | None) -> None:
    if ip is not None and record.address.partition("/")[0] != ip:
        raise MeshnetError(
            f"this host has an address on network {body.name} already",
            f"it is {record.address}",
            f"take it back first: meshnet hide --network {body.name}",
        )
