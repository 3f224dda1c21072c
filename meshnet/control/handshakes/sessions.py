"""The sessions of this host: the pure handshakes of `peers` joined to the forwarder, the clock, the disk and the paths.

Rule: decides nothing about handshakes; it carries facts in, verbs out, and arms the one timer.  The forwarder is told
which handshake datagrams to admit, and the secrets of cookies, before anything else; stamps are durable before they are
used.  A disk that fails does not stop handshakes: stamps then count in this run alone, and a notice says so.
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

from crypto.cookie import SECRET_LIFE_S
from crypto.handshake import Local, handshake_keys
from meshnet.boundary import (
    Address,
    Counters,
    DropPeer,
    DropSession,
    Fact,
    Handshake,
    HandshakeKeyRow,
    InstallSession,
    Moved,
    Progress,
    ReadCounters,
    SendDatagram,
    SessionEnded,
    SessionRow,
    SetCookieSecrets,
    SetHandshakeKeys,
    Trouble,
    Wanted,
)
from meshnet.control.handshakes import peer_output
from meshnet.control.handshakes.paths import Paths
from meshnet.control.handshakes.peers import Peers
from meshnet.control.handshakes.remote import State
from meshnet.control.store.row import Row
from meshnet.control.store.store import Store
from meshnet.control.supervise import Supervisor
from meshnet.errors import MeshnetError
from meshnet.host.ports import NetlinkPort

__all__ = ["LARGEST_RECORD", "STAMPS_KEY", "STAMPS_SPACE", "SessionFacts", "Sessions", "parse_address"]

log = logging.getLogger(__name__)

LARGEST_RECORD: Final = 64_000
COUNTERS_S: Final = 1.0
STAMPS_SPACE: Final = "stamps"
STAMPS_KEY: Final = b"reserved"


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What `status` shows of one peer's session; ages in seconds."""

    state: State
    session_age_s: float | None
    last_receive_s: float | None
    address: Address | None


@dataclass(frozen=True, slots=True)
class _Known:
    """What gossip says of a peer."""

    static: bytes
    addresses: list[Address]
    tags: tuple[bytes, ...]
    boot: bytes


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
        store: Store,
        netlink: NetlinkPort,
        clock: Callable[[], float],
        rng: random.Random,
        underlay_mtu: int | None,
        features: Callable[[], int],
    ) -> None:
        self._own = own
        self._local = local
        self._supervisor = supervisor
        self._store = store
        self._clock = clock
        self._rng = rng
        self._features = features
        self._peers: Peers | None = None
        self._paths = Paths(netlink, underlay_mtu, supervisor.send)
        self._received: dict[bytes, float] = {}
        self._of_session: dict[int, bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._cookie_timer: asyncio.TimerHandle | None = None
        self._cookie_secret = self._former_cookie_secret = b""
        self._asking: dict[int, asyncio.Future[Counters]] = {}
        self._requests = 0
        self._commits: set[asyncio.Task[None]] = set()
        self._known: dict[bytes, _Known] = {}
        self.forwarder_since = clock()
        self.counters_of_handshakes: Counter[str] = Counter()
        self.why_not: Callable[[bytes, str], str | None] = lambda peer, host: None
        """Says why a peer is not to be reached at an address (`control.inside`)."""
        self.notice: Callable[[str, str, str], None] = lambda what, why, fix: None
        """Takes what an operator should read: what, why, what to do."""

    def start(self, boot: bytes, held: Sequence[SessionRow]) -> None:
        """Begin with what the forwarder holds; peers may be known already. Reads the store; raises MeshnetError."""
        self._peers = Peers(
            self._local,
            boot,
            entropy=os.urandom,
            rng=self._rng,
            wall_ns=time.time_ns,
            features=self._features(),
            largest_record=LARGEST_RECORD,
            reserved=dict(self._store.load(STAMPS_SPACE)).get(STAMPS_KEY, b""),
            barred=lambda peer, address: self.why_not(peer, address[0]) is not None,
        )
        self.counters_of_handshakes = self._peers.counters
        self._send_handshake_keys()
        self._turn_cookie_secrets()
        now = self._clock()
        for peer, known in self._known.items():
            self._do(self._peers.know(peer, known.static, known.addresses, known.tags, now))
        for row in held:
            self._of_session[row.index] = row.peer
            if row.current:
                self._paths.adopt(row.peer, row.address)
        self._do(self._peers.adopted(held, now))
        self._paths.start()

    def close(self) -> None:
        """Stop every timer and task; sessions go on in the forwarder."""
        for timer in (self._timer, self._cookie_timer):
            if timer is not None:
                timer.cancel()
        for task in self._commits:
            task.cancel()
        self._paths.close()

    def rekeyed(self, local: Local) -> None:
        """The keyring or the static keys are others now; sessions go on."""
        self._local = local
        if self._peers is not None:
            self._peers.rekeyed(local)
            self._send_handshake_keys()

    # --- what gossip says ------------------------------------------------------------------------------------------

    def know(
        self, peer: bytes, static: bytes, addresses: Sequence[str], boot: bytes, tags: Sequence[bytes] = ()
    ) -> None:
        """A peer exists; its addresses may have changed, its static key and the mesh secrets it holds (`tags`) too.

        Its forwarder may be a new one (`boot`).
        """
        if peer == self._own:
            return
        parsed = []
        for text in addresses:
            try:
                parsed.append(parse_address(text))
            except ValueError:
                continue
        before = self._known.get(peer)
        self._known[peer] = _Known(static, parsed, tuple(tags), boot)
        if self._peers is not None:
            now = self._clock()
            self._do(self._peers.know(peer, static, parsed, tags, now))
            if before is not None and before.boot != boot:
                self._do(self._peers.rebooted(peer, boot, now))

    def forget(self, peer: bytes) -> None:
        """A peer left, or may not speak any more; nothing of it is kept."""
        self._known.pop(peer, None)
        self._received.pop(peer, None)
        self._paths.forget(peer)
        if self._peers is not None:
            self._do(self._peers.forget(peer))
        self._supervisor.send(DropPeer(peer=peer))
        self._of_session = {index: holder for index, holder in self._of_session.items() if holder != peer}

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
                self._ended(index)
                self._do(handshakes.session_lost(index))
            case Moved(peer=peer, address=address):
                # One that was forgotten a moment ago may still have moved in the forwarder.
                if handshakes.knows(peer):
                    log.info("peer=%s moved to %s", peer.hex()[:16], address)
                    handshakes.moved(peer, address)
                    self._paths.moved(peer, address)
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
            self._send_handshake_keys()
            self._send_cookie_secrets()
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

    def _do(self, outputs: Sequence[peer_output.Output]) -> None:
        for output in outputs:
            match output:
                case peer_output.SendDatagram(address, data):
                    self._supervisor.send(SendDatagram(address=address, data=data))
                case peer_output.InstallSession():
                    self._install(output)
                case peer_output.DropSession(index):
                    self._ended(index)
                    self._supervisor.send(DropSession(index=index))
                case peer_output.ReserveStamps(until):
                    task = asyncio.get_running_loop().create_task(self._reserve(until), name="stamps")
                    self._commits.add(task)
                    task.add_done_callback(self._commits.discard)
                case peer_output.PeerState(peer, state):
                    log.info("peer=%s state=%s", peer.hex()[:16], state)
        self._arm()

    def _install(self, output: peer_output.InstallSession) -> None:
        self._of_session[output.local_index] = output.peer_id
        self._supervisor.send(
            InstallSession(
                peer=output.peer_id,
                index=output.local_index,
                remote_index=output.remote_index,
                send_key=output.send_key,
                receive_key=output.receive_key,
                initiator=output.initiator,
                address=output.address,
                mtu=self._paths.installed(output.peer_id, output.address),
                features=output.features,
                largest_record=output.largest_record,
            )
        )

    def _ended(self, index: int) -> None:
        """A session is gone; of a peer without any, no path is watched."""
        peer = self._of_session.pop(index, None)
        if peer is not None and peer not in self._of_session.values():
            self._paths.forget(peer)

    async def _reserve(self, until: bytes) -> None:
        try:
            await self._store.commit([Row(STAMPS_SPACE, STAMPS_KEY, until)])
        except MeshnetError as error:
            why = f"{error.why}; until it can, the first handshakes after a restart take one more round trip"
            self.notice("time stamps of handshakes cannot be stored", why, error.fix)
        if self._peers is not None:
            self._do(self._peers.stamps_reserved(until, self._clock()))

    def _send_handshake_keys(self) -> None:
        keys = handshake_keys(self._local.keyring, self._local.statics())
        rows = [HandshakeKeyRow(key.epoch, key.mac1_key, key.cookie_key) for key in keys]
        self._supervisor.send(SetHandshakeKeys(keys=rows))

    def _send_cookie_secrets(self) -> None:
        verb = SetCookieSecrets(current=self._cookie_secret, previous=self._former_cookie_secret)
        self._supervisor.send(verb)

    def _turn_cookie_secrets(self) -> None:
        """A new secret for cookies; the one before is accepted for as long again."""
        self._former_cookie_secret, self._cookie_secret = self._cookie_secret, os.urandom(32)
        if self._peers is not None:
            self._peers.cookies(self._cookie_secret, self._former_cookie_secret)
        self._send_cookie_secrets()
        loop = asyncio.get_running_loop()
        self._cookie_timer = loop.call_later(SECRET_LIFE_S, self._turn_cookie_secrets)

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
