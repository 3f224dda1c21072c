"""The forwarder's end of the boundary: one meshnetd at a time, its verbs applied, facts sent up.

Rule: a verb that cannot be applied is counted and reported, never fatal; a connection that ends leaves everything as
it is.  The newest connection wins, since it is the meshnetd that was started last.
"""

import array
import asyncio
import os
import socket
import struct
from collections.abc import Callable
from typing import Any, Final

from crypto.session import TAG_BYTES, Opener, Sealer, Suite
from meshnet.boundary import (
    FDS_PER_MESSAGE,
    MESSAGE_BYTES,
    VERSION,
    AddNetwork,
    AddSocket,
    BoundaryError,
    Configure,
    Counters,
    DropNetwork,
    DropPeer,
    DropSession,
    Fact,
    Hello,
    InstallSession,
    NetworkRow,
    PeerCounters,
    ReadCounters,
    SendDatagram,
    SessionRow,
    SetCookieSecrets,
    SetEndpoints,
    SetHandshakeKeys,
    SetPath,
    SocketRow,
    Stop,
    decode_verb,
    encode,
)
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.loop import Loop
from meshnet.forwarder.record import PLAINTEXT_BYTES
from meshnet.forwarder.state import DataSocket, socket_address
from meshnet.forwarder.switch import LOCAL, Network
from meshnet.forwarder.table import Session

__all__ = ["Verbs"]

VERBS_PER_TURN: Final = 64
BUFFER_BYTES: Final = 4 << 20
HELLO_SESSIONS: Final = 400
"""Sessions in one `Hello`, those in use first, so that it fits a message; others go on until their keys expire."""
COUNTER_PEERS: Final = 400
"""Peers in one `Counters` fact, likewise."""
_read_credentials = struct.Struct("=iII").unpack


class Verbs:
    """Serves the listener `RUN/forwarder.sock` inherited from meshnetd."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Loop, listener: socket.socket, *, boot: bytes, owner: int
    ) -> None:
        self._loop = loop
        self._work = work
        self._state = work.state
        self._facts = work.facts
        self._listener = listener
        self._boot = boot
        self._owner = owner
        self._connection: socket.socket | None = None
        self._writing = False
        self._configured = Configure(mesh=b"", peer=b"", suite=Suite.AESGCM.value)
        self.on_stop: Callable[[], None] = loop.stop
        self._apply: dict[type, Callable[[Any, list[int]], None]] = {
            Configure: self._configure,
            SetHandshakeKeys: self._set_handshake_keys,
            SetCookieSecrets: self._set_cookie_secrets,
            AddSocket: self._add_socket,
            AddNetwork: self._add_network,
            DropNetwork: self._drop_network,
            SetEndpoints: self._set_endpoints,
            InstallSession: self._install_session,
            SetPath: self._set_path,
            DropSession: self._drop_session,
            DropPeer: self._drop_peer,
            SendDatagram: self._send_datagram,
            ReadCounters: self._read_counters,
            Stop: self._stop,
        }
        self._facts.flush = self.flush
        loop.add_reader(listener.fileno(), self._accept)

    # --- connection ------------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:
            return
        _, uid, _ = _read_credentials(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, self._owner):
            connection.close()
            return
        self._disconnect()
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._connection = connection
        self._work.attended = True
        self._send_hello(connection)
        if self._connection is connection:
            self._loop.add_reader(connection.fileno(), self._readable)
            self.flush()

    def _disconnect(self) -> None:
        if self._connection is None:
            return
        self._loop.remove_reader(self._connection.fileno())
        self._loop.remove_writer(self._connection.fileno())
        self._connection.close()
        self._connection = None
        self._writing = False
        self._work.attended = False

    def _send_hello(self, connection: socket.socket) -> None:
        state = self._state
        sockets, networks = list(state.sockets.values()), list(state.networks.values())
        hello = Hello(
            version=VERSION,
            mesh=self._configured.mesh,
            peer=self._configured.peer,
            boot=self._boot,
            pid=os.getpid(),
            sockets=[SocketRow(family=s.family, port=s.port, gso=s.gso, gro=s.gro) for s in sockets],
            networks=[NetworkRow(n.number, n.device, n.mtu, n.features) for n in networks],
            sessions=[
                SessionRow(
                    index=s.index,
                    peer=s.peer.identity,
                    age_s=state.now - s.installed,
                    initiator=s.initiator,
                    current=s.peer.current is s,
                    address=s.peer.remote or ("", 0),
                    remote_index=s.remote_index,
                )
                for s in sorted(state.live_sessions(), key=lambda s: s.peer.current is not s)[:HELLO_SESSIONS]
            ],
        )
        descriptors = [s.sock.fileno() for s in sockets] + [n.tap for n in networks]
        rights = array.array("i", descriptors[:FDS_PER_MESSAGE])
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if descriptors else []
        try:
            connection.sendmsg([encode(hello)], ancillary)
        except (OSError, BoundaryError):
            self._disconnect()

    def _readable(self) -> None:
        for _ in range(VERBS_PER_TURN):
            connection = self._connection
            if connection is None:
                return
            try:
                data, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, FDS_PER_MESSAGE)
            except BlockingIOError:
                return
            except OSError:
                data, descriptors = b"", []
            if not data:
                self._disconnect()
                return
            self._verb(data, list(descriptors))

    def _verb(self, data: bytes, descriptors: list[int]) -> None:
        for descriptor in descriptors:
            os.set_blocking(descriptor, False)
        try:
            verb = decode_verb(data)
            self._apply[type(verb)](verb, descriptors)
        except (BoundaryError, ValueError, OSError) as error:
            self._state.drops[Drop.BAD_VERB] += 1
            self._facts.trouble(f"a verb could not be applied: {type(error).__name__}: {error}")
        for descriptor in descriptors:
            os.close(descriptor)

    def flush(self) -> None:
        """Send what waits, as far as the connection takes it."""
        connection = self._connection
        if connection is None or self._writing:
            return
        while (fact := self._facts.take()) is not None:
            if not self._send(connection, fact):
                return

    def _send(self, connection: socket.socket, fact: Fact) -> bool:
        try:
            connection.send(encode(fact))
        except BlockingIOError:
            self._facts.put_back(fact)
            self._writing = True
            self._loop.add_writer(connection.fileno(), self._writable)
            return False
        except OSError:
            self._facts.put_back(fact)
            self._disconnect()
            return False
        return True

    def _writable(self) -> None:
        if self._connection is not None:
            self._loop.remove_writer(self._connection.fileno())
        self._writing = False
        self.flush()

    # --- verbs -----------------------------------------------------------------------------------------------------

    def _configure(self, verb: Configure, _: list[int]) -> None:
        Suite(verb.suite)
        self._configured = verb

    def _set_handshake_keys(self, verb: SetHandshakeKeys, _: list[int]) -> None:
        self._work.admission.set_keys(verb.keys)

    def _set_cookie_secrets(self, verb: SetCookieSecrets, _: list[int]) -> None:
        self._work.admission.set_cookie_secrets(verb.current, verb.previous)

    def _add_socket(self, verb: AddSocket, descriptors: list[int]) -> None:
        state = self._state
        descriptor = _first(descriptors)
        sock = socket.socket(fileno=descriptor)
        descriptors.remove(descriptor)
        sock.setblocking(False)
        old = state.sockets.get(verb.family)
        if old is not None:
            self._work.remove_reader(old.sock.fileno())
            old.sock.close()
        held = state.sockets[verb.family] = DataSocket(sock, verb.family, verb.port, gso=verb.gso, gro=verb.gro)
        self._work.add_socket(held)
        for peer in state.peers.values():
            if peer.remote is not None:
                state.set_path(peer, peer.remote, peer.mtu)

    def _add_network(self, verb: AddNetwork, descriptors: list[int]) -> None:
        old = self._state.networks.get(verb.number)
        descriptor = _first(descriptors)
        network = Network(verb.number, verb.device, verb.mtu, descriptor, verb.features)
        descriptors.remove(descriptor)
        if old is not None:
            network.inherit(old)
            self._work.remove_reader(old.tap)
            os.close(old.tap)
        self._state.networks[verb.number] = network
        self._work.add_network(network)

    def _drop_network(self, verb: DropNetwork, _: list[int]) -> None:
        network = self._state.networks.pop(verb.number, None)
        if network is not None:
            self._work.remove_reader(network.tap)
            os.close(network.tap)

    def _set_endpoints(self, verb: SetEndpoints, _: list[int]) -> None:
        network = self._state.networks.get(verb.number)
        if network is None:
            raise ValueError(f"no network {verb.number}")
        kept = {row.mac for row in verb.endpoints}
        for mac in [mac for mac in network.endpoints() if mac not in kept] if verb.replace else verb.gone:
            network.drop_endpoint(mac)
        for row in verb.endpoints:
            network.set_endpoint(row.mac, self._state.peer(row.peer) if row.peer else LOCAL)

    def _install_session(self, verb: InstallSession, _: list[int]) -> None:
        state = self._state
        suite = Suite(self._configured.suite)
        sealer, opener = Sealer(suite, verb.send_key), Opener(suite, verb.receive_key)
        if not state.can_reach(verb.address):
            raise ValueError("no data socket of the address family of this peer")
        if not state.claim_index(verb.index):
            raise ValueError(f"session {verb.index} was installed before")
        peer = state.peer(verb.peer)
        if verb.initiator or peer.current is None or verb.address == peer.remote:
            state.set_path(peer, verb.address, verb.mtu)
        # Else: whoever passed the initiation on was there, and the first record from there begins a probe.
        peer.features = verb.features
        peer.largest = min(verb.largest_record - TAG_BYTES, PLAINTEXT_BYTES)
        session = Session(peer, verb.index, verb.remote_index, sealer, opener, initiator=verb.initiator, now=state.now)
        state.sessions[verb.index] = session
        for old in peer.install(session):
            state.end_session(old)
        self._work.installed(session)

    def _set_path(self, verb: SetPath, _: list[int]) -> None:
        peer = self._state.peers.get(verb.peer)
        if peer is not None:
            self._state.set_path(peer, verb.address, verb.mtu)

    def _drop_session(self, verb: DropSession, _: list[int]) -> None:
        session = self._state.sessions.get(verb.index)
        if session is not None:
            self._state.end_session(session)

    def _drop_peer(self, verb: DropPeer, _: list[int]) -> None:
        peer = self._state.peers.get(verb.peer)
        if peer is not None:
            self._state.drop_peer(peer)

    def _send_datagram(self, verb: SendDatagram, _: list[int]) -> None:
        self._work.admission.sent(verb.data)
        try:
            self._work.send_datagram(verb.data, socket_address(*verb.address))
        except OSError:
            self._state.drops[Drop.SEND_FAILED] += 1

    def _read_counters(self, verb: ReadCounters, _: list[int]) -> None:
        totals: dict[bytes, list[int]] = {}
        for session in self._state.live_sessions():
            row = totals.setdefault(session.peer.identity, [0, 0, 0, 0])
            row[0] += session.sent_records
            row[1] += session.received_records
            row[2] += session.sent_bytes
            row[3] += session.received_bytes
        peers = []
        for peer in self._state.peers.values():
            sums = totals.get(peer.identity, [0, 0, 0, 0])
            peers.append(
                PeerCounters(
                    peer=peer.identity,
                    sent_records=peer.sent_records + sums[0],
                    received_records=peer.received_records + sums[1],
                    sent_bytes=peer.sent_bytes + sums[2],
                    received_bytes=peer.received_bytes + sums[3],
                    mtu=peer.mtu,
                    address=peer.remote or ("", 0),
                )
            )
        self._facts.put(Counters(request=verb.request, drops=self._state.drops.nonzero(), peers=peers[:COUNTER_PEERS]))

    def _stop(self, _: Stop, __: list[int]) -> None:
        self.on_stop()


def _first(descriptors: list[int]) -> int:
    """The descriptor a verb needs; raises ValueError when none came with it."""
    if not descriptors:
        raise ValueError("no descriptor came with the verb")
    return descriptors[0]
