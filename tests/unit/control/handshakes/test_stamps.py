"""Stamps: greater than any before, never beyond what is reserved, whatever the clock does."""

from __future__ import annotations

import random

import pytest

from crypto.tai64n import stamp
from meshnet.control.handshakes.stamps import AHEAD_S, Stamps

SECOND, YEAR = 10**9, 365 * 86_400 * 10**9
NOW = 10**18


class Wall:
    def __init__(self) -> None:
        self.ns = NOW

    def __call__(self) -> int:
        return self.ns


@pytest.fixture
def wall() -> Wall:
    return Wall()


def test_no_stamp_before_it_is_reserved(wall: Wall) -> None:
    stamps = Stamps(b"", wall)
    assert stamps.reservation() is None, "nothing is wanted yet"
    assert stamps.take() is None
    until = stamps.reservation()
    assert until == stamp(NOW + AHEAD_S * SECOND)
    assert stamps.take() is None and stamps.reservation() is None, "one at a time"
    stamps.reserved(until)
    assert stamps.take() == stamp(NOW) and stamps.take() == stamp(NOW + 1)
    assert stamps.reservation() is None


def test_a_new_run_begins_after_what_the_last_may_have_used(wall: Wall) -> None:
    last = stamp(NOW + 500 * SECOND)
    stamps = Stamps(last, wall)
    assert stamps.take() is None
    until = stamps.reservation()
    assert until is not None
    stamps.reserved(until)
    assert stamps.take() == stamp(NOW + 500 * SECOND + 1)


def test_more_is_reserved_ahead_of_need(wall: Wall) -> None:
    stamps = Stamps(b"", wall)
    stamps.reserved(stamp(NOW + AHEAD_S * SECOND))
    wall.ns += (AHEAD_S // 2 + 1) * SECOND
    assert stamps.take() == stamp(wall.ns), "used at once"
    assert stamps.reservation() == stamp(wall.ns + AHEAD_S * SECOND)


@pytest.mark.parametrize("stored", [b"\xff" * 12, b"short", bytes(13)])
def test_what_is_no_stamp_counts_as_none(wall: Wall, stored: bytes) -> None:
    stamps = Stamps(stored, wall)
    assert stamps.take() is None
    assert stamps.reservation() == stamp(NOW + AHEAD_S * SECOND)


@pytest.mark.parametrize("seed", range(20))
def test_stamps_grow_over_restarts_and_jumps_of_the_clock(seed: int, wall: Wall) -> None:
    rng = random.Random(seed)
    durable, last = b"", b""
    stamps = Stamps(durable, wall)
    for _ in range(300):
        match rng.randrange(12):
            case 0:
                stamps = Stamps(durable, wall)
            case 1:
                wall.ns += rng.choice([-10 * YEAR, 10 * YEAR, -86_400 * SECOND, 3600 * SECOND])
            case _:
                wall.ns += rng.randrange(60 * SECOND)
        taken = stamps.take()
        until = stamps.reservation()
        if taken is not None:
            assert taken > last and taken <= durable
            last = taken
        if until is not None and rng.random() < 0.8:
            durable = until
            stamps.reserved(until)
