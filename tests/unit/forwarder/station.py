"""A forwarder's verbs on a real loop, and a meshnetd that speaks to it byte by byte."""

from __future__ import annotations

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from meshnet.boundary import (
    AddNetwork,
    AddSocket,
    Configure,
    Counters,
    Fact,
    HandshakeKeyRow,
    Hello,
    InstallSession,
    ReadCounters,
    SetHandshakeKeys,
    Verb,
    decode_fact,
    encode,
)
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.loop import Loop
from meshnet.forwarder.state import State
from meshnet.forwarder.verbs import Verbs
from meshnet.host.udp import open_udp
from tests.unit.forwarder.fakes import FakeTap, until

MESH, OWN, PEER = b"m" * 16, b"o" * 32, b"p" * 32
BOOT = b"bootboot"
SEND_KEY, RECEIVE_KEY = b"s" * 32, b"r" * 32
CONFIGURE = Configure(mesh=MESH, peer=OWN, suite="AESGCM")
HANDSHAKE_KEYS = SetHandshakeKeys(keys=[HandshakeKeyRow(epoch=0, mac1_key=b"k" * 32, cookie_key=b"c" * 32)])
F = TypeVar("F", bound=Fact)


def descriptors_open() -> int:
    return len(os.listdir("/proc/self/fd"))


class Client:
    """One connection of a meshnetd."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.connect(str(path))
        self.sock.setblocking(False)
        self.facts: deque[Fact] = deque()
        self.descriptors: list[int] = []
        self.ended = False
        self._requests = 100

    def send(self, verb: Verb, *descriptors: int) -> None:
        self.send_raw(encode(verb), *descriptors)

    def send_raw(self, data: bytes, *descriptors: int) -> None:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))
        self.sock.sendmsg([data], [rights] if descriptors else [])

    def read(self) -> None:
        while not self.ended:
            try:
                data, descriptors, _, _ = socket.recv_fds(self.sock, 1 << 17, 200)
            except BlockingIOError:
                return
            except ConnectionResetError:
                data, descriptors = b"", []
            self.descriptors += descriptors
            if data:
                self.facts.append(decode_fact(data))
            else:
                self.ended = True

    def has_ended(self) -> bool:
        """Whether the forwarder closed the connection; reads what came before."""
        self.read()
        return self.ended

    async def fact(self, kind: type[F]) -> F:
        """The next fact of this kind; earlier ones of other kinds stay in `facts`."""

        def found() -> list[F]:
            self.read()
            return [fact for fact in self.facts if isinstance(fact, kind)]

        await until(lambda: bool(found()))
        first = found()[0]
        self.facts.remove(first)
        return first

    async def settle(self) -> Counters:
        """Every verb sent so far is applied once this returns."""
        self._requests += 1
        self.send(ReadCounters(request=self._requests))
        while (counters := await self.fact(Counters)).request != self._requests:
            pass
        return counters

    def close(self) -> None:
        self.sock.close()
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()


class Station:
    """A forwarder without its process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(4)
        self._listener.setblocking(False)
        loop = asyncio.get_running_loop()
        self.complaints: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: self.complaints.append(context))
        self.state = State()
        self.work = Loop(loop, self.state, Facts(self.state.drops))
        self.verbs = Verbs(loop, self.work, self._listener, boot=BOOT, owner=os.getuid())
        self.stops: list[int] = []
        self.verbs.on_stop = lambda: self.stops.append(1)
        self.work.attended = False
        self.work.start()
        self._clients: list[Client] = []
        self._taps: list[FakeTap] = []

    def connect(self) -> Client:
        client = Client(self.path)
        self._clients.append(client)
        return client

    async def meshnetd(self) -> Client:
        """A connection that has configured the forwarder and given it a socket and network 1."""
        client = self.connect()
        await client.fact(Hello)
        client.send(CONFIGURE)
        client.send(HANDSHAKE_KEYS)
        await self.give_socket(client)
        self.give_network(client, 1)
        await client.settle()
        return client

    async def give_socket(self, client: Client) -> tuple[str, int]:
        data = open_udp("127.0.0.1", 0)
        address: tuple[str, int] = data.sock.getsockname()
        client.send(AddSocket(family=2, port=address[1], gso=data.gso, gro=data.gro), data.sock.fileno())
        await client.settle()
        data.close()
        return address

    def give_network(self, client: Client, number: int) -> FakeTap:
        """A TAP whose forwarder's end lives on only there."""
        tap = FakeTap()
        self._taps.append(tap)
        client.send(AddNetwork(number=number, device=f"mt{number:08x}", mtu=1500, features=31), tap.fd)
        tap.unplug()
        return tap

    def install(self, client: Client, address: tuple[str, int], /, **changes: Any) -> InstallSession:
        fields: dict[str, Any] = dict(
            peer=PEER,
            index=11,
            remote_index=22,
            send_key=SEND_KEY,
            receive_key=RECEIVE_KEY,
            initiator=True,
            address=address,
            mtu=1500,
            features=31,
            largest_record=64_000,
        )
        verb = InstallSession(**{**fields, **changes})
        client.send(verb)
        return verb

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(self._listener.fileno())
        for client in self._clients:
            client.close()
        self.verbs._disconnect()
        for held in self.state.sockets.values():
            if held.sock.fileno() >= 0:
                loop.remove_reader(held.sock.fileno())
                held.sock.close()
        for network in self.state.networks.values():
            loop.remove_reader(network.tap)
            os.close(network.tap)
        for tap in self._taps:
            tap.close()
        self._listener.close()


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Station]:
    """A station that is closed at the end, and no exception reached its loop."""
    made = Station(path)
    yield made
    made.close()
    assert made.complaints == [], "an exception reached the event loop"


def refused(counters: Counters) -> int:
    """How many verbs could not be applied so far."""
    return counters.drops.get("bad_verb", 0)
