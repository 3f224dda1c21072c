"""Finding peers beside gossip: an operator's addresses bring links and last, a restart finds the mesh where it was."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from gossip.events import PeerView
from meshnet.control.keys.membership import Membership
from meshnet.control.links import reaching as module
from meshnet.control.links.links import Links
from meshnet.control.links.reaching import REDIAL_S, WRITE_S, Reaching
from meshnet.control.links.ways import SPACE, Ways
from meshnet.control.store.store import StoreError
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.loopback import MemoryStore, Mesh, Peer, poll


@dataclass
class Host:
    """A peer with its ways; gossip tells the others `says` as its address."""

    peer: Peer
    now: float = 1000.0
    readdressed: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        rows = [(key, value) for (space, key), value in self.peer.store.rows.items() if space == SPACE]
        self.ways = Ways(rows)
        self.reaching = Reaching(
            self.peer.runner, self.peer.store, self.ways, self._readdress, lambda: self.now, random.Random(1)
        )
        self.reaching.links = self.peer.links
        self.peer.links._ways, self.peer.links._on_reached = self.ways.to, self.reaching.reached

    def _readdress(self, view: PeerView) -> None:
        self.readdressed.append(view.identity)

    @property
    def stored(self) -> list[bytes]:
        return [key for space, key in self.peer.store.rows if space == SPACE]


class Elsewhere(Peer):
    """A peer that says an address where nobody is."""

    says = ""

    def body(self):  # type: ignore[no-untyped-def]
        body = super().body()
        return type(body)(
            body.name, [self.says] if self.says else [], body.static, body.chain, body.boot, body.version, body.secrets
        )


@pytest.fixture
def dead() -> str:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"127.0.0.1:{gone.getsockname()[1]}"


@pytest.fixture
async def two(mesh: Mesh, dead: str) -> AsyncIterator[tuple[Host, Elsewhere]]:
    """A host, and a peer that it knows and that nobody can dial by what gossip tells."""
    a = await mesh.run(mesh.founder)
    b = Elsewhere(mesh.member("beta"))
    b.says = dead
    await b.start()
    mesh.keep(b)
    await a.absorb(b.runner.node.export())
    yield Host(a), b


async def test_an_added_address_brings_a_link_and_lasts(two: tuple[Host, Elsewhere]) -> None:
    host, b = two
    answer = await host.reaching.connect("beta", [b.address])
    assert answer == {
        "schema": "meshnet.peer-addresses/v1",
        "name": "beta",
        "id": b.identity.hex(),
        "addresses": [b.address],
        "linked": True,
        "linked_before": False,
        "tried": [],
    }
    assert host.readdressed == [b.identity] and host.ways.to(b.identity, [b.says]) == [b.address, b.says]
    assert host.stored == [b.identity]
    again = await host.reaching.connect(b.identity.hex(), [b.address])
    assert again == {**answer, "linked_before": True}, "once more is the same"
    assert Host(host.peer).ways.added(b.identity) == (b.address,)


async def test_an_address_where_nobody_is_is_kept_and_told(
    two: tuple[Host, Elsewhere], dead: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, b = two
    other = "127.0.0.1:1"
    answer = await host.reaching.connect("beta", [other])
    assert answer["linked"] is False and answer["addresses"] == [other]
    assert answer["tried"] == [
        {"address": other, "problem": "connection refused"},
        {"address": dead, "problem": "connection refused"},
    ]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(module, "CONNECT_WITHIN_S", 0.05)
        mute = f"127.0.0.1:{silent.getsockname()[1]}"
        answer = await host.reaching.connect("beta", [mute])
    assert answer["tried"] == [{"address": mute, "problem": "no answer"}]
    assert host.ways.added(b.identity) == (mute, other)


async def test_forgetting_takes_one_or_all_back_and_what_worked_there(two: tuple[Host, Elsewhere]) -> None:
    host, b = two
    await host.reaching.connect("beta", [b.address, "192.0.2.9:1"])
    await poll(lambda: host.ways.last(b.identity) == (b.address,))
    answer = await host.reaching.forget("beta", [b.address, "192.0.2.77:5"])
    assert (answer["addresses"], answer["linked"]) == (["192.0.2.9:1"], True)
    assert host.ways.to(b.identity, []) == ["192.0.2.9:1"]
    assert (await host.reaching.forget("beta", []))["addresses"] == []
    assert (await host.reaching.forget("beta", []))["addresses"] == []
    assert host.stored == [] and host.ways.to(b.identity, []) == []
    assert host.readdressed == [b.identity] * 4


@pytest.mark.parametrize(
    ("text", "addresses", "code"),
    [
        ("nobody", ["192.0.2.1:1"], ExitCode.NOT_FOUND),
        ("alpha", ["192.0.2.1:1"], ExitCode.USAGE),
        ("beta", ["host.example:1"], ExitCode.USAGE),
        ("beta", ["192.0.2.1"], ExitCode.USAGE),
        ("beta", ["192.0.2.1:0"], ExitCode.USAGE),
        ("beta", ["192.0.2.1:65536"], ExitCode.USAGE),
        ("beta", ["0.0.0.0:1"], ExitCode.USAGE),
        ("beta", ["[ff02::1]:1"], ExitCode.USAGE),
        ("beta", [f"192.0.2.1:{port}" for port in range(1, 10)], ExitCode.USAGE),
    ],
)
async def test_what_makes_no_sense_is_refused_and_nothing_is_kept(
    two: tuple[Host, Elsewhere], text: str, addresses: list[str], code: ExitCode
) -> None:
    host = two[0]
    with pytest.raises(MeshnetError) as refusal:
        await host.reaching.connect(text, addresses)
    assert refusal.value.code is code
    assert host.stored == [] and host.ways.peers() == []


async def test_one_spelling_of_an_address_is_kept(two: tuple[Host, Elsewhere]) -> None:
    host, b = two
    await host.reaching.connect("beta", [b.address])
    answer = await host.reaching.connect("beta", ["[2001:DB8:0::7]:06799"])
    assert answer["addresses"] == ["[2001:db8::7]:6799", b.address]
    assert (await host.reaching.forget("beta", ["[2001:db8::7]:6799"]))["addresses"] == [b.address]


async def test_who_left_is_not_connected_to_and_leaves_nothing(two: tuple[Host, Elsewhere]) -> None:
    host, b = two
    await host.reaching.connect("beta", [b.address])
    await b.runner.step(b.runner.node.leave)
    await poll(lambda: any(view.left for view in host.peer.runner.node.peers()))
    with pytest.raises(MeshnetError, match="left the mesh"):
        await host.reaching.connect("beta", [b.address])
    host.reaching.gone(b.identity)
    assert host.ways.to(b.identity, []) == []
    host.now += WRITE_S
    await host.reaching.step()
    assert host.stored == []


async def test_what_cannot_be_stored_does_not_count(two: tuple[Host, Elsewhere]) -> None:
    host, b = two
    host.peer.store.error = StoreError("cannot write", "no space", "free some")
    with pytest.raises(StoreError):
        await host.reaching.connect("beta", [b.address])
    assert host.ways.added(b.identity) == () and not host.peer.links.linked(b.identity)
    host.ways.reached(b.identity, b.address)
    host.now += WRITE_S
    with pytest.raises(StoreError):
        await host.reaching.step()
    await host.reaching.close()
    host.peer.store.error = None
    host.now += WRITE_S
    await host.reaching.step()
    assert host.stored == [b"last"]


async def test_what_is_learned_is_written_at_most_once_in_a_while_and_at_the_end(
    two: tuple[Host, Elsewhere], monkeypatch: pytest.MonkeyPatch
) -> None:
    host, b = two
    writes: list[object] = []
    commit = MemoryStore.commit

    async def counted(store: MemoryStore, puts: list[object]) -> None:
        writes.append(puts)
        await commit(store, puts)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryStore, "commit", counted)
    for second in range(60):
        host.now += 1.0
        host.ways.reached(b.identity, f"192.0.2.1:{second + 1}")
        host.ways.reached(b"x" * 32, f"192.0.2.1:{second + 1}")
        await host.reaching.step()
    assert len(writes) == 60 // WRITE_S
    host.ways.reached(b.identity, "192.0.2.1:99")
    await host.reaching.close()
    await host.reaching.close()
    assert len(writes) == 60 // WRITE_S + 1
    assert Host(host.peer).ways.last(b.identity)[0] == "192.0.2.1:99"


async def test_a_restart_finds_the_mesh_where_it_was_though_gossip_tells_another_address(mesh: Mesh, dead: str) -> None:
    b = Elsewhere(mesh.member("beta"))
    b.says = dead
    mesh.keep(await b.start())
    first, store = mesh.founder, MemoryStore()
    host = Host(Peer(first, store))
    await host.peer.start(b)
    await host.reaching.connect("beta", [b.address])
    await host.reaching.forget("beta", [])  # what was added is not what is to be seen here
    host.ways.reached(b.identity, b.address)
    await host.reaching.close()
    await host.peer.stop()
    await poll(lambda: b.linked == [])
    again = Host(Peer(first, store))
    mesh.keep(again.peer)
    again.reaching.begin()
    again.reaching.begin()
    await again.peer.links.start()
    await again.peer.begin()
    await poll(lambda: again.peer.linked == [b.identity])
    assert again.ways.to(b.identity, []) == [b.address]


async def test_a_peer_without_any_address_in_gossip_is_tried_again_and_again(mesh: Mesh) -> None:
    a, membership = await mesh.run(mesh.founder), mesh.member("beta")
    host, told = Host(a), await _absorbed(a, membership)
    host.ways.put(told.identity, (told.address,))
    await told.stop()
    for _ in range(2):
        before = a.links.counters["dials that reached nobody"]
        host.now += REDIAL_S
        await host.reaching.step()
        await poll(lambda before=before: a.links.counters["dials that reached nobody"] > before)  # type: ignore[misc]
    await host.reaching.step()
    assert not a.links._dialing, "not before its time"
    back = Elsewhere(membership, told.store, told.port)
    mesh.keep(await back.start())
    host.now += REDIAL_S
    await host.reaching.step()
    await poll(lambda: a.linked == [back.identity])


async def _absorbed(a: Peer, membership: Membership) -> Elsewhere:
    peer = Elsewhere(membership)
    await peer.start()
    await a.absorb(peer.runner.node.export())
    return peer


async def test_without_links_addresses_are_kept_all_the_same(two: tuple[Host, Elsewhere]) -> None:
    host, b = two
    links: Links | None = host.reaching.links
    host.reaching.links = None
    host.reaching.begin()
    answer = await host.reaching.connect("beta", [b.address])
    assert (answer["linked"], answer["addresses"]) == (False, [b.address])
    host.reaching.links = links
    await asyncio.gather(*(host.reaching.connect("beta", [f"192.0.2.{number}:1"]) for number in range(1, 4)))
    assert len(host.ways.added(b.identity)) == 4
