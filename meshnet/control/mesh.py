"""The mesh as this host sees it: where gossip's events go.

Rule: events are told in order and never wait; what takes time (making a network's devices) becomes a task of its own,
awaited by whoever needs its end.
"""

import asyncio
import logging
from collections.abc import Coroutine

from gossip.events import (
    EndpointGone,
    EndpointSet,
    Event,
    NetworkGone,
    NetworkSeen,
    PeerLeft,
    PeerSeen,
    Reachable,
    Trouble,
)
from meshnet.control.desk import NetworkDesk
from meshnet.control.links import Links
from meshnet.control.networks import Networks
from meshnet.control.pending import Pending
from meshnet.control.sessions import Sessions

__all__ = ["NOTICES_KEPT", "Mesh"]

log = logging.getLogger(__name__)

NOTICES_KEPT = 32


class Mesh:
    """Hands each event to the part it concerns; `links` is set once it exists."""

    def __init__(self, peer: bytes, sessions: Sessions, networks: Networks) -> None:
        self._peer = peer
        self._sessions = sessions
        self._networks = networks
        self._making: dict[asyncio.Task[None], None] = {}
        self.links: Links | None = None
        self.desk: NetworkDesk | None = None
        self.pending: Pending | None = None
        self.statics: dict[bytes, bytes] = {}
        """X25519 key → identity of every known peer."""
        self.notices: list[dict[str, object]] = []

    def send(self, link: int, message: bytes) -> None:
        """A message of the node for a link."""
        if self.links is not None:
            self.links.send(link, message)

    def tell(self, event: Event) -> None:
        """Take one event of the node."""
        if self.links is not None and self.links.tell(event):
            return
        if self.pending is not None and self.pending.tell(event):
            return
        match event:
            case PeerSeen(peer, body):
                self.statics[body.static] = peer
                self._sessions.know(peer, body.static, body.addresses, body.boot)
            case PeerLeft(peer):
                self._sessions.forget(peer)
            case NetworkSeen(body):
                if self.desk is not None and self.desk.is_wanted(body):
                    self._soon(f"serve-{body.name}", self.desk.seen(body))
            case NetworkGone(body):
                if self.desk is not None:
                    self._soon(f"end-{body.name}", self.desk.gone(body))
            case EndpointSet(owner, body):
                self._networks.set_endpoint(body.network, body.mac, owner)
            case EndpointGone(owner, network, mac):
                self._networks.drop_endpoint(network, mac, b"" if owner == self._peer else owner)
            case Reachable(peer, reachable):
                log.info("peer=%s reachable=%s", peer.hex()[:16], reachable)
            case Trouble(what):
                self.notice("something is wrong in the mesh", what, "see `meshnet status`")
            case _:
                pass

    async def settle(self) -> None:
        """Wait until every network that is being made exists; raises what making one raised."""
        for task in list(self._making):
            await task

    def _soon(self, name: str, work: Coroutine[object, object, None]) -> None:
        """Do what takes time beside the events; a failure is a notice, and raised by `settle` while that waits."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._making[task] = None
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._making.pop(task, None)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self.notice(f"{task.get_name()} failed", str(error), "see `meshnet network ls` and the daemon's log")

    def notice(self, what: str, why: str, fix: str) -> None:
        """Something an operator should read in `status`; the last NOTICES_KEPT stay."""
        log.warning("%s: %s", what, why)
        entry: dict[str, object] = {"what": what, "why": why, "fix": fix}
        if entry not in self.notices:
            self.notices.append(entry)
            del self.notices[:-NOTICES_KEPT]
