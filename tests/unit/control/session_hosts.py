"""What the tests of `Sessions` share: hosts on a fake forwarder and a host in memory, joined by a wire."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar, cast

from crypto.keys import StaticKey
from crypto.tai64n import stamp
from meshnet.boundary import (
    Address,
    Handshake,
    InstallSession,
    SendDatagram,
    SessionRow,
    SetCookieSecrets,
    SetHandshakeKeys,
    SetPath,
    Verb,
    Wanted,
)
from meshnet.control.handshakes.sessions import Sessions
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import Store, StoreError
from meshnet.control.supervise import Supervisor
from meshnet.host.memory import MemoryNetlink
from tests.unit.control.handshaking import AT_LARGE, AT_SMALL, LARGE, LARGE_ID, SMALL, SMALL_ID, local
from tests.unit.forwarder.fakes import until

BOOT, NEW_BOOT = bytes(8), b"\1" * 8
STRANGER_ID, AT_STRANGER = b"t" * 32, ("192.0.2.3", 6799)
ROUTE_MTU = 1400
V = TypeVar("V", bound=Verb)


class FakeSupervisor:
    """Writes down every verb; `answer` stands in for a forwarder that reacts at once."""

    def __init__(self) -> None:
        self.link: object | None = object()
        self.sent: list[Verb] = []
        self.answer: Callable[[Verb], None] = lambda verb: None

    def send(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        self.sent.append(verb)
        self.answer(verb)

    def all(self, kind: type[V]) -> list[V]:
        return [verb for verb in self.sent if isinstance(verb, kind)]

    def kinds(self) -> list[str]:
        return [type(verb).__name__ for verb in self.sent]

    def take(self) -> list[Verb]:
        taken, self.sent = self.sent, []
        return taken


class FakeStore:
    """Rows in memory; a commit takes effect in the next turn of the loop, or fails with `error`."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, bytes], bytes | None] = {}
        self.error: StoreError | None = None
        self.commits = 0

    def load(self, space: str) -> list[tuple[bytes, bytes]]:
        return [(key, value) for (held, key), value in self.rows.items() if held == space and value is not None]

    async def commit(self, puts: Iterable[PutLike]) -> None:
        await turns(1)
        if self.error is not None:
            raise self.error
        self.commits += 1
        self.rows.update({(put.space, put.key): put.value for put in puts})


class Host:
    """One peer's sessions on a clock that a test moves; `other` answers for the address of the one it talks to."""

    def __init__(
        self, own: bytes, static: StaticKey, address: Address, underlay_mtu: int | None = None, features: int = 31
    ) -> None:
        self.own, self.static, self.address = own, static, address
        self.now = 1000.0
        self.supervisor = FakeSupervisor()
        self.store = FakeStore()
        self.netlink = MemoryNetlink()
        self.sessions = Sessions(
            own,
            local(static),
            cast("Supervisor", self.supervisor),
            cast("Store", self.store),
            self.netlink,
            lambda: self.now,
            random.Random(1),
            underlay_mtu,
            lambda: features,
        )

    def start(self, boot: bytes = BOOT, held: Sequence[SessionRow] = ()) -> None:
        """Begin, with stamps reserved for the time of a test; that the forwarder was told its keys is not written."""
        self.sessions.start(boot, held)
        assert self.sessions._peers is not None
        self.sessions._peers.stamps_reserved(stamp(time.time_ns() + 10**13), self.now)
        told = (SetHandshakeKeys, SetCookieSecrets)
        self.supervisor.sent = [verb for verb in self.supervisor.sent if not isinstance(verb, told)]

    def know(self, other: Host, boot: bytes = BOOT, *more: str) -> None:
        host, port = other.address
        self.sessions.know(other.own, other.static.public, [*more, f"{host}:{port}"], boot)

    def take(self) -> list[Verb]:
        return self.supervisor.take()

    def the(self, kind: type[V]) -> V:
        found = self.supervisor.all(kind)
        assert len(found) == 1, self.supervisor.kinds()
        return found[0]


class Pair:
    """Two hosts that know each other, the smaller static key first, and a wire that a test carries things over."""

    def __init__(self, underlay_mtu: int | None = None) -> None:
        self.small = Host(SMALL_ID, SMALL, AT_SMALL, underlay_mtu, features=31)
        self.large = Host(LARGE_ID, LARGE, AT_LARGE, underlay_mtu, features=4)
        for host, other in ((self.small, self.large), (self.large, self.small)):
            host.netlink.mtus[other.address[0]] = ROUTE_MTU
            host.start()
            host.know(other)

    @property
    def hosts(self) -> tuple[Host, Host]:
        return self.small, self.large

    def carry(self) -> None:
        """Hand every datagram to the other end, until both are silent; verbs stay written down."""
        read = {host.own: 0 for host in self.hosts}
        moved = True
        while moved:
            moved = False
            for host, other in (self.hosts, self.hosts[::-1]):
                datagrams = host.supervisor.all(SendDatagram)
                for verb in datagrams[read[host.own] :]:
                    assert verb.address == other.address
                    other.sessions.fact(Handshake(address=host.address, data=verb.data))
                    moved = True
                read[host.own] = len(datagrams)

    def shake(self) -> tuple[InstallSession, InstallSession]:
        """The small one wants a session; both ends' sessions."""
        self.small.sessions.fact(Wanted(peer=LARGE_ID))
        self.carry()
        return self.small.the(InstallSession), self.large.the(InstallSession)

    async def settled(self) -> tuple[InstallSession, InstallSession]:
        """A session that works, with path MTUs known, and nothing written down of how it came to be."""
        made = self.shake()
        await until(lambda: all(host.supervisor.all(SetPath) for host in self.hosts))
        for host in self.hosts:
            host.take()
        return made


async def turns(count: int = 5) -> None:
    """Let what is ready run."""
    for _ in range(count):
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
