"""The forwarder's event loop: readers for TAPs and sockets, the second's tick, and what ends sessions.

Rule: readers are level-triggered and their callbacks bounded.  A callback that meets an OSError other than EAGAIN
re-arms its reader, counts it and says so once: under uvloop an error on a descriptor otherwise makes its reader deaf
for good.  Keys are refused 180 s after they were installed, by CLOCK_BOOTTIME, whether meshnetd lives or not.
"""

import asyncio
import errno
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from meshnet.boundary import Progress, ProgressRow
from meshnet.forwarder.admission import Admission
from meshnet.forwarder.candidates import SocketAddress
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.inbound import Inbound
from meshnet.forwarder.outbound import Outbound
from meshnet.forwarder.roaming import Roaming
from meshnet.forwarder.state import DataSocket, State
from meshnet.forwarder.switch import Network
from meshnet.forwarder.table import REJECT_AFTER_S, Session

__all__ = ["KEEPALIVE_S", "ORPHAN_S", "Loop", "boottime"]

TICK_S: Final = 1.0
EXPIRE_S: Final = 0.1
KEEPALIVE_S: Final = 10.0
ORPHAN_S: Final = 300.0
"""Without a meshnetd for this long the forwarder ends."""
PROGRESS_ROWS: Final = 500
DEVICE_GONE: Final = (errno.EBADF, errno.EBADFD, errno.ENODEV)


def boottime() -> float:
    """Seconds on CLOCK_BOOTTIME: monotonic, and it counts what the host slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Loop:
    """Readers and timers around one `State`."""

    def __init__(self, loop: asyncio.AbstractEventLoop, state: State, facts: Facts) -> None:
        self._loop = loop
        self.state = state
        self.facts = facts
        self.admission = Admission(os.urandom)
        self.outbound = Outbound(state, facts)
        self.roaming = Roaming(state, self.outbound, facts, os.urandom)
        self.inbound = Inbound(
            state,
            on_handshake=self._handshake,
            on_confirmed=self.confirmed,
            on_elsewhere=self.roaming.elsewhere,
            on_entry=self.roaming.entry,
        )
        self._next_expiry = float("inf")
        self.attended = True
        """Whether a meshnetd is connected."""
        self._orphaned_at = 0.0
        self.on_orphaned: Callable[[], None] = loop.stop
        self._errors: dict[str, int] = {}

    def start(self) -> None:
        """Begin to tick."""
        self.state.now = self._orphaned_at = boottime()
        self._loop.call_later(TICK_S, self._tick)
        self._loop.call_later(EXPIRE_S, self._expire)

    # --- readers ---------------------------------------------------------------------------------------------------

    def add_socket(self, data_socket: DataSocket) -> None:
        """Receive from a data socket."""
        descriptor = data_socket.sock.fileno()
        self._arm(descriptor, f"data socket {data_socket.port}", lambda: self.inbound.drain(data_socket))

    def add_network(self, network: Network) -> None:
        """Receive from a network's TAP."""
        self._arm(network.tap, f"TAP {network.device}", lambda: self.outbound.drain(network))

    def remove_reader(self, descriptor: int) -> None:
        """Stop receiving from a descriptor that is about to be closed."""
        self._loop.remove_reader(descriptor)

    def _arm(self, descriptor: int, name: str, drain: Callable[[], None]) -> None:
        def on_readable() -> None:
            now = self.state.now = boottime()
            if now >= self._next_expiry:
                self.expire_keys()
            try:
                drain()
            except OSError as error:
                self._rearm(descriptor, name, error, on_readable)

        self._loop.add_reader(descriptor, on_readable)

    def _rearm(self, descriptor: int, name: str, error: OSError, callback: Callable[[], None]) -> None:
        self._loop.remove_reader(descriptor)
        count = self._errors[name] = self._errors.get(name, 0) + 1
        if error.errno in DEVICE_GONE:
            self.facts.trouble(
                f"{name} is gone ({errno.errorcode.get(error.errno, '?')}): its frames wait for a new device"
            )
            return
        if count == 1:
            self.facts.trouble(f"{name}: {error.strerror}; receiving goes on")
        self._loop.add_reader(descriptor, callback)

    # --- what inbound reports --------------------------------------------------------------------------------------

    def _handshake(self, datagram: bytes, address: SocketAddress) -> None:
        host, port = address[0], address[1]
        drop, reply = self.admission.judge(datagram, host, port, self.state.now)
        if drop is None:
            self.facts.handshake((host, port), datagram)
            return
        self.state.drops[drop] += 1
        if reply:
            self.send_datagram(reply, address)

    def send_datagram(self, datagram: bytes, address: SocketAddress) -> None:
        """Send a handshake datagram or cookie reply as it is; what the kernel refuses is counted."""
        data_socket = self.state.sockets.get(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if data_socket is None:
            self.state.drops[Drop.NO_SOCKET] += 1
            return
        try:
            data_socket.sock.sendto(datagram, address)
        except OSError:
            self.state.drops[Drop.SEND_FAILED] += 1

    def confirmed(self, session: Session) -> None:
        """The first record under a responder's session opened: it seals from now on."""
        peer = session.peer
        for old in peer.confirm(session):
            self.state.end_session(old)
        peer.wanted = False
        self.outbound.send_staged(peer)

    # --- sessions --------------------------------------------------------------------------------------------------

    def installed(self, session: Session) -> None:
        """A session was put into its slot."""
        self._next_expiry = min(self._next_expiry, session.installed + REJECT_AFTER_S)
        if session.initiator:
            session.peer.wanted = False
            self.outbound.send_keepalive(session.peer, session)
            self.outbound.send_staged(session.peer)

    def expire_keys(self) -> None:
        """End every session whose key is REJECT_AFTER_S old."""
        self._next_expiry = float("inf")
        for session in self.state.live_sessions():
            end = session.installed + REJECT_AFTER_S
            if self.state.now >= end:
                self.state.drops[Drop.KEY_EXPIRED] += 1
                self.state.end_session(session)
                self.facts.session_ended(session.index, "key expired")
            else:
                self._next_expiry = min(self._next_expiry, end)

    # --- time ------------------------------------------------------------------------------------------------------

    def _expire(self) -> None:
        self._loop.call_later(EXPIRE_S, self._expire)
        if len(self.inbound.reassembly):
            self.state.drops[Drop.REASSEMBLY_EXPIRED] += self.inbound.reassembly.expire(boottime())

    def _tick(self) -> None:
        self._loop.call_later(TICK_S, self._tick)
        now = self.state.now = boottime()
        self.expire_keys()
        self.outbound.next_second()
        for network in self.state.networks.values():
            network.age(now)
        for peer in self.state.peers.values():
            peer.wanted = False
            if 0 <= peer.gso_off_until <= now and peer.remote is not None:
                peer.gso_off_until = -1.0
                self.state.set_path(peer, peer.remote, peer.mtu)
        self._report(now)
        if self.attended:
            self._orphaned_at = now
        elif now - self._orphaned_at > ORPHAN_S:
            self.on_orphaned()

    def _report(self, now: float) -> None:
        rows = []
        for session in self.state.live_sessions():
            marks = (session.sent_records, session.sent_data, session.received_records, session.received_data)
            if marks == session.ticked:
                continue
            before, session.ticked = session.ticked, marks
            if marks[1] != before[1]:
                session.last_sent = now
            if marks[2] != before[2]:
                session.last_received = now
            if marks[3] != before[3] and session.peer.keepalive_due < 0:
                session.peer.keepalive_due = now + KEEPALIVE_S
            if marks[0] != before[0]:
                session.peer.keepalive_due = -1.0
            rows.append(progress_row(session, now))
        for session in self.state.live_sessions():
            self._keep_alive(session, now)
        for start in range(0, len(rows), PROGRESS_ROWS):
            self.facts.put(Progress(sessions=rows[start : start + PROGRESS_ROWS]))

    def _keep_alive(self, session: Session, now: float) -> None:
        peer = session.peer
        if peer.current is session and 0 <= peer.keepalive_due <= now:
            peer.keepalive_due = -1.0
            self.outbound.send_keepalive(peer, session)


def progress_row(session: Session, now: float) -> ProgressRow:
    """A session's counters as the boundary carries them."""
    return ProgressRow(
        index=session.index,
        sent_records=session.sent_records,
        received_records=session.received_records,
        sent_bytes=session.sent_bytes,
        received_bytes=session.received_bytes,
        last_sent_age_s=now - session.last_sent if session.last_sent >= 0 else -1.0,
        last_received_age_s=now - session.last_received if session.last_received >= 0 else -1.0,
    )
