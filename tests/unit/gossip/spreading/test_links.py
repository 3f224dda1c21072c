from __future__ import annotations

import pytest

from gossip import limits
from gossip.spreading.links import Link, LinkTable

LOW, HIGH = bytes(32), b"\xff" * 32


def link(number: int, by_us: bool, now: float = 0.0, peer: bytes = HIGH) -> Link:
    return Link(number, peer, by_us, now, now)


@pytest.mark.parametrize("order", [(True, False), (False, True)])
def test_the_smaller_identitys_link_stays_at_both_ends(order: tuple[bool, bool]) -> None:
    low, high = LinkTable(LOW), LinkTable(HIGH)
    for number, by_low in enumerate(order):
        low.up(link(number, by_low), 0.0)
        high.up(link(number, not by_low, peer=LOW), 0.0)
    assert [each.id for each in low.all()] == [each.id for each in high.all()] == [order.index(True)]


def test_of_two_links_by_one_side_the_newer_stays() -> None:
    table = LinkTable(LOW)
    assert table.up(link(1, True), 0.0) is None
    closed = table.up(link(2, True, 1.0), 1.0)
    assert closed is not None and closed[0] == 1
    assert table.down(1) is None and table.of(HIGH) is table.get(2)


def test_a_link_that_missed_its_heartbeat_yields() -> None:
    table = LinkTable(LOW)
    table.up(link(1, True), 0.0)
    closed = table.up(link(2, False, limits.STALE_S + 1), limits.STALE_S + 1)
    assert closed is not None and closed[0] == 1


def test_silence_and_its_time() -> None:
    table = LinkTable(LOW)
    assert table.next_time() is None
    table.up(link(1, True, 5.0), 5.0)
    assert table.next_time() == 5.0 + limits.SILENCE_S
    assert table.silent(5.0 + limits.SILENCE_S - 0.1) == []
    assert [each.id for each in table.silent(5.0 + limits.SILENCE_S)] == [1]


def test_links_are_bounded_and_never_to_oneself() -> None:
    table = LinkTable(LOW)
    assert table.up(link(1, True, peer=LOW), 0.0) is not None
    for number in range(limits.MAX_LINKS):
        assert table.up(link(number, True, peer=bytes([9, number]) + bytes(30)), 0.0) is None
    assert table.up(link(999, True), 0.0) == (999, "too many links")
    assert len(table) == limits.MAX_LINKS
