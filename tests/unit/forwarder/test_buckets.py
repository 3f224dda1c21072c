"""Token buckets: a burst, a rate, one for each address, and a bounded table that newcomers cannot take over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet.forwarder import buckets as module
from meshnet.forwarder.buckets import BURST, FULL_AFTER_S, PER_S, SOURCES_KEPT, Buckets, source_of

HOST = "192.0.2.1"


def test_a_burst_then_a_rate() -> None:
    buckets = Buckets()
    assert [buckets.take(HOST, 0.0) for _ in range(int(BURST) + 1)] == [True] * int(BURST) + [False]
    taken = sum(buckets.take(HOST, number / 100) for number in range(1, 501))
    assert abs(taken - 5 * PER_S) <= 1


def test_asking_in_vain_does_not_put_it_off() -> None:
    buckets = Buckets()
    while buckets.take(HOST, 0.0):
        pass
    for number in range(1, 50):
        buckets.take(HOST, number * 0.9 / PER_S / 50)
    assert buckets.take(HOST, 1.01 / PER_S)


def test_each_address_has_its_own() -> None:
    buckets = Buckets()
    while buckets.take(HOST, 0.0):
        pass
    assert buckets.take("192.0.2.2", 0.0)


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("2001:db8::1", "2001:db8:0:0:5::", True),
        ("::1", "2001:db8::1", False),
        ("fe80::1%eth0", "fe80::2%eth0", False),
        ("fe80::1%eth0", "fe80::1%eth1", False),
    ],
)
def test_what_counts_as_one_address(one: str, other: str, is_same: bool) -> None:
    assert (source_of(one) == source_of(other)) is is_same


def test_a_flood_of_new_sources_starves_none_of_the_known_and_is_bounded() -> None:
    buckets = Buckets()
    assert buckets.take(HOST, 0.0)
    for number in range(2 * SOURCES_KEPT):
        buckets.take(f"10.0.{number >> 8}.{number & 255}", 0.5)
        assert len(buckets) <= SOURCES_KEPT
        if number % 200 == 0:
            assert buckets.take(HOST, 0.5 + number / 4096)
    assert not buckets.take("192.0.2.77", 0.6), "no place while all of them are in use"
    assert buckets.take("192.0.2.77", 3.0 + FULL_AFTER_S), "idle ones gave way"


def test_one_that_is_always_asking_keeps_no_idle_place_taken() -> None:
    buckets = Buckets()
    for number in range(SOURCES_KEPT):
        buckets.take(f"10.0.{number >> 8}.{number & 255}", 0.0)
    assert buckets.take("10.0.0.0", FULL_AFTER_S)
    assert buckets.take("192.0.2.77", FULL_AFTER_S), "the first address is in use, but all the others are idle"


@given(st.lists(st.tuples(st.integers(0, 9), st.floats(0, 3)), max_size=200))
def test_no_address_ever_gets_more_than_burst_and_rate(steps: list[tuple[int, float]]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "SOURCES_KEPT", 4)
        buckets, now, taken = Buckets(), 0.0, {number: 0 for number in range(10)}
        for number, pause in steps:
            now += pause / 20
            taken[number] += buckets.take(f"192.0.2.{number}", now)
            assert len(buckets) <= 4
        assert all(count <= BURST + PER_S * now + 1 for count in taken.values())
