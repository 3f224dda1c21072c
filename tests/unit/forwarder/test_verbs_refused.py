"""Verbs that cannot be applied: each is counted and told, changes nothing, and what worked goes on working."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from crypto.primitives import Suite
from crypto.session import Sealer
from meshnet.boundary import (
    HANDSHAKE_KEYS,
    MESSAGE_BYTES,
    AddNetwork,
    AddSocket,
    Configure,
    DropSession,
    EndpointRow,
    HandshakeKeyRow,
    Hello,
    SendDatagram,
    SetCookieSecrets,
    SetEndpoints,
    SetHandshakeKeys,
    SetPath,
    Trouble,
    Verb,
    encode,
)
from tests.unit.forwarder.fakes import until
from tests.unit.forwarder.station import (
    CONFIGURE,
    MESH,
    OWN,
    PEER,
    RECEIVE_KEY,
    Client,
    Station,
    descriptors_open,
    refused,
    serving,
)

MAC = b"\x02\0\0\0\0\1"


@pytest.fixture
async def station(tmp_path: Path) -> AsyncIterator[Station]:
    async with serving(tmp_path / "f") as made:
        yield made


@pytest.fixture
def far() -> Iterator[socket.socket]:
    """The peer's data socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(2)
        yield sock


async def is_alive(client: Client, station: Station, far: socket.socket) -> None:
    """The socket and the session that were there still work in both directions."""
    far.settimeout(0)
    while True:
        try:
            far.recv(2000)
        except BlockingIOError:
            break
    sealer = Sealer(Suite.AESGCM, RECEIVE_KEY)
    session = station.state.sessions[11]
    sealer.counter = session.opener.window.highest
    before = session.received_records
    header, sealed = bytearray(b"\4\0\0\1" + (11).to_bytes(4) + (20).to_bytes(2) + bytes(6)), bytearray(20)
    sealer.seal(header, b"\2\0\0\0", memoryview(sealed))
    far.sendto(bytes(header + sealed), station.state.sockets[2].sock.getsockname())
    await until(lambda: session.received_records == before + 1)
    station.work.outbound.send_keepalive(session.peer, session)
    far.settimeout(2)
    assert far.recv(2000)[0] == 4


@pytest.mark.parametrize(
    "data", [b"\x00", b"\xff" * 100, b"{}", encode(Trouble(what="a fact")), bytes(70_000)], ids=len
)
async def test_garbage_is_counted_and_told(station: Station, far: socket.socket, data: bytes) -> None:
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    client.send_raw(data)
    assert refused(await client.settle()) == 1
    assert "could not be applied" in (await client.fact(Trouble)).what
    await is_alive(client, station, far)


ODD_INSTALLS: list[dict[str, Any]] = [
    dict(send_key=b"short"),
    dict(receive_key=b"x" * 33),
    dict(remote_index=-1),
    dict(remote_index=1 << 32),
    dict(index=-1),
    dict(index=1 << 32),
    dict(address=("127.0.0.1", 70_000)),
    dict(address=("127.0.0.1", -1)),
    dict(address=("not an address", 9)),
    dict(address=("fe80::1%nonesuch", 9)),
    dict(address=("::1", 9)),
    dict(address=("127.0.0.1\0", 9)),
]
ODD_VERBS: list[Verb] = [
    Configure(mesh=MESH, peer=OWN, suite="ROT13"),
    Configure(mesh=MESH, peer=b"o" * 33, suite="AESGCM"),
    SetHandshakeKeys(keys=[HandshakeKeyRow(epoch=256, mac1_key=b"k" * 32, cookie_key=b"c" * 32)]),
    SetHandshakeKeys(keys=[HandshakeKeyRow(epoch=1, mac1_key=b"k" * 33, cookie_key=b"c" * 32)]),
    SetHandshakeKeys(keys=[HandshakeKeyRow(epoch=1, mac1_key=b"k" * 32, cookie_key=b"c" * 31)]),
    SetHandshakeKeys(keys=[HandshakeKeyRow(1, b"k" * 32, b"c" * 32)] * (HANDSHAKE_KEYS + 1)),
    SetCookieSecrets(current=b"", previous=b""),
    SetCookieSecrets(current=b"1" * 32, previous=b"2" * 31),
    AddSocket(family=2, port=1, gso=True, gro=True),
    AddNetwork(number=1, device="mt1", mtu=1500, features=31),
    SetPath(peer=PEER, address=("127.0.0.1", 70_000), mtu=1500),
    SetPath(peer=PEER, address=("not an address", 1), mtu=1500),
    SendDatagram(address=("127.0.0.1", 70_000), data=b"x"),
    SendDatagram(address=("127.0.0.1\0", 7), data=b"x"),
]


@pytest.mark.parametrize("changes", ODD_INSTALLS, ids=str)
async def test_an_odd_session_is_refused(station: Station, far: socket.socket, changes: dict[str, Any]) -> None:
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    station.install(client, far.getsockname(), **{"index": 12, "peer": b"q" * 32, **changes})
    assert refused(await client.settle()) == 1
    assert list(station.state.sessions) == [11]
    await is_alive(client, station, far)


@pytest.mark.parametrize("verb", ODD_VERBS, ids=lambda verb: str(verb)[:60])
async def test_an_odd_verb_is_refused_and_changes_nothing(station: Station, far: socket.socket, verb: Verb) -> None:
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    client.send(verb)
    assert refused(await client.settle()) == 1
    await is_alive(client, station, far)
    assert 1 in station.state.networks and station.state.networks[1].ports == {}
    assert (await station.connect().fact(Hello)).peer == OWN


@pytest.mark.parametrize("number", [-1, 1 << 32])
async def test_a_network_number_that_fits_no_record_is_refused(station: Station, number: int) -> None:
    client = await station.meshnetd()
    station.give_network(client, number)
    assert refused(await client.settle()) == 1 and list(station.state.networks) == [1]


async def test_descriptors_nobody_asked_for_are_closed(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    await client.settle()
    before = descriptors_open()
    reader, writer = os.pipe()
    verbs: list[Verb] = [CONFIGURE, DropSession(index=999), AddSocket(family=2, port=1, gso=False, gro=False)]
    for verb in verbs:
        client.send(verb, reader, writer)
    client.send_raw(b"junk", reader, writer)
    assert refused(await client.settle()) == 2, "junk, and a pipe that is no socket"
    os.close(reader)
    os.close(writer)
    assert descriptors_open() == before
    await is_alive(client, station, far)


async def test_messages_up_to_the_bound_are_read(station: Station) -> None:
    client = await station.meshnetd()
    rows = [EndpointRow(b"\x02" + number.to_bytes(5), PEER) for number in range(1000)]
    verb = SetEndpoints(number=1, endpoints=rows)
    assert len(encode(verb)) < MESSAGE_BYTES
    client.send(verb)
    assert refused(await client.settle()) == 0
    assert len(station.state.networks[1].endpoints()) == 1000


async def test_a_burst_of_verbs_is_applied_in_order(station: Station) -> None:
    client = await station.meshnetd()
    for number in range(150):
        client.send(SetEndpoints(number=1, endpoints=[EndpointRow(MAC, number.to_bytes(32))]))
    await client.settle()
    assert station.state.networks[1].ports == {MAC: station.state.peers[(149).to_bytes(32)]}
