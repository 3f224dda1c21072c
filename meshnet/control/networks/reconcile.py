"""Leases and what really exists on this host, brought together again and again.

Purpose: a container that dies takes its end of the veth along and tells nobody; its address must become free without a
restart, and so must a lease, or a word to the mesh, that a crash left behind without anybody who knows of it.
Rule: what is missing at two looks, RECONCILE_GRACE_S or more apart, is ended; one look alone ends nothing, because
what is being made is not whole yet.  The host's own end of the veth decides, never what Docker says.  What an operator
claimed by hand has no interface and is left alone.
Flow: `step` (once a second, from `upkeep`) -> every CLAIM_S `adoption`, every LOOK_S a look -> endpoints, the core.
Reference: design §6 (reconciliation); docs/addresses.md.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, TypeVar

from gossip.node import Node
from meshnet.control.networks.adoption import Adoption
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.runner import NodeRunner
from meshnet.host.ports import NetlinkPort

__all__ = ["CLAIM_S", "LOOK_S", "MANUAL", "RECONCILE_GRACE_S", "Reconciler", "manual_key"]

log = logging.getLogger(__name__)

LOOK_S: Final = 60.0
RECONCILE_GRACE_S: Final = 60.0
CLAIM_S: Final = 10.0
MANUAL: Final = b"manual:"
"""The key of a lease that an operator claimed by hand begins so; the address follows."""

T = TypeVar("T")


def manual_key(address: str) -> bytes:
    """The core's key of an address claimed by hand."""
    return MANUAL + address.encode()


class Reconciler:
    """Looks after the leases of one host. clock: seconds; holders: who can name the leases they stand for."""

    def __init__(
        self,
        node: Node,
        runner: NodeRunner[Node],
        netlink: NetlinkPort,
        endpoints: Endpoints,
        adoption: Adoption,
        clock: Callable[[], float],
    ) -> None:
        self._node = node
        self._runner = runner
        self._netlink = netlink
        self._endpoints = endpoints
        self._adoption = adoption
        self._clock = clock
        self._look_at = self._claim_at = float("-inf")
        self._linkless: dict[bytes, float] = {}
        self._nameless: dict[tuple[int, bytes], float] = {}
        self._ghosts: dict[tuple[int, bytes], float] = {}
        self.holders: list[Callable[[], Iterable[tuple[int, bytes]]]] = [endpoints.held]
        """Each names network and key of every lease it stands for."""
        self.speakers: list[Callable[[], Iterable[tuple[int, bytes]]]] = [endpoints.said]
        """Each names network and MAC of every endpoint that it has told the mesh of, or is about to."""

    async def step(self) -> None:
        """Do what is due.  Raises HostError when the links cannot be listed, and then nothing is ended."""
        now = self._clock()
        if now >= self._claim_at:
            self._claim_at = now + CLAIM_S
            await self._adoption.find_lost()
            await self._adoption.claim_back()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            await self._look(now)

    async def _look(self, now: float) -> None:
        links = {link.name for link in await self._netlink.list_links(("mv",))}
        self._linkless, gone = _overdue(self._linkless, self._endpoints.without_link(links), now)
        for endpoint in gone:
            log.warning("endpoint=%s has had no link for %g s: released", endpoint.hex(), RECONCILE_GRACE_S)
            await self._endpoints.give_up(endpoint)
        self._nameless, lost = _overdue(self._nameless, self._unheld(), now)
        for network, key in lost:
            log.warning("network=%d lease=%s is nobody's: released", network, key.hex())
            await self._runner.step(partial(self._node.release, network, key))
        self._ghosts, stale = _overdue(self._ghosts, self._unspoken(), now)
        for network, mac in stale:
            log.warning("network=%d mac=%s is announced and nobody's: withdrawn", network, mac.hex(":"))
            await self._runner.step(partial(self._node.drop_endpoint, network, mac))

    def leaseless(self) -> list[tuple[int, bytes]]:
        """Network and key of what is used here without a lease, beside the endpoints that `adoption` asks for."""
        held = {(network, key) for network, key, _ in self._node.held()}
        named = [place for holder in self.holders if holder != self._endpoints.held for place in holder()]
        return [place for place in named if place not in held]

    def _unheld(self) -> list[tuple[int, bytes]]:
        held = {place for holder in self.holders for place in holder()}
        places = [(network, key) for network, key, _ in self._node.held()]
        return [place for place in places if place not in held and not place[1].startswith(MANUAL)]

    def _unspoken(self) -> list[tuple[int, bytes]]:
        spoken = {place for speaker in self.speakers for place in speaker()}
        own = self._node.identity
        places = [(body.network, body.mac) for owner, body in self._node.endpoints() if owner == own]
        return [place for place in places if place not in spoken]


def _overdue(before: dict[T, float], missing: Sequence[T], now: float) -> tuple[dict[T, float], list[T]]:
    """Since when each of `missing` has been so, and which of them for RECONCILE_GRACE_S."""
    since = {each: before.get(each, now) for each in missing}
    due = [each for each, at in since.items() if now - at >= RECONCILE_GRACE_S]
    return {each: at for each, at in since.items() if each not in due}, due
