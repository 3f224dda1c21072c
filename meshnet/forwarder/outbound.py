"""Outbound: frames from a TAP become records and leave as trains.                                  # HOT PATH

Why it is fast: every frame is read straight to the place where it becomes an entry (eight bytes are left free before
it), so consecutive frames for one peer already are a record's plaintext; the record is sealed once and leaves with one
sendmsg.  What waits in the TAP is bundled, never waited for.  A turn is bounded, so that a busy TAP cannot starve
the socket; the poll is level-triggered and comes back for the rest.
"""

import errno
import os
import socket
from struct import Struct
from typing import Final

from crypto.session import TAG_BYTES, CounterExhausted
from meshnet.forwarder.candidates import SocketAddress
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import HEADER, HEADER_BYTES, TYPE_RECORD, Train
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.record import (
    ETHERNET_BYTES,
    FRAME_PREFIX,
    KEEPALIVE,
    PLAINTEXT_BYTES,
    VNET_BYTES,
    write_prefix,
)
from meshnet.forwarder.segment import segments
from meshnet.forwarder.state import State
from meshnet.forwarder.switch import Network
from meshnet.forwarder.table import Peer, Session
from meshnet.forwarder.vnet import VNET, feature_of

__all__ = ["FLOODS_PER_S", "Outbound"]

FRAMES_PER_TURN: Final = 256
BUNDLE_FRAMES: Final = 64
BUNDLE_BYTES: Final = 32_000
"""A record this full leaves at once: a second super-frame would not fit anyway."""
FRAME_ROOM: Final = FRAME_PREFIX + VNET_BYTES + 65_536 + 32
"""What the largest frame a TAP can hand over needs, VLAN tags included."""
FLOODS_PER_S: Final = 10_000
"""Broadcast, multicast and unknown frames of one network that are replicated in a second."""
GSO_PAUSE_S: Final = 600.0
SMALL_MTU: Final = 1280
PATH_TOO_SMALL: Final = (errno.EMSGSIZE, errno.EINVAL)

_read_destination = Struct("6s").unpack_from


class Outbound:
    """The way from the TAPs to the wire."""

    __slots__ = ("_buffer", "_facts", "_floods", "_state", "_view")

    def __init__(self, state: State, facts: Facts) -> None:
        self._state = state
        self._facts = facts
        self._buffer = bytearray(PLAINTEXT_BYTES + 2 * FRAME_ROOM)
        self._view = memoryview(self._buffer)
        self._floods: dict[int, int] = {}

    # --- hot -------------------------------------------------------------------------------------------------------

    def drain(self, network: Network) -> None:
        """Forward what waits in a network's TAP, up to FRAMES_PER_TURN frames.  Raises OSError of the TAP."""
        buffer, view, tap, number = self._buffer, self._view, network.tap, network.number
        port_of, readv = network.ports.get, os.readv
        at = start = frames = 0
        target: Peer | None = None
        for _ in range(FRAMES_PER_TURN):
            entry = at
            try:
                size = readv(tap, (view[entry + FRAME_PREFIX :],))
            except BlockingIOError:
                break
            if size < VNET_BYTES + ETHERNET_BYTES:
                self._state.drops[Drop.RUNT] += 1
                continue
            port = port_of(_read_destination(buffer, entry + 18)[0])
            at = entry + FRAME_PREFIX + size
            if type(port) is not Peer or (
                (buffer[entry + 9] or at - entry > port.largest) and not self._fits(port, entry, at)
            ):
                if target is not None:
                    self._transmit(target, start, entry)
                    target = None
                self._exceptional(network, port, entry, at)
                at = start = frames = 0
                continue
            write_prefix(buffer, entry, size, number)
            if port is not target or at - start > port.largest:
                if target is not None:
                    self._transmit(target, start, entry)
                start, target, frames = entry, port, 0
            frames += 1
            if at - start >= BUNDLE_BYTES or frames >= BUNDLE_FRAMES or at > FRAME_ROOM:
                self._transmit(port, start, at)
                at = start = frames = 0
                target = None
        if target is not None:
            self._transmit(target, start, at)

    def _transmit(self, peer: Peer, start: int, end: int) -> None:
        """Seal the entries in [start, end) as one record and send its train."""
        session = peer.current
        if session is None:
            self._stage(peer, start, end)
            return
        self._seal_and_send(peer, session, self._view[start:end])
        session.sent_data += 1

    def _seal_and_send(self, peer: Peer, session: Session, plaintext: memoryview) -> None:
        state = self._state
        total = len(plaintext) + TAG_BYTES
        train, send = peer.train, peer.send
        assert train is not None and send is not None
        slices, tail = train.cut(total)
        header, sealed = state.header, state.sealed
        HEADER.pack_into(header, 0, TYPE_RECORD, 0, 0, slices, session.remote_index, tail, 0, 0)
        try:
            session.sealer.seal(header, plaintext, sealed[:total])
        except CounterExhausted:
            self._retire(session)
            return
        session.sent_records += 1
        session.sent_bytes += total
        try:
            if slices == 1:
                send((header, sealed[:total]), (), 0, peer.address)
            elif peer.gso:
                for views, ancillary in train.sends(train.views(header, slices, tail), slices):
                    send(views, ancillary, 0, peer.address)
            else:
                self._send_singly(peer, train, header, slices, tail)
        except BlockingIOError:
            state.drops[Drop.SOCKET_FULL] += 1
        except OSError as error:
            self._refused(peer, train, header, slices, tail, error)

    # --- cold ------------------------------------------------------------------------------------------------------

    def _fits(self, peer: Peer, entry: int, end: int) -> bool:
        """Tell whether a super-frame may go as it is: small enough, and of a kind the peer's TAP takes."""
        if end - entry > peer.largest:
            return False
        gso_type = self._buffer[entry + 9]
        frame = entry + FRAME_PREFIX + VNET_BYTES
        return gso_type == 0 or not feature_of(gso_type, self._buffer, frame, end) & ~peer.features

    def _exceptional(self, network: Network, port: object, entry: int, end: int) -> None:
        """Floods, and super-frames that must be cut first; the frame is at `entry` in the buffer."""
        body = bytes(self._view[entry + FRAME_PREFIX : end])
        if type(port) is Peer:
            peers = [port]
        elif port is not None:
            self._state.drops[Drop.NO_DESTINATION] += 1
            return
        else:
            peers = list(network.members)
            count = self._floods.get(network.number, 0)
            if count >= FLOODS_PER_S:
                self._state.drops[Drop.BROADCAST_LIMIT] += 1
                return
            self._floods[network.number] = count + 1
        for peer in peers:
            self.send_frame(peer, network.number, body)

    def send_frame(self, peer: Peer, number: int, body: bytes) -> None:
        """Send one frame (virtio header and all) to a peer, cut if it must be."""
        gso_type = VNET.unpack_from(body)[1]
        too_big = len(body) + FRAME_PREFIX > peer.largest
        if too_big or (gso_type and feature_of(gso_type, body, VNET_BYTES, len(body)) & ~peer.features):
            try:
                pieces = list(segments(body))
            except (ValueError, IndexError):
                self._state.drops[Drop.TOO_BIG] += 1
                return
        else:
            pieces = [body]
        for piece in pieces:
            if len(piece) + FRAME_PREFIX > peer.largest:
                self._state.drops[Drop.TOO_BIG] += 1
                continue
            buffer = self._buffer
            buffer[FRAME_PREFIX : FRAME_PREFIX + len(piece)] = piece
            write_prefix(buffer, 0, len(piece), number)
            self._transmit(peer, 0, FRAME_PREFIX + len(piece))

    def send_keepalive(self, peer: Peer, session: Session) -> None:
        """Send an empty record: key confirmation, or a sign of life."""
        self._seal_and_send(peer, session, memoryview(KEEPALIVE))

    def send_aside(self, session: Session, plaintext: bytes, address: SocketAddress) -> None:
        """Send a record of one small datagram to an address that need not be the peer's."""
        state = self._state
        data_socket = state.sockets.get(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
        if data_socket is None:
            state.drops[Drop.NO_SOCKET] += 1
            return
        total = len(plaintext) + TAG_BYTES
        header, sealed = state.header, state.sealed
        HEADER.pack_into(header, 0, TYPE_RECORD, 0, 0, 1, session.remote_index, total, 0, 0)
        try:
            session.sealer.seal(header, plaintext, sealed[:total])
        except CounterExhausted:
            self._retire(session)
            return
        session.sent_records += 1
        session.sent_bytes += total
        try:
            data_socket.sock.sendmsg((header, sealed[:total]), (), 0, address)
        except BlockingIOError:
            state.drops[Drop.SOCKET_FULL] += 1
        except OSError:
            state.drops[Drop.SEND_FAILED] += 1

    def send_staged(self, peer: Peer) -> None:
        """A session exists: send what waited for it, oldest first."""
        for entry in peer.take_staged():
            number = int.from_bytes(entry[4:8])
            self.send_frame(peer, number, entry[FRAME_PREFIX:])

    def next_second(self) -> None:
        """A second passed: networks may flood again."""
        self._floods.clear()

    def _stage(self, peer: Peer, start: int, end: int) -> None:
        buffer = self._buffer
        while start < end:
            stop = start + 4 + int.from_bytes(buffer[start + 1 : start + 4])
            self._state.drops[Drop.STAGE_FULL] += peer.stage(bytes(self._view[start:stop]))
            start = stop
        if not peer.wanted:
            peer.wanted = True
            self._facts.wanted(peer.identity)

    def _retire(self, session: Session) -> None:
        self._state.end_session(session)
        self._facts.session_ended(session.index, "record counter used up")

    def _refused(self, peer: Peer, train: Train, header: bytearray, slices: int, tail: int, error: OSError) -> None:
        """The kernel would not take a train: remember why, so that the next one leaves."""
        state = self._state
        is_smallest = error.errno == errno.EINVAL and peer.mtu <= SMALL_MTU
        if (error.errno == errno.EIO or is_smallest) and peer.gso and slices > 1:
            peer.gso = False
            peer.gso_off_until = state.now + GSO_PAUSE_S
            self._facts.trouble(f"UDP GSO refused towards {peer.remote}: sending datagrams singly for 10 minutes")
            try:
                self._send_singly(peer, train, header, slices, tail)
            except OSError:
                state.drops[Drop.SEND_FAILED] += 1
        elif error.errno in PATH_TOO_SMALL and peer.remote is not None and peer.mtu > SMALL_MTU:
            # The slice count is sealed into the record, so it cannot be cut anew: this one is lost, the next fits.
            state.drops[Drop.TOO_BIG] += 1
            state.set_path(peer, peer.remote, SMALL_MTU)
            self._facts.trouble(
                f"path to {peer.remote} takes less than was known: MTU {SMALL_MTU} until told otherwise"
            )
        else:
            state.drops[Drop.SEND_FAILED] += 1

    def _send_singly(self, peer: Peer, train: Train, header: bytearray, slices: int, tail: int) -> None:
        send = peer.send
        assert send is not None
        views = train.views(header, slices, tail)
        for at in range(0, len(views), 2):
            send(views[at : at + 2], (), 0, peer.address)


assert HEADER.size == HEADER_BYTES
