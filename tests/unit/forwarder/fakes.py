"""Doubles shared by the forwarder's tests: TAPs, a loop that a test turns by hand, and forwarders joined over loopback.

Rule: the sockets are real (UDP GSO and GRO as the kernel gives them), the TAP is one end of a SEQPACKET pair, on which
readv and write keep message boundaries as a TAP does, and nothing happens unless a test calls for it.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
import time
from collections.abc import Callable
from struct import Struct
from typing import cast

from crypto.primitives import Suite
from crypto.session import Opener, Sealer
from meshnet.boundary import Address, Fact
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import HEADER, HEADER_BYTES, SOL_UDP, TYPE_RECORD, UDP_SEGMENT
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.loop import Loop
from meshnet.forwarder.record import KIND_FRAME
from meshnet.forwarder.state import DataSocket, State
from meshnet.forwarder.switch import LOCAL, Network
from meshnet.forwarder.table import ALL_FEATURES, Peer, Session
from meshnet.forwarder.vnet import PLAIN
from meshnet.host.udp import open_udp

NETWORK = 7
BROADCAST = b"\xff" * 6
DEADLINE_S = 5.0
SO_SNDBUFFORCE = 32
_numbers = itertools.count(1)


class FakeTap:
    """A TAP device: `fd` is the forwarder's end, `put` and `take` are the kernel's side of it."""

    def __init__(self) -> None:
        ours, self._far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (ours, self._far):
            end.setblocking(False)
            try:
                end.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 8 << 20)
            except OSError:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8 << 20)
        self.fd = ours.detach()

    def put(self, *frames: bytes) -> None:
        """The kernel hands frames (virtio header and all) to the forwarder."""
        for frame in frames:
            self._far.send(frame)

    def take(self) -> list[bytes]:
        """Everything the forwarder wrote so far."""
        found: list[bytes] = []
        while True:
            try:
                frame = self._far.recv(1 << 17)
            except BlockingIOError:
                return found
            if not frame:
                return found
            found.append(frame)

    def unplug(self) -> None:
        """Take the forwarder's end away from under it."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def close(self) -> None:
        self._far.close()
        self.unplug()


class ManualLoop:
    """An event loop that never turns: it keeps readers and timers until the test calls them."""

    def __init__(self) -> None:
        self.readers: dict[int, Callable[[], object]] = {}
        self.timers: list[tuple[float, Callable[[], object]]] = []
        self.armed: list[int] = []
        self.stopped = False

    def add_reader(self, fd: int, callback: Callable[[], object]) -> None:
        self.armed.append(fd)
        self.readers[fd] = callback

    def remove_reader(self, fd: int) -> bool:
        return self.readers.pop(fd, None) is not None

    def call_later(self, delay: float, callback: Callable[[], object]) -> None:
        self.timers.append((delay, callback))

    def stop(self) -> None:
        self.stopped = True

    def fire(self, delay: float) -> None:
        """Run every timer that was set with this delay."""
        due = [callback for after, callback in self.timers if after == delay]
        self.timers = [(after, callback) for after, callback in self.timers if after != delay]
        for callback in due:
            callback()


class Side:
    """One forwarder: its tables, a data socket on the loopback and one network with a TAP."""

    def __init__(self) -> None:
        self.number = next(_numbers)
        self.identity = bytes([self.number & 0xFF, self.number >> 8 & 0xFF]) * 16
        self.mac = b"\x02\0\0\0" + self.number.to_bytes(2)
        self.state = State()
        self.state.now = 1000.0
        self.facts = Facts(self.state.drops)
        self.loop = ManualLoop()
        self.work = Loop(cast(asyncio.AbstractEventLoop, self.loop), self.state, self.facts)
        udp = open_udp("127.0.0.1", 0)
        self.sock = udp.sock
        self.address: Address = self.sock.getsockname()
        self.data = DataSocket(udp.sock, socket.AF_INET, self.address[1], gso=udp.gso, gro=udp.gro)
        self.state.sockets[socket.AF_INET] = self.data
        self.tap = FakeTap()
        self.network = Network(NETWORK, "mt0", 1500, self.tap.fd, ALL_FEATURES)
        self.network.set_endpoint(self.mac, LOCAL)
        self.state.networks[NETWORK] = self.network
        self._fence = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    def close(self) -> None:
        self.sock.close()
        self.tap.close()
        self._fence.close()

    def know(self, other: Side) -> Peer:
        """The other side is a peer with an endpoint in the network."""
        peer = self.state.peer(other.identity)
        self.network.set_endpoint(other.mac, peer)
        return peer

    def install(
        self,
        other: Side,
        indexes: tuple[int, int],
        keys: tuple[bytes, bytes],
        *,
        initiator: bool,
        suite: Suite,
        mtu: int,
    ) -> Session:
        """What the verb InstallSession does; `indexes` are (own, remote), `keys` are (send, receive)."""
        index, remote = indexes
        peer = self.state.peer(other.identity)
        assert self.state.claim_index(index)
        assert self.state.set_path(peer, other.address, mtu)
        sealer, opener = Sealer(suite, keys[0]), Opener(suite, keys[1])
        session = Session(peer, index, remote, sealer, opener, initiator=initiator, now=self.state.now)
        self.state.sessions[index] = session
        for old in peer.install(session):
            self.state.end_session(old)
        self.work.installed(session)
        return session

    def peer(self, other: Side) -> Peer:
        return self.state.peers[other.identity]

    def transmit(self, *frames: bytes) -> None:
        """The frames wait in the TAP together, and are drained."""
        self.tap.put(*frames)
        self.work.outbound.drain(self.network)

    def receive(self) -> list[bytes]:
        """Take in everything that was sent to this side before the call; return what reached the TAP."""
        marks = self.state.drops[Drop.RUNT]
        self._fence.sendto(b"\0", self.address)
        end = time.monotonic() + DEADLINE_S
        while self.state.drops[Drop.RUNT] == marks:
            assert time.monotonic() < end, "the loopback lost a datagram"
            self.work.inbound.drain(self.data)
        self.state.drops[Drop.RUNT] -= 1
        return self.tap.take()

    def told(self) -> list[Fact]:
        """Every fact that waits, taken."""
        found = []
        while (fact := self.facts.take()) is not None:
            found.append(fact)
        return found

    @property
    def drops(self) -> dict[str, int]:
        return self.state.drops.nonzero()

    def count(self, reason: Drop) -> int:
        return self.state.drops[reason]

    def seal(self, session: Session, plaintext: bytes, *, counter: int | None = None) -> bytes:
        """One datagram that holds a record with this plaintext, made without the outbound path."""
        if counter is not None:
            session.sealer.counter = counter - 1
        header = bytearray(HEADER_BYTES)
        total = len(plaintext) + 16
        HEADER.pack_into(header, 0, TYPE_RECORD, 0, 0, 1, session.remote_index, total & 0xFFFF, 0, 0)
        sealed = bytearray(total)
        session.sealer.seal(header, plaintext, memoryview(sealed))
        return bytes(header) + bytes(sealed)


class Rig:
    """Makes sides and sockets and closes them all."""

    def __init__(self) -> None:
        self._made: list[Side | socket.socket] = []

    def __enter__(self) -> Rig:
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._made:
            each.close()

    def side(self) -> Side:
        side = Side()
        self._made.append(side)
        return side

    def pair(self, *, suite: Suite = Suite.AESGCM, mtu: int = 1500) -> tuple[Side, Side]:
        """Two sides with a confirmed session, each with one endpoint in the network."""
        left, right = self.side(), self.side()
        connect(left, right, suite=suite, mtu=mtu)
        return left, right

    def socket(self) -> socket.socket:
        """A UDP socket on the loopback that is nobody's."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(DEADLINE_S)
        self._made.append(sock)
        return sock

    def capture(self, sender: Side, receiver: Side, *frames: bytes) -> list[bytes]:
        """The datagrams that `sender` makes of the frames, which reach nobody."""
        sock = self.socket()
        peer = sender.peer(receiver)
        true = peer.address
        peer.address = sock.getsockname()
        try:
            sender.transmit(*frames)
        finally:
            peer.address = true
        fence = self.socket()
        fence.sendto(b"fence", sock.getsockname())
        found = []
        while (datagram := sock.recv(1 << 16)) != b"fence":
            found.append(datagram)
        return found


def connect(
    left: Side, right: Side, *, suite: Suite = Suite.AESGCM, mtu: int = 1500, confirm: bool = True
) -> tuple[Session, Session]:
    """A new session, `left` being its initiator; returns it as left and as right know it."""
    left.know(right)
    right.know(left)
    one, other = os.urandom(32), os.urandom(32)
    mine, theirs = next(_numbers), next(_numbers)
    far = right.install(left, (theirs, mine), (other, one), initiator=False, suite=suite, mtu=mtu)
    near = left.install(right, (mine, theirs), (one, other), initiator=True, suite=suite, mtu=mtu)
    if confirm:
        right.receive()
    return near, far


def current(side: Side, other: Side) -> Session:
    """The session under which `side` seals for `other`."""
    session = side.peer(other).current
    assert session is not None
    return session


def throw(sender: Side, receiver: Side, datagrams: list[bytes]) -> list[bytes]:
    """Send datagrams one by one from the sender's own socket; return what reached the receiver's TAP."""
    for datagram in datagrams:
        sender.sock.sendto(datagram, receiver.address)
    return receiver.receive()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; fails after DEADLINE_S."""
    end = time.monotonic() + DEADLINE_S
    while time.monotonic() < end:
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("not in time")


def ethernet(destination: bytes, source: bytes, size: int = 60, fill: int | None = None) -> bytes:
    """A plain frame of `size` bytes behind an empty virtio header; without `fill` its bytes are random."""
    body = os.urandom(size - 14) if fill is None else bytes([fill]) * (size - 14)
    return PLAIN + destination + source + b"\x88\xb5" + body


def entry(number: int, vnet_and_frame: bytes, kind: int = KIND_FRAME) -> bytes:
    """A frame entry of a record's plaintext."""
    return Struct(">II").pack(kind << 24 | 4 + len(vnet_and_frame), number) + vnet_and_frame


def send_train(sock: socket.socket, datagrams: list[bytes], address: Address) -> None:
    """Send datagrams of one train in one piece, so that UDP GRO hands them over whole."""
    segment = (SOL_UDP, UDP_SEGMENT, Struct("=H").pack(len(datagrams[0])))
    sock.sendmsg([b"".join(datagrams)], [segment], 0, address)
