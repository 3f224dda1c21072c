"""The forwarder's end of the boundary: every verb applied, a wrong one counted, the newest meshnetd served."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from crypto.cookie import cookie, open_reply
from meshnet.boundary import (
    FACTS_QUEUED,
    VERSION,
    DropNetwork,
    DropPeer,
    DropSession,
    EndpointRow,
    Fact,
    Handshake,
    HandshakeKeyRow,
    Hello,
    SendDatagram,
    SessionEnded,
    SetCookieSecrets,
    SetEndpoints,
    SetHandshakeKeys,
    SetPath,
    Stop,
    Trouble,
    encode,
)
from meshnet.forwarder import verbs as module
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.switch import LOCAL
from tests.unit.forwarder.fakes import ethernet, until
from tests.unit.forwarder.station import (
    BOOT,
    MESH,
    OWN,
    PEER,
    RECEIVE_KEY,
    SEND_KEY,
    Station,
    descriptors_open,
    refused,
    serving,
)
from tests.unit.forwarder.test_admission import cookie_reply, handshake

MAC, OTHER = b"\x02\0\0\0\0\1", b"\x02\0\0\0\0\2"


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


# --- connections -----------------------------------------------------------------------------------------------------


async def test_a_connection_opens_with_hello(station: Station) -> None:
    hello = await station.connect().fact(Hello)
    assert (hello.version, hello.boot, hello.pid) == (VERSION, BOOT, os.getpid())
    assert (hello.mesh, hello.peer, hello.sockets, hello.networks, hello.sessions) == (b"", b"", [], [], [])
    assert station.work.attended


async def test_hello_carries_what_is_held_and_its_descriptors(station: Station, far: socket.socket) -> None:
    first = await station.meshnetd()
    station.give_network(first, 2)
    station.install(first, far.getsockname())
    await first.settle()
    second = station.connect()
    hello = await second.fact(Hello)
    assert (hello.mesh, hello.peer) == (MESH, OWN)
    assert [row.number for row in hello.networks] == [1, 2] and hello.networks[0].features == 31
    assert [(row.family, row.port) for row in hello.sockets] == [(2, station.state.sockets[2].port)]
    (row,) = hello.sessions
    assert (row.index, row.remote_index, row.peer, row.initiator, row.current) == (11, 22, PEER, True, True)
    assert tuple(row.address) == far.getsockname() and 0 <= row.age_s < 5
    assert SEND_KEY not in encode(hello) and RECEIVE_KEY not in encode(hello)
    held = [station.state.sockets[2].sock.fileno(), *(network.tap for network in station.state.networks.values())]
    assert [os.fstat(fd).st_ino for fd in second.descriptors] == [os.fstat(fd).st_ino for fd in held]


async def test_hello_of_very_many_sessions_still_arrives(station: Station, far: socket.socket) -> None:
    # An adopting meshnetd that gets no hello would start a second forwarder beside a living one.
    first = await station.meshnetd()
    for number in range(1500):
        peer = number.to_bytes(32)
        station.install(first, far.getsockname(), peer=peer, index=number + 1, initiator=False)
        if number % 50 == 0:
            await first.settle()
    await first.settle()
    hello = await station.connect().fact(Hello)
    assert len(hello.sessions) > 300 and len(hello.networks) == 1


async def test_the_second_connection_wins(station: Station) -> None:
    first = await station.meshnetd()
    second = station.connect()
    await second.fact(Hello)
    await until(first.has_ended)
    assert station.work.attended
    station.work.facts.trouble("news")
    assert (await second.fact(Trouble)).what == "news"


async def test_an_ended_connection_leaves_everything_as_it_is(station: Station, far: socket.socket) -> None:
    first = await station.meshnetd()
    station.install(first, far.getsockname())
    await first.settle()
    first.close()
    await until(lambda: not station.work.attended)
    assert 11 in station.state.sessions and 1 in station.state.networks
    station.work.facts.trouble("said while nobody listened")
    assert (await station.connect().fact(Hello)).boot == BOOT


async def test_what_happened_while_nobody_listened_is_told_to_the_next(station: Station) -> None:
    first = await station.meshnetd()
    first.close()
    await until(lambda: not station.work.attended)
    station.work.facts.session_ended(5, "key expired")
    second = station.connect()
    await second.fact(Hello)
    assert await second.fact(SessionEnded) == SessionEnded(index=5, reason="key expired")


async def test_a_connection_that_vanishes_at_once_does_no_harm(station: Station) -> None:
    for _ in range(3):
        station.connect().close()
    client = station.connect()
    assert (await client.fact(Hello)).pid == os.getpid() and station.work.attended


async def test_another_user_is_not_served(station: Station, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_read_credentials", lambda raw: (1, os.getuid() + 12_345, 1))
    client = station.connect()
    await until(client.has_ended)
    assert not client.facts and not station.work.attended


async def test_a_meshnetd_that_reads_nothing_blocks_nobody_and_loses_the_oldest(station: Station) -> None:
    client = await station.meshnetd()
    for number in range(60_000):
        station.work.facts.handshake(("192.0.2.1", 1), number.to_bytes(4) + bytes(112))
    assert station.state.drops[Drop.FACT_QUEUE] > 0

    def arrived() -> list[Fact]:
        client.read()
        return [fact for fact in client.facts if isinstance(fact, Handshake) and fact.data[:4] == (59_999).to_bytes(4)]

    await until(lambda: bool(arrived()))
    lost = station.state.drops[Drop.FACT_QUEUE]
    numbers = [int.from_bytes(fact.data[:4]) for fact in client.facts if isinstance(fact, Handshake)]
    assert len(numbers) == 60_000 - lost and numbers == sorted(numbers)
    assert numbers[-FACTS_QUEUED["Handshake"] :] == list(range(60_000 - FACTS_QUEUED["Handshake"], 60_000))


# --- verbs -----------------------------------------------------------------------------------------------------------


async def test_configure_sets_the_identity_and_handshake_keys_what_goes_up(
    station: Station, far: socket.socket
) -> None:
    client = await station.meshnetd()
    address = station.state.sockets[2].sock.getsockname()
    far.sendto(handshake(), address)
    assert (await client.fact(Handshake)).data == handshake()
    client.send(SetHandshakeKeys(keys=[HandshakeKeyRow(epoch=1, mac1_key=b"n" * 32, cookie_key=b"c" * 32)]))
    await client.settle()
    far.sendto(handshake(fill=2), address)
    far.sendto(handshake(key=b"n" * 32, epoch=1), address)
    assert (await client.fact(Handshake)).data == handshake(key=b"n" * 32, epoch=1)
    assert station.state.drops[Drop.HANDSHAKE_MAC] == 1
    assert (await station.connect().fact(Hello)).peer == OWN


async def test_cookie_secrets_make_the_cookies(station: Station) -> None:
    client = await station.meshnetd()
    older, newer = b"1" * 32, b"2" * 32
    for current, previous in ((older, b""), (newer, older)):
        client.send(SetCookieSecrets(current=current, previous=previous))
        await client.settle()
        reply, number = b"", int.from_bytes(current[:3])
        while not reply:
            number += 1
            reply = station.work.admission.judge(handshake(fill=number), "192.0.2.1", 9, 1.0).reply
        jar = open_reply(b"c" * 32, handshake(fill=number)[-32:-16], reply)
        assert jar == cookie(current, "192.0.2.1", 9)
    with_older = handshake(fill=1, jar=cookie(older, "192.0.2.2", 9))
    assert station.work.admission.judge(with_older, "192.0.2.2", 9, 1.0).drop is None


async def test_answers_to_what_was_sent_are_let_through(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    address = station.state.sockets[2].sock.getsockname()
    reply = cookie_reply(0x77)
    far.sendto(reply, address)
    await until(lambda: station.state.drops[Drop.COOKIE_UNASKED] == 1)
    client.send(SendDatagram(address=far.getsockname(), data=handshake(fill=0x77)))
    await client.settle()
    far.sendto(reply, address)
    assert (await client.fact(Handshake)).data == reply


async def test_a_responders_new_session_moves_no_live_peer(station: Station, far: socket.socket) -> None:
    # An initiation shows where somebody passed it on, not where the peer is: the first record from there is probed.
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    elsewhere = ("127.0.0.1", 9)
    station.install(client, elsewhere, index=12, initiator=False, mtu=1280)
    await client.settle()
    peer = station.state.peers[PEER]
    assert (peer.remote, peer.mtu, peer.current is station.state.sessions[11]) == (far.getsockname(), 1500, True)
    station.install(client, far.getsockname(), index=13, initiator=False, mtu=1400)
    await client.settle()
    assert (peer.remote, peer.mtu) == (far.getsockname(), 1400)
    station.install(client, elsewhere, index=14, initiator=True)
    await client.settle()
    assert peer.remote == elsewhere, "the key confirmation must reach the responder where it answered"
    client.send(DropSession(index=14))
    client.send(DropSession(index=11))
    station.install(client, far.getsockname(), index=15, initiator=False)
    await client.settle()
    assert peer.remote == far.getsockname(), "without a session there is no bulk to protect"


async def test_a_network_given_again_keeps_its_table_and_reads_the_new_device(station: Station) -> None:
    client = await station.meshnetd()
    client.send(SetEndpoints(number=1, endpoints=[EndpointRow(MAC, PEER), EndpointRow(OTHER, b"")]))
    await client.settle()
    before = descriptors_open()
    tap = station.give_network(client, 1)
    await client.settle()
    assert descriptors_open() == before + 1, "one end of the new pair for the test; the old device was closed"
    ports = station.state.networks[1].ports
    assert ports == {MAC: station.state.peers[PEER], OTHER: LOCAL}
    tap.put(ethernet(MAC, OTHER))
    await until(lambda: len(station.state.peers[PEER].staged) == 1)


async def test_a_dropped_network_is_closed(station: Station) -> None:
    client = await station.meshnetd()
    tap = station.give_network(client, 2)
    await client.settle()
    client.send(DropNetwork(number=2))
    client.send(DropNetwork(number=2))
    assert refused(await client.settle()) == 0
    assert 2 not in station.state.networks
    with pytest.raises(BrokenPipeError):
        tap.put(ethernet(MAC, OTHER))


async def test_endpoints_are_set_taken_away_and_replaced(station: Station) -> None:
    client = await station.meshnetd()
    rows = [EndpointRow(bytes([2, 0, 0, 0, 0, n]), PEER if n % 2 else b"") for n in range(6)]
    client.send(SetEndpoints(number=1, endpoints=rows))
    client.send(SetEndpoints(number=1, endpoints=[], gone=[rows[0].mac, b"unseen"]))
    await client.settle()
    network = station.state.networks[1]
    assert network.endpoints() == [row.mac for row in rows[1:]]
    assert network.members == {station.state.peers[PEER]: 3}
    client.send(SetEndpoints(number=1, endpoints=rows[:2], replace=True))
    await client.settle()
    assert sorted(network.endpoints()) == [rows[0].mac, rows[1].mac]
    client.send(SetEndpoints(number=9, endpoints=rows))
    assert refused(await client.settle()) == 1


async def test_an_installed_session_confirms_itself_and_sends(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    await client.settle()
    keepalive = far.recv(2000)
    assert keepalive[0] == 4 and keepalive[4:8] == (22).to_bytes(4) and len(keepalive) == 16 + 4 + 16
    counters = await client.settle()
    (row,) = counters.peers
    assert (row.peer, row.sent_records, row.mtu, tuple(row.address)) == (PEER, 1, 1500, far.getsockname())


async def test_an_index_is_never_installed_twice(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    station.install(client, far.getsockname())
    station.install(client, far.getsockname(), send_key=b"x" * 32)
    assert refused(await client.settle()) == 1
    client.send(DropSession(index=11))
    station.install(client, far.getsockname())
    assert refused(await client.settle()) == 2
    assert station.state.sessions == {}


async def test_a_path_moves_and_an_unknown_peer_has_none(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    station.install(client, ("127.0.0.1", 9))
    client.send(SetPath(peer=PEER, address=far.getsockname(), mtu=1280))
    client.send(SetPath(peer=b"?" * 32, address=far.getsockname(), mtu=1280))
    assert refused(await client.settle()) == 0
    peer = station.state.peers[PEER]
    assert (peer.address, peer.mtu) == (far.getsockname(), 1280) and b"?" * 32 not in station.state.peers


async def test_sessions_and_peers_are_dropped(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    client.send(SetEndpoints(number=1, endpoints=[EndpointRow(MAC, PEER)]))
    for index in (1, 2, 3):
        station.install(client, far.getsockname(), index=index)
    client.send(DropSession(index=3))
    client.send(DropSession(index=999))
    await client.settle()
    assert list(station.state.sessions) == [2]
    client.send(DropPeer(peer=PEER))
    client.send(DropPeer(peer=PEER))
    assert refused(await client.settle()) == 0
    assert station.state.sessions == {} and station.state.peers == {} and station.state.networks[1].ports == {}


async def test_a_handshake_datagram_leaves_as_it_is(station: Station, far: socket.socket) -> None:
    client = await station.meshnetd()
    client.send(SendDatagram(address=far.getsockname(), data=handshake()))
    await client.settle()
    data, address = far.recvfrom(2000)
    assert data == handshake() and address == station.state.sockets[2].sock.getsockname()
    client.send(SendDatagram(address=("::1", 9), data=handshake()))
    client.send(SendDatagram(address=("127.0.0.1", 0), data=handshake()))
    assert (await client.settle()).drops == {"no_socket": 1, "send_failed": 1}


async def test_counters_are_read_with_their_request(station: Station) -> None:
    client = await station.meshnetd()
    station.state.drops[Drop.REPLAY] += 4
    assert (await client.settle()).drops == {"replay": 4}


async def test_stop_stops(station: Station) -> None:
    client = await station.meshnetd()
    client.send(Stop())
    await until(lambda: station.stops == [1])


async def test_a_new_socket_carries_the_sessions_that_live(station: Station, far: socket.socket) -> None:
    # An adopting meshnetd hands the data socket over again; established sessions must go on sending.
    client = await station.meshnetd()
    client.send(SetEndpoints(number=1, endpoints=[EndpointRow(MAC, PEER)]))
    station.install(client, far.getsockname())
    tap = station.give_network(client, 1)
    await client.settle()
    far.recv(2000)
    address = await station.give_socket(client)
    tap.put(ethernet(MAC, OTHER))
    await until(lambda: station.state.sessions[11].sent_data == 1)
    assert station.state.drops.nonzero() == {}
    assert far.recvfrom(2000)[1] == address
