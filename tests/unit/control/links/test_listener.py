"""The listener: strangers, slow ones and junk at the port cost their own connection alone."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from crypto.errors import RemoteError
from crypto.keys import IdentityKey, StaticKey
from crypto.password import PasswordInitiator
from crypto.primitives import Suite
from meshnet.control.joining import join_wire
from meshnet.control.joining.issuer import PASSWORD_BURST
from meshnet.control.keys.membership import JoinRequest, Membership, found
from meshnet.control.links import listener as listener_module
from meshnet.control.links.links import MESSAGE
from meshnet.control.links.listener import HalfOpen
from meshnet.control.streams.pipe import Pipe, connect
from meshnet.control.streams.records import Records
from tests.unit.control.loopback import Hand, Mesh, Peer, ended, poll


async def test_another_mesh_opens_no_link(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    stranger = found("beta", Suite.CHACHAPOLY, os.urandom)
    for membership in (stranger, replace(stranger, keyring=mesh.founder.keyring)):
        with pytest.raises(ConnectionError):
            await Hand.open(a, membership)
    await poll(lambda: sum(n for key, n in a.links.counters.items() if key.startswith("refused")) == 2)
    assert a.linked == []


async def test_the_secret_without_a_certificate_opens_no_link(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    stranger = found("beta", Suite.CHACHAPOLY, os.urandom)
    for chain in (stranger.chain, mesh.founder.chain, mesh.member("gamma").chain, ()):
        impostor = replace(stranger, mesh=mesh.founder.mesh, keyring=mesh.founder.keyring, chain=tuple(chain))
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


async def test_connections_are_accepted_at_a_bounded_pace(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "ACCEPTS_PER_S", 0.001)
    monkeypatch.setattr(listener_module, "ACCEPTS_BURST", 3)
    a = await mesh.run(mesh.founder)
    for _ in range(3):
        (await connect(a.address)).abort()
    await poll(lambda: a.links.counters["cut off"] == 3)
    await ended(await connect(a.address))
    assert a.links.counters["refused: too many at once"] == 1
    assert a.links.half_open == 0


# The channel of the password


def by_password(founder: Membership, key: bytes = b"p" * 32) -> Membership:
    return replace(founder, password_key=key)


async def knock(peer: Peer, key: bytes, name: str = "beta") -> tuple[Pipe, PasswordInitiator]:
    """A joiner by password up to its third message."""
    identity, static = IdentityKey.generate(os.urandom), StaticKey.generate(os.urandom)
    initiator = PasswordInitiator(static=static, entropy=os.urandom)
    pipe = await connect(peer.address)
    try:
        await pipe.write(initiator.data_to_send())
        while initiator.mesh is None:
            initiator.feed(await pipe.read())
        request = JoinRequest.make(initiator.mesh, identity, static.public, name)
        initiator.begin(key, join_wire.encode(request))
        await pipe.write(initiator.data_to_send())
        while not initiator.complete:
            initiator.feed(await pipe.read())
        await pipe.write(initiator.data_to_send())
    except BaseException:
        pipe.abort()
        raise
    return pipe, initiator


async def test_a_joiner_by_password_is_welcomed(mesh: Mesh) -> None:
    a = await mesh.run(by_password(mesh.founder))
    pipe, initiator = await knock(a, b"p" * 32)
    records = Records(pipe, initiator.secure())
    await records.send(join_wire.CONFIRM, b"")
    kind, data = await records.next()
    assert kind == join_wire.WELCOME
    assert join_wire.decode(data, join_wire.Welcome).secret == a.membership.keyring.current.key
    await poll(lambda: a.links.counters["joins"] == 1)
    pipe.abort()


async def test_another_password_is_refused(mesh: Mesh) -> None:
    a = await mesh.run(by_password(mesh.founder))
    pipe, _ = await knock(a, b"q" * 32)
    await ended(pipe)
    assert a.links.counters["joins"] == 0 and a.links.half_open == 0


async def test_guesses_have_a_pace_of_their_own(mesh: Mesh) -> None:
    a = await mesh.run(by_password(mesh.founder))
    for _ in range(PASSWORD_BURST):
        await ended((await knock(a, b"q" * 32))[0])
    with pytest.raises(ConnectionError):
        await knock(a, b"p" * 32)
    assert a.links.counters["refused: too many attempts with a password"] == 1
    hand = await Hand.open(a, mesh.member("gamma"))
    await poll(lambda: len(a.links) == 1)
    hand.pipe.abort()


async def test_without_a_password_the_channel_is_not_served(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    with pytest.raises((ConnectionError, RemoteError)):
        await knock(a, b"p" * 32)
    assert a.links.counters["refused: hello for a channel that is not served"] == 1
