"""A forwarder for the simulation of handshakes, with the real one's key slots and session keys.

What is real: the slots of the forwarder's table, records sealed and opened under the sessions' keys, their replay
windows, cookies. What is a model: the tick of a second, keepalives, and load, which a life switches on and off.
Rule: what must never happen is checked where it would happen, and raises ``InvariantBroken``: a session installed
twice, a counter sealed twice under one key, a frame delivered twice or to another host.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from crypto.cookie import cookie, has_mac2, seal_reply
from crypto.errors import RemoteError
from crypto.handshake import TYPE_INITIATION, handshake_keys, mac1
from crypto.primitives import Suite
from crypto.session import HEADER_BYTES, TAG_BYTES, Opener, Sealer
from meshnet.boundary import Address, ProgressRow, SessionRow
from meshnet.control.handshakes.peer_output import InstallSession
from meshnet.forwarder.table import REJECT_AFTER_S, Peer, Session
from tests.sim.invariants import InvariantBroken

if TYPE_CHECKING:
    from tests.sim.handshakes import Host, World

KEEPALIVE_S = 10.0
TICK_S = 1.0
NOWHERE: Address = ("203.0.113.9", 6799)


class ModelForwarder:
    """Belongs to one host; what it has to say goes to ``host``, what it sends to ``world``."""

    def __init__(self, world: World, host: Host) -> None:
        self.world = world
        self.host = host
        self.boot = world.rng.randbytes(8)
        self.loaded = False
        """Whether an initiation must carry a cookie."""
        self.table: dict[bytes, Peer] = {}
        self.sessions: dict[int, Session] = {}
        self.keys: dict[int, tuple[bytes, bytes]] = {}
        """Session → its sending and receiving key."""
        self.sent = self.got = self.waited = self.installs = self.completed = 0

    def admit(self, source: Address, data: bytes) -> None:
        """A handshake datagram arrived; under load an initiation must carry a cookie."""
        if self.loaded and data[0] == TYPE_INITIATION:
            made = cookie(self.host.cookie_secret, *source)
            if not has_mac2(made, data):
                self._ask_back(source, data, made)
                return
        self.host.handshake(source, data)

    def _ask_back(self, source: Address, data: bytes, made: bytes) -> None:
        local = self.host.local
        for row in handshake_keys(local.keyring, local.statics()):
            if row.epoch != data[1] or mac1(row.mac1_key, data) != data[-32:-16]:
                continue
            nonce, index = self.world.rng.randbytes(24), int.from_bytes(data[4:8])
            self._reply(source, seal_reply(row.cookie_key, row.epoch, index, data[-32:-16], made, nonce))

    def _reply(self, source: Address, data: bytes) -> None:
        self.world.carry(source, lambda host: host.forwarder.admit(self.host.address, data))

    def restart(self) -> None:
        """The process died with its keys; another runs."""
        self.table, self.sessions, self.keys = {}, {}, {}
        self.boot = self.world.rng.randbytes(8)

    def current(self, identity: bytes) -> Session | None:
        """The session under which frames for that host are sealed."""
        peer = self.table.get(identity)
        return None if peer is None else peer.current

    def rows(self) -> list[SessionRow]:
        """What whoever adopts this forwarder is told."""
        return [
            SessionRow(
                session.index,
                session.peer.identity,
                self.world.now - session.installed,
                session.initiator,
                session is session.peer.current,
                session.peer.remote or NOWHERE,
            )
            for session in self.sessions.values()
        ]

    def install(self, made: InstallSession) -> None:
        """A session takes its slot; the initiator's first record follows at once."""
        if made.send_key in self.world.installed or made.local_index in self.sessions:
            raise InvariantBroken("a session installed twice")
        self.world.installed.add(made.send_key)
        self.installs += 1
        self.completed += made.initiator
        peer = self.table.setdefault(made.peer_id, Peer(made.peer_id))
        if made.initiator or peer.current is None:
            peer.remote = made.address
        session = Session(
            peer,
            made.local_index,
            made.remote_index,
            Sealer(Suite.AESGCM, made.send_key),
            Opener(Suite.AESGCM, made.receive_key),
            initiator=made.initiator,
            now=self.world.now,
        )
        self.sessions[session.index] = session
        self.keys[session.index] = (made.send_key, made.receive_key)
        for old in peer.install(session):
            self._forget(old)
        if made.initiator:
            self._seal(peer, b"")

    def _forget(self, session: Session) -> None:
        session.peer.remove(session)
        del self.sessions[session.index], self.keys[session.index]

    def end(self, index: int) -> None:
        """A session is dropped."""
        if index in self.sessions:
            self._forget(self.sessions[index])

    def _seal(self, peer: Peer, frame: bytes) -> None:
        session = peer.current
        if session is None or peer.remote is None:
            return
        header, sealed = bytearray(4) + session.remote_index.to_bytes(4) + bytes(8), bytearray(len(frame) + TAG_BYTES)
        session.sealer.seal(header, frame, memoryview(sealed))
        key = self.keys[session.index][0]
        if session.sealer.counter <= self.world.sealed.get(key, 0):
            raise InvariantBroken("a counter sealed twice under one key")
        self.world.sealed[key] = session.sealer.counter
        session.sent_records += 1
        session.sent_data += bool(frame)
        record = bytes(header) + bytes(sealed)
        self.world.carry(peer.remote, lambda host: host.forwarder.open(record))

    def open(self, record: bytes) -> None:
        """A record arrived."""
        session = self.sessions.get(int.from_bytes(record[4:8]))
        if session is None:
            return
        frame = bytearray(len(record) - HEADER_BYTES - TAG_BYTES)
        try:
            session.opener.open(record[:HEADER_BYTES], record[HEADER_BYTES:], memoryview(frame))
        except RemoteError:
            return
        session.received_records += 1
        session.received_data += bool(frame)
        if frame:
            self._deliver(bytes(frame), session.peer)
        if session is session.peer.next:
            for old in session.peer.confirm(session):
                self._forget(old)

    def _deliver(self, frame: bytes, peer: Peer) -> None:
        if frame[:2] != peer.identity[:1] + self.host.identity[:1] or frame in self.world.delivered:
            raise InvariantBroken("a frame delivered twice, or to another")
        self.world.delivered.add(frame)
        self.got += 1

    def send_frame(self, identity: bytes) -> None:
        """A workload sends a frame to one behind that host."""
        peer = self.table.setdefault(identity, Peer(identity))
        if peer.current is None:
            self.waited += 1
            self.host.wanted(identity)
            return
        self.sent += 1
        self._seal(peer, self.host.identity[:1] + identity[:1] + self.sent.to_bytes(8))

    def tick(self) -> None:
        """Once a second: keys expire, keepalives leave, progress is told."""
        now = self.world.now
        self.world.clock.after(TICK_S, self.tick)
        rows = []
        for session in list(self.sessions.values()):
            if now >= session.installed + REJECT_AFTER_S:
                self._forget(session)
                self.host.ended(session.index)
            elif (row := self._progress(session)) is not None:
                rows.append(row)
        for peer in self.table.values():
            if 0 <= peer.keepalive_due <= now:
                peer.keepalive_due = -1.0
                self._seal(peer, b"")
        self.host.progressed(rows)

    def _progress(self, session: Session) -> ProgressRow | None:
        """What a session did since the last tick; a frame that came is answered by a keepalive in time."""
        now, peer = self.world.now, session.peer
        marks = (session.sent_records, session.sent_data, session.received_records, session.received_data)
        sent, sent_data, received, received_data = (a != b for a, b in zip(marks, session.ticked, strict=True))
        session.ticked = marks
        if sent_data:
            session.last_sent = now
        if received:
            session.last_received = now
        if received_data and peer.keepalive_due < 0:
            peer.keepalive_due = now + KEEPALIVE_S
        if sent:
            peer.keepalive_due = -1.0
        if not (sent or received):
            return None
        ages = [now - last if last >= 0 else -1.0 for last in (session.last_sent, session.last_received)]
        return ProgressRow(session.index, session.sent_records, session.received_records, 0, 0, *ages)
