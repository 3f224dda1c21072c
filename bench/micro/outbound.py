"""forwarder/outbound.py: frames from a TAP to the gather lists of their trains. HOT PATH: every frame sent.

The TAP is a socket pair, the kernel's sendmsg of the data socket is left out: a turn is what Python adds. The figures
include putting the frames into the TAP.
"""

from __future__ import annotations

import socket
from collections.abc import Callable

from crypto.primitives import Suite
from crypto.session import Opener, Sealer
from meshnet.forwarder.counters import DropCounters
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.outbound import Outbound
from meshnet.forwarder.state import DataSocket, State
from meshnet.forwarder.switch import Network
from meshnet.forwarder.table import Session

MAC = b"\x02\0\0\0\0\x01"
SHAPES = {"one-60": (1, 60), "one-1514": (1, 1514), "bundle-32x1514": (32, 1514), "super-frame-61440": (1, 61_440)}


def cases() -> dict[str, Callable[[], object]]:
    """One turn of the TAP's reader with one frame, with many that share records, and with a super-frame."""
    return {title: turn(*shape) for title, shape in SHAPES.items()}


def turn(frames: int, size: int) -> Callable[[], object]:
    ours, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, far):
        end.setblocking(False)
    state = State()
    data = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    state.sockets[socket.AF_INET] = DataSocket(data, socket.AF_INET, 1, gso=True, gro=True)
    peer = state.peer(bytes(32))
    state.set_path(peer, ("127.0.0.1", 1), 1500)
    peer.send = lambda *arguments: 0
    suite = Suite.AESGCM
    session = Session(peer, 1, 2, Sealer(suite, bytes(32)), Opener(suite, bytes(32)), initiator=True, now=0.0)
    peer.install(session)
    network = Network(1, "mt00000001", 1500, ours.fileno())
    network.set_endpoint(MAC, peer)
    outbound = Outbound(state, Facts(DropCounters()))
    frame = bytes(10) + MAC + bytes(size - 6)

    def case() -> None:
        for _ in range(frames):
            far.send(frame)
        outbound.drain(network)

    case.__dict__["kept"] = (ours, data)
    case()
    assert session.sent_data >= 1 and not state.drops.nonzero(), "the case measures something else"
    return case
