"""The timers' decisions at and around their limits."""

from __future__ import annotations

import pytest

from crypto import lifetime


def test_the_numbers_are_wireguard_s() -> None:
    assert (lifetime.REKEY_AFTER_TIME_S, lifetime.REJECT_AFTER_TIME_S) == (120, 180)
    assert (lifetime.REKEY_TIMEOUT_S, lifetime.REKEY_ATTEMPT_S, lifetime.KEEPALIVE_S) == (5, 90, 10)
    assert (lifetime.REKEY_ON_RECEIVE_S, lifetime.NO_REPLY_S) == (165, 15)


def test_times() -> None:
    assert lifetime.expires_at(7.5) == 187.5 and lifetime.silent_at(7.5) == 22.5


@pytest.mark.parametrize(
    ("age", "initiator", "records", "expected"),
    [
        (119, True, 1, False),
        (120, True, 1, True),
        (150, False, 1, False),
        (1, False, lifetime.REKEY_AFTER_RECORDS, True),
        (1, True, lifetime.REKEY_AFTER_RECORDS - 1, False),
    ],
)
def test_rekey_on_send(age: float, initiator: bool, records: int, expected: bool) -> None:
    assert lifetime.rekey_on_send(age, initiator, records) is expected


def test_rekey_on_receive() -> None:
    assert lifetime.rekey_on_receive(165, True)
    assert not lifetime.rekey_on_receive(164.9, True) and not lifetime.rekey_on_receive(170, False)


def test_retries() -> None:
    assert lifetime.retry_delay(1, 0) == 1 and lifetime.retry_delay(2, 0) == 5
    assert 5 < lifetime.retry_delay(7, 1) <= 5.333
    assert lifetime.gave_up(90) and not lifetime.gave_up(89.9)
