"""Opening links: dead and silent addresses cost little, one link comes of many that answer, each failure is told."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Iterator

import pytest

from gossip.events import Dial
from meshnet.control.keys.membership import Membership
from meshnet.control.links import dialling as module
from meshnet.control.links.dialling import Dialling, Tried
from tests.unit.control.loopback import Mesh, Peer, poll


@pytest.fixture
def silent() -> Iterator[str]:
    """An address that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def closed() -> str:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return f"127.0.0.1:{gone.getsockname()[1]}"


def dial_of(peer: Peer | Membership, *addresses: str) -> Dial:
    own = peer.membership if isinstance(peer, Peer) else peer
    return Dial(own.identity.public, own.static.public, list(addresses))


async def test_a_silent_address_delays_the_next_by_the_stagger_alone(
    mesh: Mesh, silent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STAGGER_S", 0.05)
    a, b = await mesh.run(mesh.founder), await mesh.run(mesh.member("beta"))
    tried = await a.links.reach(dial_of(b, silent, silent.replace("127.0.0.1", "127.0.0.2"), b.address), 4.0)
    assert tried is None and a.links.linked(b.identity)
    await poll(lambda: not a.links._dialing and len(a.links._tasks) == 1)


async def test_a_dead_address_is_told_with_its_reason_and_the_next_is_tried_at_once(mesh: Mesh, closed: str) -> None:
    a, b = await mesh.run(mesh.founder), await mesh.run(mesh.member("beta"))
    tried = Tried()
    dialling = Dialling(a.keys, a.links._admit, lambda peer: (), a.links.counters, os.urandom)
    opened = await dialling.race(dial_of(b), [closed, "nonsense", a.address, b.address], tried)
    assert opened is not None and opened.address == b.address
    assert tried[closed] == "connection refused"
    assert "not HOST:PORT" in tried["nonsense"] and tried[a.address]
    assert tried.said().startswith(f"nonsense: not HOST:PORT; {closed}: connection refused; ")
    opened.pipe.abort()


async def test_of_many_that_answer_one_is_a_link(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STAGGER_S", 0.0)
    a, b = await mesh.run(mesh.founder), await mesh.run(mesh.member("beta"))
    ways = [b.address, f"localhost:{b.port}", f"127.1:{b.port}", f"127.0.1:{b.port}"]
    assert await a.links.reach(dial_of(b, *ways), 4.0) is None
    await poll(lambda: len(a.links) == len(b.links) == 1)
    await poll(lambda: a.linked == [b.identity] and b.links.counters["links opened"] == 1)
    assert a.links.counters["faults"] == b.links.counters["faults"] == 0


async def test_an_answer_that_does_not_come_in_time_is_told(mesh: Mesh, silent: str) -> None:
    a, b = await mesh.run(mesh.founder), mesh.member("beta")
    tried = await a.links.reach(dial_of(b, silent), 0.05)
    assert tried == {silent: ""} and tried.said() == f"{silent}: no answer"
    assert Tried().said() == "no address is known"


async def test_a_link_that_the_far_end_opens_meanwhile_is_one(mesh: Mesh, silent: str) -> None:
    a, b = await mesh.run(mesh.founder), await mesh.run(mesh.member("beta"))
    waiting = asyncio.ensure_future(a.links.reach(dial_of(b, silent), 8.0))
    b.links.tell(dial_of(a, a.address))
    assert await waiting is None
    assert not a.links._awaited


async def test_a_dial_that_is_given_up_leaves_no_connection(mesh: Mesh, silent: str) -> None:
    a, b = await mesh.run(mesh.founder), mesh.member("beta")
    dialling = Dialling(a.keys, a.links._admit, lambda peer: (), a.links.counters, os.urandom)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await dialling.race(dial_of(b), [silent] * 3, Tried())
    assert not [task for task in asyncio.all_tasks() if "_try" in str(task.get_coro())]


async def test_whoever_answers_must_be_the_one_that_was_dialled(mesh: Mesh) -> None:
    a, b = await mesh.run(mesh.founder), await mesh.run(mesh.member("beta"))
    other = mesh.member("gamma")
    dial = Dial(other.identity.public, b.membership.static.public, [])
    tried = Tried()
    dialling = Dialling(a.keys, a.links._admit, lambda peer: (), a.links.counters, os.urandom)
    assert await dialling.race(dial, [b.address], tried) is None
    assert tried == {b.address: "another peer than the one that was dialled"}


async def test_an_address_that_is_not_to_be_used_is_told_and_never_dialled(mesh: Mesh) -> None:
    """Whoever names it: gossip, or the operator."""
    a, b = await mesh.run(mesh.founder), await mesh.run(mesh.member("beta"))
    asked: list[tuple[bytes, str]] = []

    def why_not(peer: bytes, host: str) -> str | None:
        asked.append((peer, host))
        return "it lies inside" if host.startswith("10.") else None

    dialling = Dialling(a.keys, a.links._admit, lambda peer: (), a.links.counters, os.urandom, why_not)
    tried = Tried()
    assert await dialling.race(dial_of(b), ["10.32.0.1:1", "[10::]:2", "no port"], tried) is None
    assert tried["10.32.0.1:1"] == "it lies inside" and "not HOST:PORT" in tried["no port"]
    assert asked == [(b.identity, "10.32.0.1"), (b.identity, "10::")]
    assert a.links.counters["addresses that are not to be used"] == 2
    assert a.links.counters["dial failed"] == 1, "the one that may be used"
    opened = await dialling.race(dial_of(b), ["10.32.0.1:1", b.address], tried)
    assert opened is not None and opened.address == b.address
    opened.pipe.abort()
