"""A peer moves when it echoed its new address's probe from there, never because a copy overtook the original."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from crypto.primitives import Suite
from meshnet.boundary import Fact, Moved
from meshnet.forwarder.candidates import CANDIDATES, SETTLED_S
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.datagram import HEADER_BYTES
from meshnet.forwarder.record import KIND_ECHO, KIND_PROBE
from meshnet.forwarder.roaming import FLOOR_MTU
from meshnet.forwarder.table import Session
from tests.unit.forwarder.fakes import NETWORK, Rig, Side, connect, current, entry, ethernet, send_train

PROBE_DATAGRAM = HEADER_BYTES + 4 + 8 + 16
KEEPALIVE = b"\2\0\0\0"


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def moves(side: Side) -> list[Fact]:
    return [fact for fact in side.told() if isinstance(fact, Moved)]


def waiting(sock: socket.socket) -> list[bytes]:
    """Everything that has arrived at a socket."""
    sock.setblocking(False)
    found = []
    while True:
        try:
            found.append(sock.recv(1 << 16))
        except BlockingIOError:
            return found


def path_entry(kind: int, body: bytes) -> bytes:
    return bytes([kind]) + len(body).to_bytes(3) + body


def send_from(sock: socket.socket, left: Side, right: Side, plaintext: bytes) -> None:
    """A record of `left` with this plaintext arrives at `right` from another socket."""
    sock.sendto(left.seal(current(left, right), plaintext), right.address)
    right.receive()


def opened(side: Side, session: Session, datagram: bytes) -> bytes:
    """The plaintext of a record of one datagram."""
    out = bytearray(len(datagram) - HEADER_BYTES - 16)
    session.opener.open(datagram[:HEADER_BYTES], datagram[HEADER_BYTES:], memoryview(out))
    return bytes(out)


def replug(rig: Rig, side: Side) -> None:
    """The side has another address from now on."""
    sock = rig.socket()
    sock.setblocking(False)
    side.sock.close()
    side.sock = side.data.sock = sock
    side.address = sock.getsockname()
    for peer in side.state.peers.values():
        if peer.remote is not None:
            side.state.set_path(peer, peer.remote, peer.mtu)


@pytest.mark.parametrize("length", [60, 20_000])
def test_a_peer_that_moved_is_followed_after_one_packet_and_an_echo(rig: Rig, length: int) -> None:
    left, right = rig.pair()
    right.told()
    before = left.address
    replug(rig, left)
    frame = ethernet(right.mac, left.mac, length)
    left.transmit(frame)
    if length > 10_000 and not right.data.gro:
        pytest.skip("the kernel has no UDP GRO, so a train from elsewhere does not arrive whole")
    assert right.receive() == [frame]
    assert right.peer(left).address == before and moves(right) == []
    left.receive()
    right.receive()
    assert right.peer(left).address == left.address
    assert moves(right) == [Moved(peer=left.identity, address=left.address)]
    assert right.peer(left).mtu == FLOOR_MTU
    back = ethernet(left.mac, right.mac, length)
    right.transmit(back)
    assert left.receive() == [back]
    assert left.drops == right.drops == {}


def test_until_the_echo_everything_but_one_small_probe_goes_to_the_known_address(rig: Rig) -> None:
    left, right = rig.pair()
    elsewhere = rig.socket()
    for _ in range(5):
        frame = ethernet(right.mac, left.mac)
        send_train(elsewhere, rig.capture(left, right, frame), right.address)
        assert right.receive() == [frame], "what it brings is taken"
    back = ethernet(left.mac, right.mac)
    right.transmit(back)
    assert left.receive() == [back]
    (probe,) = waiting(elsewhere)
    assert len(probe) == PROBE_DATAGRAM, "one a second, however many records came"
    assert moves(right) == [] and right.peer(left).address == left.address


def test_a_probe_is_sent_again_when_a_packet_comes_a_second_later(rig: Rig) -> None:
    left, right = rig.pair()
    elsewhere = rig.socket()
    for second in range(3):
        right.state.now += 1.0
        send_from(elsewhere, left, right, KEEPALIVE)
        assert len(waiting(elsewhere)) == 1, f"second {second}"


def test_a_copy_that_overtakes_the_original_moves_nobody(rig: Rig) -> None:
    left, right = rig.pair()
    victim = rig.socket()
    for _ in range(20):
        right.state.now += 0.5
        frame = ethernet(right.mac, left.mac)
        (datagram,) = rig.capture(left, right, frame)
        victim.sendto(datagram, right.address)
        left.sock.sendto(datagram, right.address)
        assert right.receive() == [frame]
    assert right.peer(left).address == left.address and moves(right) == []
    assert sum(map(len, waiting(victim))) <= 20 * len(datagram)


@pytest.mark.parametrize(
    "how", ["another token", "from the known address", "from a third", "replayed", "short", "late"]
)
def test_what_is_no_true_echo_moves_nobody(rig: Rig, how: str) -> None:
    left, right = rig.pair()
    there, third = rig.socket(), rig.socket()
    send_from(there, left, right, KEEPALIVE)
    (probe,) = waiting(there)
    token = opened(left, current(left, right), probe)[4:]
    sender = {"from the known address": left.sock, "from a third": third}.get(how, there)
    if how == "another token":
        token = bytes(8)
    elif how == "short":
        token = token[:7]
    elif how == "late":
        right.state.now += 60.0
    if how == "replayed":
        echo = left.seal(current(left, right), path_entry(KIND_ECHO, token))
        for sock in (third, there):
            sock.sendto(echo, right.address)
            right.receive()
    else:
        send_from(sender, left, right, path_entry(KIND_ECHO, token))
    assert moves(right) == [] and right.peer(left).address == left.address
    assert right.count(Drop.MALFORMED_ENTRY if how == "short" else Drop.UNKNOWN_ECHO) == 1


def test_a_forged_echo_moves_nobody(rig: Rig) -> None:
    left, right = rig.pair()
    there = rig.socket()
    send_from(there, left, right, KEEPALIVE)
    (probe,) = waiting(there)
    there.sendto(probe, right.address)
    right.receive()
    assert moves(right) == [] and right.peer(left).address == left.address


def test_an_old_record_from_elsewhere_begins_nothing(rig: Rig) -> None:
    left, right = rig.pair()
    old = rig.capture(left, right, ethernet(right.mac, left.mac))
    left.transmit(ethernet(right.mac, left.mac))
    right.receive()
    elsewhere = rig.socket()
    send_train(elsewhere, old, right.address)
    assert len(right.receive()) == 1
    assert waiting(elsewhere) == [] and len(right.peer(left).candidates) == 0


def test_a_probe_is_echoed_once_a_record_to_where_it_came_from(rig: Rig) -> None:
    left, right = rig.pair()
    elsewhere = rig.socket()
    send_from(elsewhere, left, right, path_entry(KIND_PROBE, b"12345678") + path_entry(KIND_PROBE, b"another1"))
    (echo,) = waiting(elsewhere)
    assert opened(left, current(left, right), echo) == path_entry(KIND_ECHO, b"12345678")
    assert right.count(Drop.PROBE_LIMIT) == 1
    send_from(left.sock, left, right, path_entry(KIND_PROBE, b"12345678"))
    left.receive()
    assert left.count(Drop.UNKNOWN_ECHO) == 1


def test_an_address_that_is_not_confirmed_is_sent_no_more_than_came_from_there(rig: Rig) -> None:
    left, right = rig.pair()
    elsewhere = rig.socket()
    came = 0
    for number in range(30):
        right.state.now += 0.3
        plaintext = path_entry(KIND_PROBE, number.to_bytes(8)) if number % 2 else entry(NETWORK, bytes(30))
        datagram = left.seal(current(left, right), plaintext)
        elsewhere.sendto(datagram, right.address)
        right.receive()
        came += len(datagram)
        assert sum(map(len, waiting(elsewhere))) <= len(datagram)
    assert came > 0


def test_addresses_that_wait_are_bounded(rig: Rig) -> None:
    left, right = rig.pair()
    sockets = [rig.socket() for _ in range(CANDIDATES + 2)]
    for sock in sockets:
        send_from(sock, left, right, KEEPALIVE)
    assert [len(waiting(sock)) for sock in sockets] == [1] * CANDIDATES + [0, 0]
    assert len(right.peer(left).candidates) == CANDIDATES


def test_what_was_on_the_way_does_not_move_a_peer_back(rig: Rig) -> None:
    left, right = rig.pair()
    old = rig.socket()
    right.state.set_path(right.peer(left), old.getsockname(), 1500)
    left.transmit(ethernet(right.mac, left.mac))
    right.receive()
    left.receive()
    right.receive()
    assert right.peer(left).address == left.address
    waiting(old)
    send_from(old, left, right, KEEPALIVE)
    assert waiting(old) == []
    right.state.now += SETTLED_S
    send_from(old, left, right, KEEPALIVE)
    assert len(waiting(old)) == 1


def test_both_ends_moving_at_once_are_found_from_whoever_arrives(rig: Rig) -> None:
    left, right = rig.pair()
    replug(rig, left)
    replug(rig, right)
    left.state.set_path(left.peer(right), right.address, 1500)
    left.transmit(ethernet(right.mac, left.mac))
    for _ in range(2):
        right.receive()
        left.receive()
    right.receive()
    assert right.peer(left).address == left.address
    back = ethernet(left.mac, right.mac)
    right.transmit(back)
    assert left.receive() == [back]


def test_without_a_sending_session_nothing_is_probed_or_echoed(rig: Rig) -> None:
    left, right = rig.side(), rig.side()
    near, far = connect(left, right)
    peer = right.peer(left)
    peer.current, peer.previous = None, far
    elsewhere = rig.socket()
    elsewhere.sendto(left.seal(near, path_entry(KIND_PROBE, bytes(8))), right.address)
    right.receive()
    elsewhere.sendto(left.seal(near, KEEPALIVE), right.address)
    right.receive()
    assert waiting(elsewhere) == [] and right.count(Drop.PROBE_LIMIT) == 1


def test_a_session_that_is_not_confirmed_yet_seals_no_probe(rig: Rig) -> None:
    left, right = rig.pair()
    far = current(right, left)
    keys = (bytes(32), bytes(32))
    waits = right.install(left, (1 << 30, 1 << 30), keys, initiator=False, suite=Suite.AESGCM, mtu=1500)
    assert right.peer(left).next is waits
    elsewhere = rig.socket()
    send_from(elsewhere, left, right, KEEPALIVE)
    (probe,) = waiting(elsewhere)
    assert probe[4:8] == far.remote_index.to_bytes(4) and waits.sent_records == 0


def test_a_used_up_session_is_retired_by_a_probe(rig: Rig) -> None:
    left, right = rig.pair()
    far = current(right, left)
    far.sealer.counter = 1 << 36
    send_from(rig.socket(), left, right, KEEPALIVE)
    assert far.index not in right.state.sessions and right.peer(left).current is None
