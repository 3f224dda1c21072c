"""The tables as one: paths, indexes used once, and what goes with a session or a peer."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from meshnet.forwarder import state as module
from meshnet.forwarder.state import State, socket_address
from tests.unit.forwarder.fakes import NETWORK, Rig, connect, ethernet


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made


def test_a_peer_is_made_on_first_mention() -> None:
    state = State()
    assert state.peer(b"p") is state.peer(b"p") and state.peer(b"p") is not state.peer(b"q")


def test_an_index_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "INDEXES_KEPT", 3)
    state = State()
    assert state.claim_index(1) and not state.claim_index(1)
    assert [state.claim_index(index) for index in (2, 3, 4)] == [True, True, True]
    assert len(state._used_indexes) == 3
    assert not state.claim_index(4)


def test_a_live_session_keeps_its_index_however_long_ago_it_was_taken(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "INDEXES_KEPT", 2)
    left, right = rig.side(), rig.side()
    near, _ = connect(left, right)
    for index in range(1 << 20, (1 << 20) + 5):
        assert left.state.claim_index(index)
    assert not left.state.claim_index(near.index)


def test_a_path_needs_a_socket_of_its_family(rig: Rig) -> None:
    side = rig.side()
    peer = side.state.peer(b"p" * 32)
    assert side.state.set_path(peer, ("127.0.0.1", 9), 1500) and peer.address == ("127.0.0.1", 9)
    assert peer.train is not None and peer.train.slice_size == 1456 and peer.gso is side.data.gso
    assert not side.state.set_path(peer, ("::1", 9), 1500)
    assert peer.address == ("127.0.0.1", 9) and peer.remote == ("127.0.0.1", 9)


def test_trains_of_one_size_are_shared(rig: Rig) -> None:
    side = rig.side()
    one, other = side.state.peer(b"p" * 32), side.state.peer(b"q" * 32)
    for peer in (one, other):
        side.state.set_path(peer, ("127.0.0.1", 9), 1400)
    assert one.train is other.train


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1"])
def test_an_address_is_spelled_as_the_kernel_reports_it(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as receiver, socket.socket(family, socket.SOCK_DGRAM) as sender:
        any_host = "::" if family == socket.AF_INET6 else "0.0.0.0"
        receiver.bind((any_host, 0))
        receiver.settimeout(2)
        sender.bind((host, 0))
        port = sender.getsockname()[1]
        sender.sendto(b"x", (host, receiver.getsockname()[1]))
        assert receiver.recvmsg(1)[3] == socket_address(host, port)


def test_a_scope_is_kept_by_name_and_by_number() -> None:
    index = socket.if_nametoindex("lo")
    assert socket_address("fe80::1%lo", 9) == socket_address(f"fe80::1%{index}", 9) == ("fe80::1%lo", 9, 0, index)


def test_an_ended_session_leaves_its_counts_to_the_peer(rig: Rig) -> None:
    left, right = rig.pair()
    left.transmit(ethernet(right.mac, left.mac))
    right.receive()
    near, far = left.peer(right).current, right.peer(left).current
    assert near is not None and far is not None
    counts = (near.sent_records, near.sent_bytes, far.received_records, far.received_bytes)
    for side, session in ((left, near), (right, far)):
        side.state.end_session(session)
        side.state.end_session(session)
    sender, receiver = left.peer(right), right.peer(left)
    assert counts == (sender.sent_records, sender.sent_bytes, receiver.received_records, receiver.received_bytes)
    assert counts[0] == counts[2] == 2 and counts[1] == counts[3]
    assert left.state.sessions == {} and sender.sessions() == []


def test_a_dropped_peer_is_gone_from_everywhere(rig: Rig) -> None:
    left, right = rig.pair()
    connect(left, right)
    left.state.networks[NETWORK].admits(left.peer(right), b"\x06" + bytes(5), 0.0)
    left.state.drop_peer(left.peer(right))
    assert left.state.peers == {} and left.state.sessions == {}
    assert left.network.members == {} and left.network.endpoints() == [left.mac]
    left.transmit(ethernet(right.mac, left.mac))
    assert right.receive() == []
