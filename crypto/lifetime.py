"""How long a session lives and when its handshakes are tried: WireGuard's timers as numbers and decisions.

Purpose: the control side decides with these functions when to make a new session, the forwarder enforces the
hard limits by itself.
Rule: all of them are pure: ages and counts go in, a yes or no, a delay or a time comes out, in seconds. Where a timer
waits for a limit, the limit is a time to compare with, so that rounding cannot make the timer fire and find nothing.
Reference: the WireGuard paper §6; design §3 and §4.2 (counter limits).
"""

from __future__ import annotations

from typing import Final

REKEY_AFTER_TIME_S: Final = 120.0
REJECT_AFTER_TIME_S: Final = 180.0
REKEY_ATTEMPT_S: Final = 90.0
REKEY_TIMEOUT_S: Final = 5.0
FIRST_RETRY_S: Final = 1.0
RETRY_JITTER_S: Final = 0.333
KEEPALIVE_S: Final = 10.0
REKEY_ON_RECEIVE_S: Final = REJECT_AFTER_TIME_S - KEEPALIVE_S - REKEY_TIMEOUT_S
NO_REPLY_S: Final = KEEPALIVE_S + REKEY_TIMEOUT_S
ADOPTED_REKEY_S: Final = 100.0
REKEY_AFTER_RECORDS: Final = 1 << 34


def expires_at(created: float) -> float:
    """When a session made at ``created`` must not be used any more."""
    return created + REJECT_AFTER_TIME_S


def silent_at(unanswered_since: float) -> float:
    """When what was sent stayed unanswered for so long that the other end may have lost the session."""
    return unanswered_since + NO_REPLY_S


def rekey_on_send(age_s: float, initiator: bool, sent_records: int) -> bool:
    """Whether sending traffic on a session is the occasion to make the next one.

    By age only its initiator does, so that the two ends do not both begin; by records sent either end does.
    """
    return (initiator and age_s >= REKEY_AFTER_TIME_S) or sent_records >= REKEY_AFTER_RECORDS


def rekey_on_receive(age_s: float, initiator: bool) -> bool:
    """Whether receiving on a session that is about to expire is the occasion: so one-way traffic goes on."""
    return initiator and age_s >= REKEY_ON_RECEIVE_S


def retry_delay(attempts: int, jitter: float) -> float:
    """Seconds until an initiation is repeated that was sent ``attempts`` times; ``jitter`` is 0 to 1."""
    return (FIRST_RETRY_S if attempts <= 1 else REKEY_TIMEOUT_S) + jitter * RETRY_JITTER_S


def gave_up(trying_s: float) -> bool:
    """Whether a handshake tried for so long waits for new traffic before it is tried again."""
    return trying_s >= REKEY_ATTEMPT_S
