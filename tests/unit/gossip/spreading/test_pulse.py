from __future__ import annotations

from random import Random

import pytest

from gossip import limits
from gossip.spreading.codec import Beat, decode, encode
from gossip.spreading.pulse import Pulse, step_ms

SAMPLES = limits.RTT_SAMPLES


def exchange(near: Pulse, far: Pulse, now: float, trip_ms: float, skew_s: float = 0.0, held_s: float = 1.3) -> float:
    """A heartbeat there, and one back `held_s` later; the time then."""
    there = now + trip_ms / 4000
    far.heard(near.beat(now), there + skew_s)
    back = there + held_s
    near.heard(far.beat(back + skew_s), back + trip_ms * 3 / 4000)
    return now + limits.HEARTBEAT_S


def measured(trips_ms: list[float], near: Pulse | None = None, start: float = 0.0, skew_s: float = 0.0) -> Pulse:
    made, far, now = near or Pulse(), Pulse(), start
    for trip in trips_ms:
        now = exchange(made, far, now, trip, skew_s)
    return made


@pytest.mark.parametrize("trip_ms", [0.2, 3, 40, 700, 6000])
@pytest.mark.parametrize("skew_s", [0.0, 123456.7, 40.1])
def test_the_round_trip_is_measured_whatever_the_clocks_say_and_however_long_the_far_end_waits(
    trip_ms: float, skew_s: float
) -> None:
    for start in (0.0, 64.0, 987654.321):  # the count of ms begins anew in between
        cost = measured([trip_ms] * SAMPLES, start=start, skew_s=skew_s).cost()
        assert trip_ms <= step_ms(cost) <= max(2 * trip_ms + 2, 2)


def test_no_cost_before_there_are_samples_enough() -> None:
    assert measured([40.0] * (limits.RTT_LEAST - 1)).cost() == 0
    assert step_ms(measured([40.0] * limits.RTT_LEAST).cost()) == 64
    assert step_ms(0) == limits.UNKNOWN_RTT_MS


def test_one_stall_changes_nothing() -> None:
    assert measured([40.0] * 6 + [5000.0, 4000.0]).cost() == measured([40.0] * 8).cost()


def test_what_was_said_stays_until_it_is_far_off() -> None:
    pulse = measured([40.0] * SAMPLES)
    pulse.said = pulse.cost()
    assert step_ms(pulse.said) == 64
    for near_enough in (17.0, 60.0, 126.0):
        assert measured([near_enough] * SAMPLES, pulse).cost() == pulse.said
    assert step_ms(measured([140.0] * SAMPLES, pulse).cost()) == 256
    assert step_ms(measured([10.0] * SAMPLES, pulse).cost()) == 16


def test_jitter_hardly_ever_moves_it() -> None:
    rng, moved = Random(1), 0
    for _ in range(100):
        pulse = measured([rng.uniform(1, 40) + rng.uniform(1, 40) for _ in range(limits.RTT_LEAST)])
        pulse.said = pulse.cost()
        now, far = 100.0, Pulse()
        for _ in range(50):
            now = exchange(pulse, far, now, rng.uniform(1, 40) + rng.uniform(1, 40))
            moved += pulse.cost() != pulse.said
            pulse.said = pulse.cost()
    assert moved <= 2


def test_nonsense_is_not_counted() -> None:
    pulse = Pulse()
    for _ in range(SAMPLES):
        pulse.heard(Beat(1, 50_000, 100), 1.0)  # an echo of what was never sent: 16 s
        pulse.heard(Beat(None, 5, None), 1.0)
        pulse.heard(Beat(), 1.0)
    assert pulse.cost() == 0
    assert pulse.beat(2.0) == Beat(2000, 1, 1000)
    assert pulse.beat(500.0) == Beat(500_000 % limits.BEAT_TURN_MS), "what was heard so long ago says nothing"


def test_a_peer_of_an_earlier_version_is_understood_and_measures_nothing() -> None:
    old = decode(b"\x91\x00")
    assert old == Beat() and isinstance(old, Beat)
    pulse = Pulse()
    pulse.heard(old, 1.0)
    assert pulse.beat(2.0) == Beat(2000) and pulse.cost() == 0
    assert len(encode(Beat(60_000, 60_000, 60_000))) <= 11
