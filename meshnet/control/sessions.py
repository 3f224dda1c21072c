"""The sessions of this host: the pure handshakes of `peers` joined to the forwarder, the clock and the routes.

Rule: decides nothing about handshakes; it carries facts in, verbs out, and arms the one timer.  The path MTU of a peer
is the route's as the kernel knows it, asked when a session is installed and every ROUTES_S, unless the operator gave
one; until the answer is there the smallest MTU serves, so nothing waits for it.
"""

import asyncio
import logging
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.handshake import Local
from meshnet.boundary import (
    Address,
    Counters,
    DropPeer,
    DropSession,
    Fact,
    Handshake,
    InstallSession,
    Moved,
    Progress,
    ReadCounters,
    SendDatagram,
    SessionEnded,
    SessionRow,
    SetPath,
    Trouble,
    Wanted,
)
from meshnet.control import peers
from meshnet.control.peers import Peers
from meshnet.control.remote import State
from meshnet.control.supervise import Supervisor
from meshnet.host.errors import HostError
from meshnet.host.ports import NetlinkPort

__all__ = ["LARGEST_RECORD", "SMALLEST_MTU", "SessionFacts", "Sessions", "parse_address"]

log = logging.getLogger(__name__)

LARGEST_RECORD: Final = 64_000
SMALLEST_MTU: Final = 1280
ROUTES_S: Final = 30.0
COUNTERS_S: Final = 1.0
PATHS_KEPT: Final = 8192


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What `status` shows of one peer's session; ages in seconds."""

    state: State
    session_age_s: float | None
    last_receive_s: float | None
    address: Address | None


def parse_address(text: str) -> Address:
    """`host:port` or `[v6]:port` as gossip carries it; raises ValueError."""
    host, _, port = text.rpartition(":")
    number = int(port)
    if not host or not 0 < number < 65_536:
        raise ValueError(f"{text!r} is no address")
    return host.strip("[]"), number


class Sessions:
    """Owns `Peers`; lives on one event loop."""

    def __init__(
        self,
        own: bytes,
        local: Local,
        supervisor: Supervisor,
        netlink: NetlinkPort,
        clock: Callable[[], float],
        rng: random.Random,
        underlay_mtu: int | None,
        features: Callable[[], int],
    ) -> None:
        self._own = own
        self._local = local
        self._supervisor = supervisor
        self._netlink = netlink
        self._clock = clock
        self._rng = rng
        self._underlay_mtu = underlay_mtu
        self._features = features
        self._peers: Peers | None = None
        self._mtus: dict[str, int] = {}
        """Host of an address → what the route to it was last known to carry."""
        self._sent_mtus: dict[bytes, int] = {}
        """Peer → the MTU the forwarder was told."""
        self._paths: dict[bytes, Address] = {}
        self._received: dict[bytes, float] = {}
        self._of_session: dict[int, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._routes: asyncio.Task[None] | None = None
        self._asking: dict[int, asyncio.Future[Counters]] = {}
        self._requests = 0
        self._lookups: set[asyncio.Task[None]] = set()
        self._known: dict[bytes, tuple[bytes, list[Address]]] = {}
        self._boots: dict[bytes, bytes] = {}
        self.forwarder_since = clock()
        self.counters_of_handshakes: Counter[str] = Counter()

    def start(self, boot: bytes, held: Sequence[SessionRow]) -> None:
        """Begin with what the forwarder holds; peers may be known already."""
        self._peers = Peers(
            self._local,
            boot,
            entropy=os.urandom,
            rng=self._rng,
            wall_ns=time.time_ns,
            features=self._features(),
            largest_record=LARGEST_RECORD,
        )
        self.counters_of_handshakes = self._peers.counters
        for peer, (static, addresses) in self._known.items():
            self._do(self._peers.know(peer, static, addresses))
        for row in held:
            self._of_session[row.index] = row.peer
            self._paths[row.peer] = row.address
        self._do(self._peers.adopted(held, self._clock()))
        self._routes = asyncio.get_running_loop().create_task(self._watch_routes(), name="routes")

    def close(self) -> None:
        """Stop every timer and task; sessions go on in the forwarder."""
        if self._timer is not None:
            self._timer.cancel()
        for task in [self._routes, *self._lookups]:
            if task is not None:
                task.cancel()

    # --- what gossip says ------------------------------------------------------------------------------------------

    def know(self, peer: bytes, static: bytes, addresses: Sequence[str], boot: bytes) -> None:
        """A peer exists; its addresses may have changed, and its forwarder may be a new one (`boot`)."""
        if peer == self._own:
            return
        rebooted = self._boots.get(peer, boot) != boot
        self._boots[peer] = boot
        parsed = []
        for text in addresses:
            try:
                parsed.append(parse_address(text))
            except ValueError:
                continue
        self._known[peer] = (static, parsed)
        if self._peers is not None:
            self._do(self._peers.know(peer, static, parsed))
            if rebooted:
                self._do(self._peers.rebooted(peer, boot, self._clock()))

    def forget(self, peer: bytes) -> None:
        """A peer left."""
        self._known.pop(peer, None)
        self._boots.pop(peer, None)
        self._sent_mtus.pop(peer, None)
        self._paths.pop(peer, None)
        self._received.pop(peer, None)
        if self._peers is not None:
            self._do(self._peers.forget(peer))
        self._supervisor.send(DropPeer(peer=peer))

    # --- what the forwarder says -----------------------------------------------------------------------------------

    def fact(self, fact: Fact) -> None:
        """Take one fact."""
        handshakes = self._peers
        if handshakes is None:
            return
        now = self._clock()
        match fact:
            case Handshake(address=address, data=data):
                self._do(handshakes.receive(address, data, now))
            case Wanted(peer=peer):
                self._do(handshakes.wanted(peer, now))
            case Progress(sessions=rows):
                for row in rows:
                    peer_of = self._of_session.get(row.index)
                    if peer_of is not None and row.last_received_age_s >= 0:
                        at = now - row.last_received_age_s
                        self._received[peer_of] = max(at, self._received.get(peer_of, at))
                self._do(handshakes.progressed(rows, now))
            case SessionEnded(index=index, reason=reason):
                log.info("session=%08x ended: %s", index, reason)
                self._of_session.pop(index, None)
                self._do(handshakes.session_lost(index))
            case Moved(peer=peer, address=address):
                log.info("peer=%s moved to %s", peer.hex()[:16], address)
                handshakes.moved(peer, address)
                self._set_path(peer, address)
            case Counters(request=request):
                waiting = self._asking.pop(request, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(fact)
            case Trouble(what=what):
                log.warning("forwarder: %s", what)
            case _:
                pass

    def forwarder_is_fresh(self, boot: bytes) -> None:
        """A new forwarder runs: every session is made anew, the busiest first."""
        self.forwarder_since = self._clock()
        self._of_session.clear()
        if self._peers is not None:
            self._do(self._peers.restarted(boot, self._clock()))

    # --- what others ask -------------------------------------------------------------------------------------------

    async def counters(self) -> Counters | None:
        """The forwarder's counters, or None when it does not answer within a second."""
        if self._supervisor.link is None:
            return None
        self._requests += 1
        request = self._requests
        waiting: asyncio.Future[Counters] = asyncio.get_running_loop().create_future()
        self._asking[request] = waiting
        self._supervisor.send(ReadCounters(request=request))
        try:
            return await asyncio.wait_for(waiting, COUNTERS_S)
        except TimeoutError:
            return None
        finally:
            self._asking.pop(request, None)

    def describe(self, peer: bytes) -> SessionFacts:
        """What is known of a peer's session now."""
        now = self._clock()
        if self._peers is None:
            return SessionFacts("idle", None, None, None)
        view = self._peers.view(peer, now)
        received = self._received.get(peer)
        age = None if view.session_age_s is None else round(view.session_age_s, 3)
        return SessionFacts(view.state, age, None if received is None else round(now - received, 3), view.address)

    # --- doing -----------------------------------------------------------------------------------------------------

    def _do(self, outputs: Sequence[peers.Output]) -> None:
        for output in outputs:
            match output:
                case peers.SendDatagram(address, data):
                    self._supervisor.send(SendDatagram(address=address, data=data))
                case peers.InstallSession():
                    self._install(output)
                case peers.DropSession(index):
                    self._of_session.pop(index, None)
                    self._supervisor.send(DropSession(index=index))
                case peers.PeerState(peer, state):
                    log.info("peer=%s state=%s", peer.hex()[:16], state)
        self._arm()

    def _install(self, output: peers.InstallSession) -> None:
        self._of_session[output.local_index] = output.peer_id
        self._paths[output.peer_id] = output.address
        mtu = self._sent_mtus[output.peer_id] = self._mtu(output.address)
        self._supervisor.send(
            InstallSession(
                peer=output.peer_id,
                index=output.local_index,
                remote_index=output.remote_index,
                send_key=output.send_key,
                receive_key=output.receive_key,
                initiator=output.initiator,
                address=output.address,
                mtu=mtu,
                features=output.features,
                largest_record=output.largest_record,
            )
        )
        self._look_up(output.peer_id, output.address)

    def _set_path(self, peer: bytes, address: Address) -> None:
        self._paths[peer] = address
        mtu = self._sent_mtus[peer] = self._mtu(address)
        self._supervisor.send(SetPath(peer=peer, address=address, mtu=mtu))
        self._look_up(peer, address)

    def _mtu(self, address: Address) -> int:
        return self._underlay_mtu or self._mtus.get(address[0], SMALLEST_MTU)

    def _look_up(self, peer: bytes, address: Address) -> None:
        if self._underlay_mtu is not None:
            return
        task = asyncio.get_running_loop().create_task(self._ask_route(peer, address))
        self._lookups.add(task)
        task.add_done_callback(self._lookups.discard)

    async def _ask_route(self, peer: bytes, address: Address) -> None:
        try:
            mtu = await self._netlink.route_mtu(address[0].partition("%")[0])
        except HostError as error:
            log.info("no route to %s: %s", address[0], error.why)
            return
        if self._paths.get(peer) != address:
            return
        if len(self._mtus) >= PATHS_KEPT:
            self._mtus.clear()
        self._mtus[address[0]] = mtu
        if self._sent_mtus.get(peer) != mtu:
            self._sent_mtus[peer] = mtu
            self._supervisor.send(SetPath(peer=peer, address=address, mtu=mtu))

    async def _watch_routes(self) -> None:
        while True:
            await asyncio.sleep(ROUTES_S)
            for peer, address in list(self._paths.items()):
                await self._ask_route(peer, address)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self._peers.next_timer() if self._peers is not None else None
        if due is not None:
            delay = max(0.0, due - self._clock())
            self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        if self._peers is not None:
            self._do(self._peers.handle_timer(self._clock()))
