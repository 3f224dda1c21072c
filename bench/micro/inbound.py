"""forwarder/inbound.py: a received buffer opened and its frames written out. HOT PATH: every frame received.

The socket hands over the same prepared buffer each time (its copy stands in for the kernel's), the TAP is /dev/null,
and a fresh replay window makes the record new again: a turn is what Python adds.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from struct import Struct
from typing import cast

from crypto.primitives import Suite
from crypto.replay import ReplayWindow
from crypto.session import TAG_BYTES, Opener, Sealer
from meshnet.forwarder.datagram import HEADER, HEADER_BYTES, SOL_UDP, TYPE_RECORD, UDP_GRO, Train
from meshnet.forwarder.inbound import Inbound
from meshnet.forwarder.record import RECORD_BYTES, write_prefix
from meshnet.forwarder.state import DataSocket, State
from meshnet.forwarder.switch import Network
from meshnet.forwarder.table import Session

MAC = b"\x02\0\0\0\0\x01"
SLICE = 1456
ADDRESS = ("127.0.0.1", 1)
SHAPES = {"one-60": (1, 60), "one-1514": (1, 1514), "bundle-32x1514": (32, 1514), "super-frame-61440": (1, 61_440)}


class Received:
    """A socket that always has one GRO buffer and then nothing more."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._ancillary = [(SOL_UDP, UDP_GRO, Struct("=i").pack(SLICE + HEADER_BYTES))]
        self._turn = False

    def recvmsg_into(self, buffers: tuple[memoryview], _: int) -> tuple[int, list[tuple[int, int, bytes]], int, object]:
        self._turn = not self._turn
        if not self._turn:
            raise BlockingIOError
        size = len(self._data)
        buffers[0][:size] = self._data
        return size, self._ancillary, 0, ADDRESS


def cases() -> dict[str, Callable[[], object]]:
    """One buffer with a small frame, with a full one, with many that share a record, and with a super-frame."""
    return {title: turn(*shape) for title, shape in SHAPES.items()}


def train(index: int, frames: int, size: int) -> bytes:
    """The datagrams of one record, one behind the other."""
    plaintext = bytearray()
    for _ in range(frames):
        at = len(plaintext)
        plaintext += bytes(8) + bytes(10) + bytes(6) + MAC + bytes(size - 12)
        write_prefix(plaintext, at, size + 10, 1)
    sealed = memoryview(bytearray(RECORD_BYTES))
    total = len(plaintext) + TAG_BYTES
    made = Train(sealed, SLICE)
    slices, tail = made.cut(total)
    header = bytearray(HEADER.pack(TYPE_RECORD, 0, 0, slices, index, tail, 0, 0))
    Sealer(Suite.AESGCM, bytes(32)).seal(header, plaintext, sealed[:total])
    return b"".join(made.views(header, slices, tail))


def turn(frames: int, size: int) -> Callable[[], object]:
    state = State()
    peer = state.peer(bytes(32))
    peer.address = ADDRESS
    suite = Suite.AESGCM
    session = Session(peer, 7, 8, Sealer(suite, bytes(32)), Opener(suite, bytes(32)), initiator=True, now=0.0)
    state.sessions[7] = session
    peer.install(session)
    network = state.networks[1] = Network(1, "mt00000001", 1500, os.open(os.devnull, os.O_WRONLY))
    network.set_endpoint(MAC, peer)
    data = DataSocket(cast(socket.socket, Received(train(7, frames, size))), socket.AF_INET, 1, gso=True, gro=True)
    inbound = Inbound(
        state,
        on_handshake=lambda datagram, address: None,
        on_confirmed=lambda confirmed: None,
        on_elsewhere=lambda moved, address: None,
        on_entry=lambda moved, kind, body, address: None,
    )

    def case() -> None:
        session.opener.window = ReplayWindow()
        inbound.drain(data)

    case()
    assert session.received_data == frames and not state.drops.nonzero(), "the case measures something else"
    return case
