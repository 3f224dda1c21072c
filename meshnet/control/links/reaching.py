"""How this host finds its peers beside gossip: by addresses an operator adds, and by those that worked before.

Purpose: a peer behind a NAT, or whose address changed while nobody told, is found; after a restart the mesh is found
where it was, whatever became of the addresses that gossip tells.
Rule: what an operator adds is stored before it counts and before it is answered. What is learned by itself is stored
at most once in WRITE_S. A peer with added addresses that nobody reaches is dialled every REDIAL_S, as gossip may know
no address of it at all.
Flow: `begin` dials whom this host was linked with; `connect`, `forget` by the operator; `step` once a second;
`reached`, `gone` by events; `close` at the end.
Reference: docs/membership.md (peers that cannot be reached).
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import random
from collections.abc import Callable, Sequence
from typing import Final

from gossip.events import Dial, PeerView
from gossip.node import Node
from meshnet.control.links.links import Links
from meshnet.control.links.ways import Ways
from meshnet.control.names import find_peer
from meshnet.control.runner import Commits, NodeRunner
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["CONNECT_WITHIN_S", "REDIAL_S", "REMEMBERED_FIRST", "WRITE_S", "Reaching"]

log = logging.getLogger(__name__)

CONNECT_WITHIN_S: Final = 5.0
WRITE_S: Final = 10.0
REDIAL_S: Final = 30.0
REDIALS_PER_STEP: Final = 2
REMEMBERED_FIRST: Final = 6
"""Peers that are dialled at the start because links to them came up before: as many as gossip wants."""


class Reaching:
    """links: set once they exist. readdress(peer): the ways to it have changed. clock: seconds, monotonic."""

    def __init__(
        self,
        runner: NodeRunner[Node],
        store: Commits,
        ways: Ways,
        readdress: Callable[[PeerView], None],
        clock: Callable[[], float],
        rng: random.Random,
    ) -> None:
        self.links: Links | None = None
        self._runner = runner
        self._store = store
        self._ways = ways
        self._readdress = readdress
        self._clock = clock
        self._rng = rng
        self._writing = asyncio.Lock()
        self._write_at = clock() + WRITE_S
        self._redial_at: dict[bytes, float] = {}

    def begin(self) -> None:
        """Dial whom this host was linked with when it last ran."""
        for peer in self._ways.recent(REMEMBERED_FIRST):
            self._dial(peer)

    # --- what an operator asks for -----------------------------------------------------------------------------------

    async def connect(self, text: str, addresses: Sequence[str]) -> dict[str, object]:
        """Add addresses of a peer, durable, and dial it.  meshnet.peer-addresses/v1, with what became of each address.

        With a link to it already, nothing is dialled.

        Raises MeshnetError: an unknown, ambiguous or departed peer, this host itself, an address that is none, too
        many addresses, a store that takes no writes.
        """
        wanted = [_canonical(address) for address in addresses]
        view = self._known(text)
        peer = view.identity
        if view.left or view.revoked:
            why = "it left the mesh" if view.left else "it is not a member any more"
            raise MeshnetError(f"{view.body.name} cannot be connected to", why, "`meshnet peer ls` lists the peers")
        async with self._writing:
            added = self._ways.more(peer, wanted)
            if added != self._ways.added(peer):
                await self._store.commit([self._ways.row(peer, added)])
                self._ways.put(peer, added)
        self._readdress(view)
        links = self.links
        if links is None or links.linked(peer):
            return {**self._answer(view, {}), "linked_before": links is not None}
        dial = Dial(peer, view.body.static, list(view.body.addresses))
        return {**self._answer(view, await links.reach(dial, CONNECT_WITHIN_S) or {}), "linked_before": False}

    async def forget(self, text: str, addresses: Sequence[str]) -> dict[str, object]:
        """Take added addresses of a peer back, durable; none given: all.  meshnet.peer-addresses/v1."""
        unwanted = [_canonical(address) for address in addresses]
        view = self._known(text)
        peer = view.identity
        async with self._writing:
            kept = self._ways.fewer(peer, unwanted)
            if kept != self._ways.added(peer):
                await self._store.commit([self._ways.row(peer, kept)])
                self._ways.put(peer, kept)
            self._ways.unlearn(peer, unwanted)
            await self._write()
        if not view.left and not view.revoked:
            self._readdress(view)
        return self._answer(view, {})

    # --- what happens by itself --------------------------------------------------------------------------------------

    def reached(self, peer: bytes, address: str) -> None:
        """A link to the peer, opened from here, came up over this address."""
        self._ways.reached(peer, address)

    def gone(self, peer: bytes) -> None:
        """The peer left for good."""
        self._ways.forget(peer)
        self._redial_at.pop(peer, None)

    async def step(self) -> None:
        """Dial whom nobody reaches, and store what was learned.  Raises MeshnetError when it cannot be stored."""
        now = self._clock()
        self._redial(now)
        if now >= self._write_at and self._ways.changes():
            self._write_at = now + WRITE_S
            async with self._writing:
                await self._write()

    async def close(self) -> None:
        """Store what was learned and not stored yet."""
        try:
            async with self._writing:
                await self._write()
        except MeshnetError as error:
            log.warning("the last ways to peers are not stored: %s", error)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _known(self, text: str) -> PeerView:
        view = find_peer(self._runner.node.peers(), text)
        if view.identity == self._runner.node.identity:
            raise MeshnetError("this host needs no way to itself", "it is the host you are on", _OTHER, ExitCode.USAGE)
        return view

    def _answer(self, view: PeerView, tried: dict[str, str]) -> dict[str, object]:
        return {
            "schema": "meshnet.peer-addresses/v1",
            "name": view.body.name,
            "id": view.identity.hex(),
            "addresses": list(self._ways.added(view.identity)),
            "linked": self.links is not None and self.links.linked(view.identity),
            "tried": [{"address": address, "problem": why or "no answer"} for address, why in tried.items()],
        }

    async def _write(self) -> None:
        rows = self._ways.changes()
        if rows:
            await self._store.commit(list(rows))
            self._ways.stored(rows)

    def _redial(self, now: float) -> None:
        room = REDIALS_PER_STEP
        for peer in self._ways.peers():
            if now < self._redial_at.get(peer, now) or room <= 0:
                continue
            self._redial_at[peer] = now + REDIAL_S * self._rng.uniform(0.5, 1.0)
            view = self._runner.node.peer(peer)
            if view is not None and not view.reachable and not view.left and not view.revoked:
                room -= 1
                self._dial(peer)

    def _dial(self, peer: bytes) -> None:
        """Dial a peer, unless there is a link or none is to be."""
        view = self._runner.node.peer(peer)
        if view is None or view.left or view.revoked or self.links is None or self.links.linked(peer):
            return
        self.links.tell(Dial(peer, view.body.static, list(view.body.addresses)))


_OTHER: Final = "name another peer; `meshnet peer ls` lists them"


def _canonical(address: str) -> str:
    """The spelling "host:port" that gossip uses too; raises MeshnetError for what is no literal address with a port."""
    host, _, port = address.rpartition(":")
    try:
        literal = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
            raise ValueError
        if literal.is_unspecified or literal.is_multicast:
            raise ValueError
    except ValueError:
        raise MeshnetError(
            f"{address[:80]!r} is no address to connect to",
            "it is an IPv4 or IPv6 address of a host, with a port; names are not resolved",
            "for example 192.0.2.7:6799 or [2001:db8::7]:6799",
            ExitCode.USAGE,
        ) from None
    return f"[{literal}]:{int(port)}" if literal.version == 6 else f"{literal}:{int(port)}"
