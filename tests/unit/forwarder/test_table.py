"""The three key slots of a peer, and what waits for a session."""

from __future__ import annotations

from crypto.primitives import Suite
from crypto.session import Opener, Sealer
from meshnet.forwarder.table import STAGED_BYTES, STAGED_FRAMES, Peer, Session


def session(peer: Peer, index: int, *, initiator: bool) -> Session:
    sealer, opener = Sealer(Suite.AESGCM, bytes(32)), Opener(Suite.AESGCM, bytes(32))
    return Session(peer, index, index, sealer, opener, initiator=initiator, now=0.0)


def slots(peer: Peer) -> list[int | None]:
    return [s.index if s is not None else None for s in (peer.previous, peer.current, peer.next)]


def test_an_initiators_session_seals_at_once() -> None:
    peer = Peer(b"p")
    assert peer.install(session(peer, 1, initiator=True)) == []
    assert slots(peer) == [None, 1, None]
    assert peer.install(session(peer, 2, initiator=True)) == []
    assert slots(peer) == [1, 2, None]
    assert [s.index for s in peer.install(session(peer, 3, initiator=True))] == [1]
    assert slots(peer) == [2, 3, None]


def test_a_responders_session_waits_until_it_is_confirmed() -> None:
    peer = Peer(b"p")
    peer.install(session(peer, 1, initiator=True))
    second = session(peer, 2, initiator=False)
    assert peer.install(second) == [] and slots(peer) == [None, 1, 2]
    assert peer.confirm(second) == [] and slots(peer) == [1, 2, None]
    third = session(peer, 3, initiator=False)
    peer.install(third)
    assert [s.index for s in peer.confirm(third)] == [1] and slots(peer) == [2, 3, None]


def test_an_unconfirmed_session_is_replaced() -> None:
    peer = Peer(b"p")
    peer.install(session(peer, 1, initiator=False))
    assert [s.index for s in peer.install(session(peer, 2, initiator=False))] == [1]
    assert [s.index for s in peer.install(session(peer, 3, initiator=True))] == [2]
    assert slots(peer) == [None, 3, None]


def test_a_session_leaves_the_slot_it_is_in() -> None:
    peer = Peer(b"p")
    made = [session(peer, index, initiator=index < 3) for index in (1, 2, 3)]
    for each in made:
        peer.install(each)
    assert [s.index for s in peer.sessions()] == [2, 3, 1]
    for each in made:
        peer.remove(each)
        assert each not in peer.sessions()
    assert slots(peer) == [None, None, None]


def test_what_waits_is_bounded_in_number_and_the_oldest_goes() -> None:
    peer = Peer(b"p")
    entries = [number.to_bytes(4) for number in range(STAGED_FRAMES + 5)]
    assert sum(peer.stage(entry) for entry in entries) == 5
    assert peer.take_staged() == entries[5:]
    assert peer.take_staged() == [] and peer.staged_bytes == 0


def test_what_waits_is_bounded_in_bytes() -> None:
    peer = Peer(b"p")
    for number in range(10):
        peer.stage(bytes([number]) * 60_000)
        assert peer.staged_bytes == sum(map(len, peer.staged)) <= STAGED_BYTES
    assert [entry[0] for entry in peer.take_staged()] == [6, 7, 8, 9]


def test_an_entry_larger_than_all_room_is_dropped_and_leaves_the_count_right() -> None:
    peer = Peer(b"p")
    assert peer.stage(bytes(STAGED_BYTES + 1)) == 1
    assert peer.staged_bytes == 0 and not peer.staged
