"""Everything the forwarder holds, in one place: peers, sessions, networks, sockets, buffers.

Rule: plain data with the few operations that keep its tables consistent; readers and writers of frames
(`outbound`, `inbound`) and the boundary (`verbs`) all work on this one object, in one thread.
"""

import socket
from collections.abc import Iterator
from typing import Final

from meshnet.boundary import Address
from meshnet.forwarder.candidates import SocketAddress
from meshnet.forwarder.counters import DropCounters
from meshnet.forwarder.datagram import HEADER_BYTES, Train, slice_bytes
from meshnet.forwarder.record import RECORD_BYTES
from meshnet.forwarder.switch import Network
from meshnet.forwarder.table import Peer, Session

__all__ = ["INDEXES_KEPT", "DataSocket", "State"]

INDEXES_KEPT: Final = 65_536
"""Session indexes remembered so that no session is installed a second time."""


class DataSocket:
    """One UDP socket of the data plane."""

    __slots__ = ("family", "gro", "gso", "port", "sock")

    def __init__(self, sock: socket.socket, family: int, port: int, *, gso: bool, gro: bool) -> None:
        self.sock = sock
        self.family = family
        self.port = port
        self.gso = gso
        self.gro = gro


class State:
    """The forwarder's tables; `now` is seconds on CLOCK_BOOTTIME as of this turn."""

    def __init__(self) -> None:
        self.now = 0.0
        self.peers: dict[bytes, Peer] = {}
        self.sessions: dict[int, Session] = {}
        self.networks: dict[int, Network] = {}
        self.sockets: dict[int, DataSocket] = {}
        self.drops = DropCounters()
        self._used_indexes: dict[int, None] = {}
        self.sealed = memoryview(bytearray(RECORD_BYTES))
        self.header = bytearray(HEADER_BYTES)
        self._trains: dict[int, Train] = {}

    def peer(self, identity: bytes) -> Peer:
        """The peer with this identity, made on first mention."""
        found = self.peers.get(identity)
        if found is None:
            found = self.peers[identity] = Peer(identity)
        return found

    def can_reach(self, address: Address) -> bool:
        """Whether a data socket has the family of `address`; raises OSError or ValueError when it is no address."""
        host, port = address
        socket_address(host, port)
        return (socket.AF_INET6 if ":" in host else socket.AF_INET) in self.sockets

    def set_path(self, peer: Peer, address: Address, mtu: int) -> bool:
        """Where and in which datagram size to reach a peer; False when no socket has that address family."""
        host, port = address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        data_socket = self.sockets.get(family)
        if data_socket is None:
            return False
        peer.address = socket_address(host, port)
        peer.remote = address
        peer.mtu = mtu
        peer.send = data_socket.sock.sendmsg
        peer.gso = data_socket.gso and peer.gso_off_until < 0
        size = slice_bytes(mtu, family)
        if size not in self._trains:
            self._trains[size] = Train(self.sealed, size)
        peer.train = self._trains[size]
        return True

    def claim_index(self, index: int) -> bool:
        """Take a session index for good; False if it was installed before (INDEXES_KEPT are remembered)."""
        if index in self._used_indexes or index in self.sessions:
            return False
        self._used_indexes[index] = None
        if len(self._used_indexes) > INDEXES_KEPT:
            del self._used_indexes[next(iter(self._used_indexes))]
        return True

    def end_session(self, session: Session) -> None:
        """Forget a session and its keys; its peer keeps what it counted."""
        if self.sessions.pop(session.index, None) is None:
            return
        peer = session.peer
        peer.remove(session)
        peer.sent_records += session.sent_records
        peer.sent_bytes += session.sent_bytes
        peer.received_records += session.received_records
        peer.received_bytes += session.received_bytes

    def drop_peer(self, peer: Peer) -> None:
        """Forget a peer: its sessions, endpoints, learned addresses and what waits for it."""
        for session in peer.sessions():
            self.end_session(session)
        for network in self.networks.values():
            network.forget_peer(peer)
        self.peers.pop(peer.identity, None)

    def live_sessions(self) -> Iterator[Session]:
        """Every session, as a snapshot that may be changed while iterating."""
        return iter(list(self.sessions.values()))


def socket_address(host: str, port: int) -> SocketAddress:
    """The address as Python's recvmsg reports it, so that a comparison of tuples tells a moved peer.

    Raises OSError or ValueError when the host is no literal address, or its scope no interface.
    """
    if ":" not in host:
        socket.inet_pton(socket.AF_INET, host)
        return (host, port)
    plain, _, scope = host.partition("%")
    canonical = socket.inet_ntop(socket.AF_INET6, socket.inet_pton(socket.AF_INET6, plain))
    index = 0
    if scope:
        index = int(scope) if scope.isdigit() else socket.if_nametoindex(scope)
        canonical = f"{canonical}%{scope}" if not scope.isdigit() else f"{canonical}%{socket.if_indextoname(index)}"
    return (canonical, port, 0, index)
