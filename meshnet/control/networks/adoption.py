"""Endpoints that this host has without a lease that counts: found by their links, claimed back, shown until then.

Purpose: state that was lost (a copy a few minutes old, a disk) must not let an address in use be given out anew, nor
cut off who uses it.
Rule: what a link's alias says is taken on as a row before anything is allocated, and its address asked for before the
API opens; while nobody can answer for the address the row stays *unclaimed*: on no announcement, asked for again every
few seconds, named in `meshnet ipam check`.  Whether an address may be had is the core's to say, never the alias's.
Flow: `adopt` at a start -> `claim_back` then, and later by `reconcile`.  Reference: design §6; docs/addresses.md.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import Final

from gossip.node import Node
from meshnet.control.networks.alias import Alias
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoint_rows import Record, host_link, is_unclaimed, lease_ids
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.networks import bridge_name
from meshnet.control.pending import Pending
from meshnet.errors import MeshnetError
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["AT_ONCE", "Adoption"]

log = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Endpoints whose addresses are asked for at one time: each may wait for another peer's answer."""
MAX_ADOPTED: Final = 4096
"""Rows made of links at one start; a host with more endpoints than this lost more than its rows."""
PROBLEMS_SHOWN: Final = 8


class Adoption:
    """The unclaimed endpoints of this host. mesh: 16 bytes."""

    def __init__(
        self, mesh: bytes, node: Node, netlink: NetlinkPort, desk: NetworkDesk, pending: Pending, endpoints: Endpoints
    ) -> None:
        self._mesh = mesh
        self._node = node
        self._netlink = netlink
        self._desk = desk
        self._pending = pending
        self._endpoints = endpoints
        self._problems: dict[bytes, str] = {}

    async def adopt(self, keep: Collection[str] = ()) -> None:
        """After a start: make rows of the links that say whose they are and have none, except those to `keep`.

        Raises HostError when the links cannot be listed.
        """
        for link in (await self._netlink.list_links(("mv",)))[:MAX_ADOPTED]:
            found = None if link.name in keep else Alias.parse(link.alias, self._mesh)
            if found is None or host_link(found.endpoint) != link.name or found.endpoint in self._endpoints.records:
                continue
            record = Record(
                number=found.number,
                mac=found.mac,
                addresses=list(found.addresses),
                leases=[],
                target=found.target or found.netns or "unknown",
                netns=found.netns,
                ifname=found.ifname,
                confirmed=True,
            )
            await self._endpoints.keep(found.endpoint, record)
            log.warning("link=%s has no row: adopted with %s", link.name, ", ".join(found.addresses))

    async def find_lost(self) -> None:
        """Endpoints whose leases the core has ended (their range went to another peer) are unclaimed from now on."""
        held = self._held()
        for endpoint in [key for key, record in self._endpoints.records.items() if _is_lost(record, held)]:
            async with self._endpoints.changing(endpoint):
                record = self._endpoints.records.get(endpoint)
                if record is None or not _is_lost(record, self._held()):
                    continue
                log.warning("endpoint=%s has lost its lease of %s", endpoint.hex(), ", ".join(record.addresses))
                self._endpoints.lost[endpoint] = "its lease ended: the address went to another peer"
                record.leases = []
                await self._endpoints.keep(endpoint, record)

    def _held(self) -> set[tuple[int, str]]:
        return {(lease.network, lease.address) for lease in self._node.leases()}

    async def claim_back(self) -> None:
        """Ask for the addresses of all unclaimed endpoints, AT_ONCE at a time; who gets them is announced."""
        waiting = [endpoint for endpoint, _ in self._unclaimed()]
        self._problems = {endpoint: why for endpoint, why in self._problems.items() if endpoint in waiting}
        for start in range(0, len(waiting), AT_ONCE):
            await asyncio.gather(*map(self._try, waiting[start : start + AT_ONCE]))

    def described(self) -> list[dict[str, object]]:
        """Every unclaimed endpoint as JSON says it, with why it has no lease."""
        return [
            {
                "endpoint": endpoint.hex(),
                "network": self._desk.name_of(record.number),
                "target": record.target,
                "addresses": record.addresses,
                "why": self._why(endpoint),
            }
            for endpoint, record in self._unclaimed()
        ]

    def notices(self) -> list[dict[str, object]]:
        """What an operator should know of them."""
        return [
            {
                "what": f"endpoint {endpoint.hex()} ({record.target}) has no lease of {', '.join(record.addresses)}",
                "why": self._why(endpoint),
                "fix": "it is asked for again and again; else detach it and attach it anew",
            }
            for endpoint, record in self._unclaimed()[:PROBLEMS_SHOWN]
        ]

    def _unclaimed(self) -> list[tuple[bytes, Record]]:
        return [row for row in sorted(self._endpoints.records.items()) if is_unclaimed(row[1])]

    def _why(self, endpoint: bytes) -> str:
        return self._problems.get(endpoint) or self._endpoints.lost.get(endpoint, "it was not asked for yet")

    async def _try(self, endpoint: bytes) -> None:
        async with self._endpoints.changing(endpoint):
            record = self._endpoints.records.get(endpoint)
            if record is None or not is_unclaimed(record):
                return
            try:
                await self._claim(endpoint, record)
            except (MeshnetError, HostError) as error:
                self._problems[endpoint] = f"{error.what}: {error.why}"
                return
            self._problems.pop(endpoint, None)
            log.info("endpoint=%s has a lease again: %s", endpoint.hex(), ", ".join(record.addresses))

    async def _claim(self, endpoint: bytes, record: Record) -> None:
        body = next((body for body in self._node.networks() if body.number == record.number), None)
        if body is None:
            why = f"no peer told of network number {record.number}"
            raise MeshnetError("its network is not known here", why, "wait until this host reaches the others")
        await self._desk.serve(body.name)
        await self._netlink.attach_to_bridge(host_link(endpoint), bridge_name(record.number))
        numbers: list[int] = []
        for key, text in zip(lease_ids(endpoint, record), record.addresses, strict=True):
            lease = await self._pending.lease_in_use(self._node, record.number, key, text.partition("/")[0])
            numbers.append(lease.number)
        record.leases = numbers
        await self._endpoints.keep(endpoint, record)
        await self._endpoints.announce(endpoint, record)


def _is_lost(record: Record, held: Collection[tuple[int, str]]) -> bool:
    """Whether the row says that it has leases, and the core has not all of them."""
    whole = record.confirmed and not is_unclaimed(record)
    return whole and any((record.number, address) not in held for address in record.addresses)
