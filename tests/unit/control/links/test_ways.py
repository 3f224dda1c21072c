"""Ways to peers: their order and bounds, what is to be stored, and that what is on the disk is not believed."""

from __future__ import annotations

import msgspec
import pytest

from meshnet.control.links.ways import ADDED_MAX, ADDED_PER_PEER_MAX, LAST_KEPT, LAST_PER_PEER, SPACE, Ways
from meshnet.control.store.row import Row
from meshnet.errors import ExitCode, MeshnetError

ONE, TWO = b"1" * 32, b"2" * 32
A, B, C, D = (f"192.0.2.{number}:6799" for number in range(1, 5))


def again(ways: Ways, *rows: Row) -> Ways:
    """What a restart finds."""
    stored = [*rows, *ways.changes()]
    return Ways([(row.key, row.value) for row in stored if row.value is not None])


def filled(peers: int) -> Ways:
    ways = Ways()
    for number in range(peers):
        addresses = tuple(f"192.0.2.1:{port}" for port in range(1, ADDED_PER_PEER_MAX + 1))
        ways.put(number.to_bytes(32), addresses)
    return ways


def test_what_was_added_comes_before_what_worked_before_what_is_said() -> None:
    ways = Ways()
    assert ways.to(ONE, [A]) == [A]
    ways.reached(ONE, B)
    ways.put(ONE, (C,))
    assert ways.to(ONE, [A, B, C, D]) == [C, B, A, D]
    assert ways.to(TWO, [A]) == [A]


def test_adding_is_idempotent_and_taking_back_too() -> None:
    ways = Ways()
    ways.put(ONE, ways.more(ONE, [A, B, A]))
    assert ways.more(ONE, [A, B]) == ways.added(ONE) == (A, B)
    assert ways.more(ONE, [C]) == (C, A, B), "the newest is tried first"
    assert ways.fewer(ONE, [A]) == (B,)
    assert ways.fewer(ONE, [D]) == (A, B)
    assert ways.fewer(ONE, []) == ways.fewer(TWO, [A]) == ()


def test_more_than_the_bounds_are_refused_and_nothing_is_lost() -> None:
    ways = filled(1)
    peer = (0).to_bytes(32)
    for wanted in ([A], [A, B]):
        with pytest.raises(MeshnetError, match="keeps 8 for a peer") as refusal:
            ways.more(peer, wanted)
        assert refusal.value.code is ExitCode.USAGE
    assert len(ways.added(peer)) == ADDED_PER_PEER_MAX
    ways = filled(ADDED_MAX // ADDED_PER_PEER_MAX)
    assert ways.more(peer, ways.added(peer)) == ways.added(peer), "the same again are not more"
    with pytest.raises(MeshnetError, match="1024 in all"):
        ways.more(ONE, [A])


def test_everything_is_there_after_a_restart_and_what_is_stored_is_not_stored_again() -> None:
    ways = Ways()
    ways.put(ONE, (A, B))
    ways.reached(TWO, C)
    ways.reached(ONE, D)
    found = again(ways, ways.row(ONE, (A, B)))
    assert found.to(ONE, []) == [A, B, D] and found.to(TWO, []) == [C]
    assert found.recent(5) == [ONE, TWO] and found.recent(1) == [ONE] and found.peers() == [ONE]
    assert found.changes() == []
    rows = ways.changes()
    assert [row.space for row in rows] == [SPACE]
    ways.stored(rows)
    assert ways.changes() == []


def test_what_changes_while_it_is_stored_is_stored_next() -> None:
    ways = Ways()
    ways.reached(ONE, A)
    rows = ways.changes()
    ways.reached(ONE, B)
    ways.stored(rows)
    (row,) = ways.changes()
    assert Ways([(row.key, row.value or b"")]).last(ONE) == (B, A)


def test_what_worked_last_is_bounded_in_peers_and_addresses() -> None:
    ways = Ways()
    for number in range(LAST_KEPT + 10):
        for port in range(1, 5):
            ways.reached(number.to_bytes(32), f"192.0.2.1:{port}")
    assert len(ways.recent(1000)) == LAST_KEPT
    assert ways.recent(1) == [(LAST_KEPT + 9).to_bytes(32)]
    assert ways.last((0).to_bytes(32)) == ()
    assert ways.last((20).to_bytes(32)) == ("192.0.2.1:4", "192.0.2.1:3") and LAST_PER_PEER == 2
    (row,) = ways.changes()
    assert row.value is not None and len(row.value) < 16_000


def test_a_peer_that_left_leaves_nothing() -> None:
    ways = Ways()
    ways.put(ONE, (A,))
    ways.reached(ONE, B)
    ways.stored(ways.changes())
    ways.forget(ONE)
    ways.forget(TWO)
    assert ways.to(ONE, []) == []
    assert {row.key: row.value for row in ways.changes()} == {ONE: None, b"last": None}


def test_an_address_is_unlearned_alone_or_with_all_others() -> None:
    ways = Ways()
    ways.reached(ONE, A)
    ways.reached(ONE, B)
    ways.stored(ways.changes())
    ways.unlearn(ONE, [D])
    assert ways.changes() == []
    ways.unlearn(ONE, [B])
    assert ways.last(ONE) == (A,)
    ways.unlearn(ONE, [])
    assert ways.last(ONE) == () and ways.recent(1) == []
    assert [row.value for row in ways.changes()] == [None]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"last", b"\xc1"),
        (b"last", msgspec.msgpack.encode([[b"short", [A]]])),
        (b"last", msgspec.msgpack.encode({"later": 1})),
        (ONE, b""),
        (ONE, msgspec.msgpack.encode([])),
        (ONE, msgspec.msgpack.encode(["x" * 200])),
        (ONE, msgspec.msgpack.encode([1])),
        (b"later", msgspec.msgpack.encode([A])),
    ],
)
def test_what_cannot_be_read_is_passed_over(key: bytes, value: bytes) -> None:
    ways = Ways([(key, value), (TWO, msgspec.msgpack.encode([A]))])
    assert ways.added(ONE) == () and ways.recent(9) == []
    assert ways.added(TWO) == (A,)


def test_more_on_the_disk_than_the_bounds_is_cut() -> None:
    many = msgspec.msgpack.encode([f"192.0.2.1:{port}" for port in range(1, 20)])
    ways = Ways([(number.to_bytes(32), many) for number in range(ADDED_MAX)])
    assert len(ways.added((0).to_bytes(32))) == ADDED_PER_PEER_MAX
    assert sum(len(ways.added(peer)) for peer in ways.peers()) == ADDED_MAX
