"""Inbound: trains from the wire are opened and their frames written to the TAPs.                   # HOT PATH

Why it is fast: with UDP GRO one recvmsg fills the buffer with a whole train.  Its slice numbers are checked with one
strided comparison, its slices joined from views that are built once per segment size, and the record is opened once
into a buffer from which each frame goes to its TAP as one slice, virtio header and all.

Nothing a remote sender does may raise past `drain`: whatever is wrong with a datagram is a named drop.
"""

import errno
import os
import sys
from collections.abc import Callable
from struct import Struct
from typing import Final

from crypto.errors import RemoteError
from crypto.session import TAG_BYTES
from meshnet.forwarder.candidates import SocketAddress
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import HEADER_BYTES, INDEXES, TYPE_RECORD, UDP_GRO, read_counter
from meshnet.forwarder.reassembly import Reassembly
from meshnet.forwarder.record import (
    FRAME_PREFIX,
    KIND_FRAME,
    KIND_KEEPALIVE,
    RECORD_BYTES,
    VNET_BYTES,
    read_prefix,
)
from meshnet.forwarder.state import DataSocket, State
from meshnet.forwarder.switch import Network
from meshnet.forwarder.table import Peer, Session
from meshnet.forwarder.vnet import PLAIN, is_sane

__all__ = ["COUNTERS_AHEAD", "Inbound"]

DATAGRAMS_PER_TURN: Final = 64
RECEIVE_BYTES: Final = 65_536
COUNTERS_AHEAD: Final = 1_024
"""How far above the highest authenticated counter a record may be to get a place in reassembly."""
LANES: Final = 1
VIEW_SETS: Final = 32
FULL: Final = (errno.EAGAIN, errno.ENOBUFS, errno.ENOMEM)

_read_u32 = Struct(">I").unpack_from
_read_source = Struct("6s").unpack_from


class Inbound:
    """The way from the wire to the TAPs.

    `on_handshake(datagram, address)` gets what is not a record; `on_confirmed(session)` hears when a session's first
    record opened under `next`, `on_elsewhere(session, address)` when its newest record came from elsewhere than its
    peer is; `on_entry(session, kind, body, address)` gets a record's entries that are neither frame nor keepalive.
    """

    __slots__ = (
        "_open",
        "_out",
        "_state",
        "_views",
        "_wire",
        "_wire_view",
        "on_confirmed",
        "on_elsewhere",
        "on_entry",
        "on_handshake",
        "reassembly",
    )

    def __init__(
        self,
        state: State,
        *,
        on_handshake: Callable[[bytes, SocketAddress], None],
        on_confirmed: Callable[[Session], None],
        on_elsewhere: Callable[[Session, SocketAddress], None],
        on_entry: Callable[[Session, int, bytes, SocketAddress], None],
    ) -> None:
        self._state = state
        self._wire = bytearray(RECEIVE_BYTES)
        self._wire_view = memoryview(self._wire)
        self._open = bytearray(RECORD_BYTES + RECEIVE_BYTES)
        self._out = memoryview(self._open)
        self._views: dict[int, list[memoryview]] = {}
        self.reassembly = Reassembly()
        self.on_handshake = on_handshake
        self.on_confirmed = on_confirmed
        self.on_elsewhere = on_elsewhere
        self.on_entry = on_entry

    # --- hot -------------------------------------------------------------------------------------------------------

    def drain(self, data_socket: DataSocket) -> None:
        """Take what waits in a data socket, up to DATAGRAMS_PER_TURN.  Raises OSError of the socket."""
        receive = data_socket.sock.recvmsg_into
        buffers = (self._wire_view,)
        wire = self._wire
        for _ in range(DATAGRAMS_PER_TURN):
            try:
                size, ancillary, _, address = receive(buffers, 64)
            except BlockingIOError:
                return
            segment = size
            for _, kind, data in ancillary:
                if kind == UDP_GRO:
                    segment = int.from_bytes(data[:4], sys.byteorder)
            at = 0
            while at < size:
                if size - at >= HEADER_BYTES and wire[at] & 0x0F == TYPE_RECORD:
                    at = self._take(at, size, segment, address)
                else:
                    self._not_a_record(at, min(at + segment, size), address)
                    at += segment

    def _take(self, at: int, size: int, segment: int, address: SocketAddress) -> int:
        """Take the record that begins at `at`, whole or its one datagram; return where the next one begins."""
        wire, view = self._wire, self._wire_view
        following = at + segment
        session = self._state.sessions.get(_read_u32(wire, at + 4)[0])
        if session is None:
            self._state.drops[Drop.UNKNOWN_SESSION] += 1
            return following
        if wire[at + 1] >= LANES:
            self._state.drops[Drop.UNKNOWN_LANE] += 1
            return following
        slices = wire[at + 3]
        if slices == 1 and wire[at] == TYPE_RECORD and wire[at + 2] == 0:
            stop = min(following, size)
            self._whole(session, view[at : at + HEADER_BYTES], view[at + HEADER_BYTES : stop], address)
            return following
        stop = at + (slices - 1) * segment + HEADER_BYTES + (wire[at + 8] << 8 | wire[at + 9])
        if (
            wire[at + 2] == 0
            and wire[at] == TYPE_RECORD
            and slices
            and stop <= size
            and wire[at + 2 : stop : segment] == INDEXES[slices]
            and wire[at + 15 : stop : segment] == wire[at + 15 : at + 16] * slices
            and (stop == size or stop == at + slices * segment)
        ):
            last = at + (slices - 1) * segment + HEADER_BYTES
            pieces = self._slices(segment)[: slices - 1] if at == 0 else self._slices_at(at, segment, slices - 1)
            sealed = b"".join((*pieces, view[last:stop]))
            if self._whole(session, view[at : at + HEADER_BYTES], sealed, address):
                return at + slices * segment
            # A forged slice among true ones must not cost the record: each datagram is judged by itself.
        self._partial(session, at, min(following, size), address)
        return following

    def _whole(self, session: Session, header: memoryview, sealed: bytes | memoryview, address: SocketAddress) -> bool:
        """Open a record and deliver its frames; False when its tag did not verify."""
        total = len(sealed)
        size = total - TAG_BYTES
        if size < 0 or total > RECORD_BYTES:
            self._state.drops[Drop.BAD_HEADER] += 1
            return False
        opener = session.opener
        high, low = read_counter(header, 10)
        counter = high << 32 | low
        if not opener.is_fresh(counter):
            self._state.drops[Drop.REPLAY] += 1
            return True
        newest = counter > opener.window.highest
        try:
            opener.open(header, sealed, self._out[:size])
        except RemoteError:
            self._state.drops[Drop.BAD_TAG] += 1
            return False
        session.received_records += 1
        session.received_bytes += total
        peer = session.peer
        if session is peer.next:
            self.on_confirmed(session)
        self._deliver(session, size, address)
        # After its entries: among them may be the echo that has just moved the peer there.
        if address != peer.address and newest:
            self.on_elsewhere(session, address)
        return True

    def _deliver(self, session: Session, size: int, address: SocketAddress) -> None:
        """Write the frames of the opened record, `size` plaintext bytes, to their TAPs."""
        plain, out, networks, peer = self._open, self._out, self._state.networks, session.peer
        at = frames = 0
        while at + 4 <= size:
            word, number = read_prefix(plain, at)
            end = at + 4 + (word & 0xFFFFFF)
            if end > size:
                break
            if word >> 24 == KIND_FRAME:
                frames += 1
                network = networks.get(number)
                if network is None:
                    self._state.drops[Drop.UNKNOWN_NETWORK] += 1
                elif self._is_allowed(network, peer, at, end):
                    try:
                        os.write(network.tap, out[at + FRAME_PREFIX : end])
                    except OSError as error:
                        self._tap_refused(error)
            elif word >> 24 != KIND_KEEPALIVE:
                self.on_entry(session, word >> 24, bytes(out[at + 4 : end]), address)
            at = end
        if at != size:
            self._state.drops[Drop.MALFORMED_ENTRY] += 1
        session.received_data += frames

    def _is_allowed(self, network: Network, peer: Peer, at: int, end: int) -> bool:
        """Check the source and the virtio header of the frame entry at `at`; counts why not."""
        plain = self._open
        frame = at + FRAME_PREFIX + VNET_BYTES
        if frame + 14 > end:
            self._state.drops[Drop.MALFORMED_ENTRY] += 1
            return False
        source = _read_source(plain, frame + 6)[0]
        if network.ports.get(source) is not peer and not network.admits(peer, source, self._state.now):
            self._state.drops[Drop.SPOOFED_SOURCE if peer in network.members else Drop.NOT_A_MEMBER] += 1
            return False
        if plain[at + FRAME_PREFIX : frame] != PLAIN and not is_sane(plain, at + FRAME_PREFIX, end):
            self._state.drops[Drop.BAD_VNET_HEADER] += 1
            return False
        return True

    # --- cold ------------------------------------------------------------------------------------------------------

    def _slices(self, segment: int) -> list[memoryview]:
        """Views of the slices of a train that begins at 0, built once per segment size."""
        views = self._views.get(segment)
        if views is None:
            if len(self._views) >= VIEW_SETS:
                self._views.clear()
            views = self._views[segment] = self._slices_at(0, segment, RECEIVE_BYTES // segment)
        return views

    def _slices_at(self, at: int, segment: int, count: int) -> list[memoryview]:
        view = self._wire_view
        return [view[start + HEADER_BYTES : start + segment] for start in range(at, at + count * segment, segment)]

    def _partial(self, session: Session, at: int, end: int, address: SocketAddress) -> None:
        """One datagram of a train that did not arrive whole: keep its slice until the others are there."""
        state, wire = self._state, self._wire
        drops = state.drops
        number, slices = wire[at + 2], wire[at + 3]
        tail = wire[at + 8] << 8 | wire[at + 9]
        length = end - at - HEADER_BYTES
        high, low = read_counter(wire, at + 10)
        counter = high << 32 | low
        window = session.opener.window
        if wire[at] != TYPE_RECORD or number >= slices or length <= 0 or (number == slices - 1 and length != tail):
            drops[Drop.BAD_HEADER] += 1
        elif address != session.peer.address:
            drops[Drop.FOREIGN_ADDRESS] += 1
        elif not session.opener.is_fresh(counter) or counter > window.highest + COUNTERS_AHEAD:
            drops[Drop.REPLAY] += 1
        else:
            wire[at + 2] = 0
            key = bytes(self._wire_view[at : at + HEADER_BYTES])
            piece = bytes(self._wire_view[at + HEADER_BYTES : end])
            entry = self.reassembly.add(key, session.index, number, slices, piece, state.now)
            if self.reassembly.evicted:
                drops[Drop.REASSEMBLY_FULL] += self.reassembly.evicted
                self.reassembly.evicted = 0
            if entry is None:
                return
            for sealed in entry.candidates():
                entry.opens += 1
                if self._whole(session, memoryview(key), sealed, address):
                    self.reassembly.remove(key)
                    return
            drops[Drop.REASSEMBLY_CONFLICT] += 1
            if not entry.candidates():
                self.reassembly.remove(key)

    def _not_a_record(self, at: int, end: int, address: SocketAddress) -> None:
        if end - at < 4:
            self._state.drops[Drop.RUNT] += 1
        else:
            self.on_handshake(bytes(self._wire_view[at:end]), address)

    def _tap_refused(self, error: OSError) -> None:
        """A TAP would not take a frame: its queue is full, the kernel found the header wrong, or it is down."""
        if error.errno in FULL:
            self._state.drops[Drop.TAP_FULL] += 1
        else:
            self._state.drops[Drop.TAP_REFUSED] += 1
