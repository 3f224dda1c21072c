"""The mesh as this host sees it: where gossip's events go.

Rule: events are told in order and never wait; what takes time (making a network's devices) becomes a task of its own,
awaited by whoever needs its end.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

from gossip.events import (
    Cloned,
    EndpointGone,
    EndpointSet,
    Event,
    Heard,
    NetworkGone,
    NetworkSeen,
    PeerLeft,
    PeerRevoked,
    PeerSeen,
    PeerView,
    Reachable,
    Readmitted,
    SecretRotation,
    Trouble,
)
from gossip.state.bodies import PeerBody
from meshnet.control.handshakes.sessions import Sessions
from meshnet.control.links.links import Links
from meshnet.control.links.statics import Statics
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.networks import Networks
from meshnet.control.pending import Pending

__all__ = ["NOTICES_KEPT", "Mesh"]

log = logging.getLogger(__name__)

NOTICES_KEPT = 32


class Mesh:
    """Hands each event to the part it concerns; `links` is set once it exists.

    clock: seconds, monotonic. on_rotation(): the mesh secret's rotation is further than before. peers(): all that
    gossip knows. on_gone(peer): it left for good. ways(peer, addresses): where to try a peer that says these.
    """

    def __init__(
        self, peer: bytes, sessions: Sessions, networks: Networks, statics: Statics, clock: Callable[[], float]
    ) -> None:
        self._peer = peer
        self._sessions = sessions
        self._networks = networks
        self._statics = statics
        self._clock = clock
        self._is_out = False
        self._making: dict[asyncio.Task[None], None] = {}
        self.links: Links | None = None
        self.desk: NetworkDesk | None = None
        self.pending: Pending | None = None
        self.on_rotation: Callable[[], None] = lambda: None
        self.trust: Callable[[], Coroutine[object, object, None]] | None = None
        self.peers: Callable[[], Sequence[PeerView]] = lambda: []
        self.on_gone: Callable[[bytes], None] = lambda peer: None
        self.ways: Callable[[bytes, Sequence[str]], Sequence[str]] = lambda peer, said: said
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
                self._statics.learn(peer, body.static, self._clock())
                self._know(peer, body)
            case PeerLeft(peer):
                self.on_gone(peer)
                self._forget(peer)
            case PeerRevoked(peer, by, reason):
                log.warning("peer=%s is out by %s: %s", peer.hex()[:16], by.hex()[:16], reason)
                self._revoked(peer)
            case Readmitted():
                self._readmitted()
            case SecretRotation():
                self.on_rotation()
            case Cloned(detail):
                self.notice(
                    "another host speaks as this one",
                    f"{detail}; neither gives out addresses until one is gone",
                    "wipe one of the two (`meshnet leave --wipe`, away from the network) and join it anew",
                )
            case Heard():
                if self.trust is not None:
                    self._soon("trust", self.trust())
            case NetworkSeen(body):
                if self.desk is not None and self.desk.is_wanted(body):
                    self._soon(f"serve-{body.name}", self.desk.seen(body))
            case NetworkGone(body):
                if self.desk is not None:
                    self._soon(f"end-{body.name}", self.desk.gone(body))
            case EndpointSet(owner, body):
                self._networks.set_endpoint(body.network, body.mac, b"" if owner == self._peer else owner)
            case EndpointGone(owner, network, mac):
                self._networks.drop_endpoint(network, mac, b"" if owner == self._peer else owner)
            case Reachable(peer, reachable):
                log.info("peer=%s reachable=%s", peer.hex()[:16], reachable)
            case Trouble(what):
                self.notice("something is wrong in the mesh", what, "see `meshnet status`")
            case _:
                pass

    def readdress(self, view: PeerView) -> None:
        """The ways to a peer that counts are others now."""
        self._know(view.identity, view.body)

    def _know(self, peer: bytes, body: PeerBody) -> None:
        if not self._is_out:
            self._sessions.know(peer, body.static, self.ways(peer, body.addresses), body.boot, body.secrets)

    def _forget(self, peer: bytes) -> None:
        self._statics.forget(peer)
        self._sessions.forget(peer)

    def _revoked(self, peer: bytes) -> None:
        """End everything with a peer that is out; with everybody if it is this host."""
        self._is_out = self._is_out or peer == self._peer
        if peer != self._peer:
            self._forget(peer)
            if self.links is not None:
                self.links.drop_peer(peer)
            return
        for other in self._statics.peers():
            self._sessions.forget(other)
            if self.links is not None:
                self.links.drop_peer(other)

    def _readmitted(self) -> None:
        """This host counts again, and the others are peers again."""
        self._is_out = False
        for view in self.peers():
            if view.identity != self._peer and not view.left and not view.revoked:
                self.tell(PeerSeen(view.identity, view.body))
        self._networks.refill()

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
