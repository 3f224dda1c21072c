"""Time stamps: their form and that they only grow."""

from __future__ import annotations

import pytest

from crypto.errors import LocalError
from crypto.tai64n import later, stamp


def test_known_label() -> None:
    # https://cr.yp.to/libtai/tai64.html gives this label for 1992-06-02 08:07:09 TAI (UTC was 26 s behind);
    # stamps here take TAI as 10 s ahead, as WireGuard does, so the label's wall clock is 10 s earlier.
    assert stamp((0x2A2B2C2D - 10) * 1_000_000_000) == bytes.fromhex("400000002a2b2c2d00000000")
    assert stamp(1_500_000_000)[8:] == (500_000_000).to_bytes(4)


def test_order_is_the_clock_s() -> None:
    readings = [0, 1, 999_999_999, 1_000_000_000, 10**18, 10**18 + 1]
    assert sorted(map(stamp, readings)) == list(map(stamp, readings))


def test_later_steps_past_the_previous() -> None:
    previous = stamp(5_999_999_999)
    assert later(previous, 7_000_000_000) == stamp(7_000_000_000)
    for stuck in (5_999_999_999, 0, -(10**9)):
        assert later(previous, stuck) == stamp(6_000_000_000) > previous


def test_what_is_no_stamp() -> None:
    for previous in (b"", bytes(11), b"\xff" * 12):
        with pytest.raises(LocalError):
            later(previous, 0)
    with pytest.raises(LocalError):
        stamp(1 << 100)
