"""The listener: strangers, slow ones and junk at the port cost their own connection alone."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from crypto.primitives import Suite
from meshnet.control import listener as listener_module
from meshnet.control.links import MESSAGE
from meshnet.control.listener import HalfOpen
from meshnet.control.membership import found
from meshnet.control.pipe import connect
from tests.unit.control.loopback import Hand, Mesh, ended, poll


async def test_another_mesh_opens_no_link(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    stranger = found("beta", Suite.CHACHAPOLY, os.urandom)
    for membership in (stranger, replace(stranger, secret=mesh.founder.secret)):
        with pytest.raises(ConnectionError):
            await Hand.open(a, membership)
    await poll(lambda: sum(n for key, n in a.links.counters.items() if key.startswith("refused")) == 2)
    assert a.linked == []


async def test_the_secret_without_a_certificate_opens_no_link(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    stranger = found("beta", Suite.CHACHAPOLY, os.urandom)
    for chain in (stranger.chain, mesh.founder.chain, mesh.member("gamma").chain, ()):
        impostor = replace(stranger, mesh=mesh.founder.mesh, secret=mesh.founder.secret, chain=tuple(chain))
        with pytest.raises(ConnectionError):
            await Hand.open(a, impostor)
    assert a.linked == [] and a.links.counters["links opened"] == 0


async def test_no_link_exists_before_the_initiator_proved_the_secret(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"), confirm=False)
    assert a.links.half_open == 1 and len(a.links) == 0
    hand.pipe.abort()
    await poll(lambda: a.links.half_open == 0)
    assert a.links.counters["links opened"] == 0
    hand = await Hand.open(a, mesh.member("gamma"), confirm=False)
    await hand.pipe.write(hand.stream.seal(MESSAGE, b""))
    await hand.ended()
    assert a.links.counters["refused: a link that is not confirmed"] == 1


JUNK = {
    "random": os.urandom(300),
    "http": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "a half hello": b"MESHN",
    "another version": b"MESHNET\x09\x02\x02\x00" + bytes(5),
    "an unknown channel": b"MESHNET\x01\x07\x02\x00" + bytes(5),
    "the udp channel": b"MESHNET\x01\x01\x02\x00" + bytes(5),
    "another suite": b"MESHNET\x01\x02\x01\x00" + bytes(5),
    "an empty message": b"MESHNET\x01\x02\x02\x00" + bytes(5) + b"\0\0",
    "the longest message": b"MESHNET\x01\x02\x02\x00" + bytes(5) + b"\xff\xff" + bytes(65535),
    "a false message": b"MESHNET\x01\x02\x02\x00" + bytes(5) + b"\x01\x00" + bytes(256),
    "a false join": b"MESHNET\x01\x03\x02\x00" + bytes(5) + b"\x01\x00" + os.urandom(256),
}


@pytest.mark.parametrize("junk", JUNK)
async def test_junk_ends_its_own_connection_alone(mesh: Mesh, junk: str) -> None:
    a = await mesh.run(mesh.founder)
    good = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.links) == 1)
    pipe = await connect(a.address)
    pipe.put(JUNK[junk])
    if junk == "a half hello":
        pipe.finish()
    else:
        await ended(pipe)
    counters = a.links.counters
    await poll(lambda: sum(n for key, n in counters.items() if key.startswith(("refused", "cut"))) == 1)
    assert len(a.links) == 1 and a.links.half_open == 0 and a.links.counters["faults"] == 0
    good.pipe.abort()


async def test_a_connection_that_says_nothing_or_too_slowly_is_ended(
    mesh: Mesh, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "HANDSHAKE_S", 0.05)
    a = await mesh.run(mesh.founder)
    silent, slow = await connect(a.address), await connect(a.address)
    slow.put(b"MESHNET\x01\x02\x02\x00" + bytes(5) + b"\x01")
    unconfirmed = await Hand.open(a, mesh.member("beta"), confirm=False)
    for pipe in (silent, slow, unconfirmed.pipe):
        await ended(pipe)
    assert a.links.counters["refused: too slow"] == 3 and a.links.half_open == 0
    assert a.links.counters["links opened"] == 0


async def test_one_address_holds_few_half_open_connections(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    most = listener_module.MAX_HALF_OPEN_PER_ADDRESS
    held = [await connect(a.address) for _ in range(most)]
    await poll(lambda: a.links.half_open == most)
    await ended(await connect(a.address))
    assert a.links.counters["refused: too many half open"] == 1
    held.pop().abort()
    await poll(lambda: a.links.half_open == most - 1)
    hand = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.links) == 1 and a.links.half_open == most - 1)
    for pipe in (*held, hand.pipe):
        pipe.abort()


def test_half_open_places_are_bounded_in_all_and_given_back_once() -> None:
    places = HalfOpen()
    back = [place for n in range(listener_module.MAX_HALF_OPEN) if (place := places.take(f"192.0.2.{n}")) is not None]
    assert len(back) == len(places) == listener_module.MAX_HALF_OPEN
    assert places.take("198.51.100.1") is None
    back[0]()
    back[0]()
    assert len(places) == listener_module.MAX_HALF_OPEN - 1
    assert places.take("198.51.100.1") is not None and places.take("198.51.100.1") is None
