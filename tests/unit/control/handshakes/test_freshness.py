"""Which initiations are new: stamps under clocks that jump, challenges, ephemeral keys that were seen."""

from __future__ import annotations

from crypto.tai64n import stamp
from meshnet.control.handshakes.freshness import AHEAD_NS, EPHEMERALS_KEPT, Freshness, Verdict

NOW = 10**18
YEAR = 365 * 86_400 * 10**9


def key(number: int) -> bytes:
    return number.to_bytes(32)


def judged(fresh: Freshness, at: int, number: int, challenged: bool = False, wall: int = NOW) -> Verdict:
    """Judges one, and remembers it if it counts."""
    verdict = fresh.judge(stamp(at), key(number), challenged, wall)
    if verdict in (Verdict.FRESH, Verdict.PROVED):
        fresh.accept(verdict, stamp(at), key(number), wall)
    return verdict


def test_a_stamp_counts_if_it_is_greater_and_not_from_beyond_a_day() -> None:
    fresh = Freshness(stamp(NOW))
    assert judged(fresh, NOW, 1) is Verdict.STALE
    assert judged(fresh, NOW + 1, 2) is Verdict.FRESH
    assert judged(fresh, NOW + 1, 3) is Verdict.STALE
    assert judged(fresh, NOW + AHEAD_NS + 1, 4) is Verdict.STALE
    assert judged(fresh, NOW + AHEAD_NS, 5) is Verdict.FRESH


def test_a_challenge_proves_any_stamp_and_raises_nothing() -> None:
    fresh = Freshness(stamp(NOW))
    assert judged(fresh, NOW + 10 * YEAR, 1, challenged=True) is Verdict.PROVED
    assert judged(fresh, NOW - 10 * YEAR, 2, challenged=True) is Verdict.PROVED
    assert fresh.stamp == stamp(NOW), "a wrong clock poisons nothing"
    assert judged(fresh, NOW + 1, 3) is Verdict.FRESH


def test_a_repeated_key_is_refused_also_with_a_challenge() -> None:
    fresh = Freshness(stamp(NOW))
    for number in range(EPHEMERALS_KEPT):
        assert judged(fresh, NOW - 1, number, challenged=True) is Verdict.PROVED
    for number in range(EPHEMERALS_KEPT):
        assert judged(fresh, NOW - 1, number, challenged=True) is Verdict.REPEATED
    assert len(fresh.ephemerals) == EPHEMERALS_KEPT
    assert judged(fresh, NOW + 5, 77) is Verdict.FRESH
    assert judged(fresh, NOW + 9, 77) is Verdict.REPEATED


def test_what_our_own_wrong_clock_let_in_is_mended_by_a_proof() -> None:
    fresh = Freshness(stamp(NOW))
    assert judged(fresh, NOW + 10 * YEAR, 1, wall=NOW + 10 * YEAR) is Verdict.FRESH
    assert judged(fresh, NOW + 1, 2) is Verdict.STALE
    assert judged(fresh, NOW + 2, 3, challenged=True) is Verdict.PROVED
    assert fresh.stamp == stamp(NOW + 2)
    assert judged(fresh, NOW + 3, 4) is Verdict.FRESH
    assert judged(fresh, NOW + 10 * YEAR, 5) is Verdict.STALE, "a recording of that time"


def test_a_stamp_within_a_day_is_never_lowered() -> None:
    fresh = Freshness(stamp(NOW + AHEAD_NS // 2))
    assert judged(fresh, NOW, 1, challenged=True) is Verdict.PROVED
    assert fresh.stamp == stamp(NOW + AHEAD_NS // 2)
