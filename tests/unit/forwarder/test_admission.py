"""What an unauthenticated sender can make go up: handshakes with a right mac1, and under load with a right mac2."""

from __future__ import annotations

import random
from collections.abc import Iterator
from hashlib import blake2s
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crypto.cookie import REPLY_SIZE, cookie, mac2, open_reply, seal_reply
from meshnet.boundary import HandshakeKeyRow
from meshnet.forwarder import admission as module
from meshnet.forwarder.admission import (
    ASKED_KEPT,
    ASKED_USES,
    COOKIES_PER_S,
    HANDSHAKE_LENGTHS,
    LOAD_PER_S,
    REPEAT_S,
    REPLIES_AT_ONCE,
    REPLIES_PER_S,
    SEEN_KEPT,
    Admission,
    Verdict,
)
from meshnet.forwarder.buckets import BURST, SOURCES_KEPT
from meshnet.forwarder.counters import Drop

KEY, COOKIE_KEY = b"k" * 32, b"c" * 32
ROWS = [HandshakeKeyRow(epoch=0, mac1_key=KEY, cookie_key=COOKIE_KEY)]
SECRET, OLDER = b"1" * 32, b"2" * 32
HOST, PORT = "192.0.2.1", 6799
INITIATION, RESPONSE, REPLY = 1, 2, 3


def handshake(kind: int = 1, key: bytes = KEY, fill: int = 0, *, epoch: int = 0, jar: bytes | None = None) -> bytes:
    """A datagram of the right form; `fill` makes it another, `jar` is the cookie for its mac2."""
    body = bytes([kind, epoch, 0, 0]) + fill.to_bytes(4) * ((HANDSHAKE_LENGTHS[kind] - 36) // 4)
    mac1 = blake2s(body, key=key, digest_size=16).digest()
    datagram = body + mac1 + bytes(16)
    return datagram if jar is None else datagram[:-16] + mac2(jar, datagram)


def entropy(count: int) -> bytes:
    return bytes(range(count))


@pytest.fixture
def admission() -> Admission:
    made = Admission(entropy)
    made.set_keys(ROWS)
    made.set_cookie_secrets(SECRET, OLDER)
    return made


@pytest.fixture
def fills() -> Iterator[int]:
    return count(1)


def dropped(admission: Admission, datagram: bytes, host: str = HOST, now: float = 1.0) -> Drop | None:
    return admission.judge(datagram, host, PORT, now).drop


def load(admission: Admission, fills: Iterator[int], now: float = 1.0, size: int = LOAD_PER_S) -> None:
    """As many handshakes from different addresses as are answered without a cookie in the second of `now`."""
    for number in range(size):
        assert dropped(admission, handshake(fill=next(fills)), f"198.51.{number // 250}.{number % 250}", now) is None


# --- form and mac1 ---------------------------------------------------------------------------------------------------


def test_both_handshakes_go_up(admission: Admission) -> None:
    assert admission.judge(handshake(INITIATION), HOST, PORT, 1.0) == Verdict(None, b"")
    assert admission.judge(handshake(RESPONSE), HOST, PORT, 1.0) == Verdict(None, b"")


def test_nothing_goes_up_before_the_keys_are_known() -> None:
    assert dropped(Admission(entropy), handshake()) is Drop.HANDSHAKE_MAC


@pytest.mark.parametrize("first", [0, 4, 5, 15, 0x11, 0x12, 0x13, 0xF1])
def test_other_types_and_reserved_bits_are_unknown(admission: Admission, first: int) -> None:
    assert dropped(admission, bytes([first]) + handshake()[1:]) is Drop.UNKNOWN_TYPE


def test_an_empty_datagram_is_unknown(admission: Admission) -> None:
    assert dropped(admission, b"") is Drop.UNKNOWN_TYPE


def test_a_wrong_length_is_refused(admission: Admission) -> None:
    for kind, length in HANDSHAKE_LENGTHS.items():
        for wrong in (length - 1, length + 1, 1, 16):
            assert dropped(admission, bytes([kind]) + bytes(wrong - 1)) is Drop.HANDSHAKE_LENGTH


def test_any_flipped_byte_under_the_mac_and_any_other_key_is_refused(admission: Admission) -> None:
    for at in range(1, HANDSHAKE_LENGTHS[1] - 16):
        wrong = bytearray(handshake())
        wrong[at] ^= 1
        assert dropped(admission, bytes(wrong)) is Drop.HANDSHAKE_MAC
    assert dropped(admission, handshake(key=b"x" * 32)) is Drop.HANDSHAKE_MAC


def test_every_epoch_and_static_key_that_was_given_is_admitted_and_no_other(admission: Admission) -> None:
    keys = [(epoch, bytes([epoch, number]) * 16) for epoch in (7, 8, 255) for number in (1, 2)]
    admission.set_keys([HandshakeKeyRow(epoch, key, COOKIE_KEY) for epoch, key in keys])
    for epoch, key in keys:
        assert dropped(admission, handshake(key=key, epoch=epoch)) is None
        assert dropped(admission, handshake(key=key, epoch=epoch ^ 1)) is Drop.HANDSHAKE_MAC
    assert dropped(admission, handshake()) is Drop.HANDSHAKE_MAC, "the key of before is not good any more"


@given(st.binary(max_size=200), st.integers(0, 255))
def test_any_bytes_get_a_verdict_and_strangers_get_silence(data: bytes, kind: int) -> None:
    admission = Admission(entropy)
    admission.set_keys(ROWS)
    admission.set_cookie_secrets(SECRET, b"")
    for datagram in (data, bytes([kind]) + data, (bytes([kind % 4]) + data * 184)[: HANDSHAKE_LENGTHS.get(kind % 4)]):
        drop, reply = admission.judge(datagram, HOST, PORT, 1.0)
        assert drop is not None and reply == b""


def test_what_went_up_does_not_go_up_again_for_some_seconds(admission: Admission) -> None:
    assert dropped(admission, handshake(), now=1.0) is None
    for now in (1.0, 1.0 + REPEAT_S - 0.1):
        assert dropped(admission, handshake(), "192.0.2.9", now) is Drop.HANDSHAKE_REPEATED
    assert dropped(admission, handshake(), now=1.0 + 3 * REPEAT_S) is None


def test_what_went_up_is_forgotten_in_time_though_nothing_else_comes(admission: Admission) -> None:
    assert dropped(admission, handshake(), now=1.0) is None
    assert dropped(admission, handshake(), now=1000.0) is None


def test_a_recording_played_back_fast_makes_no_load(admission: Admission, fills: Iterator[int]) -> None:
    assert dropped(admission, handshake(), now=1.0) is None
    for number in range(10 * LOAD_PER_S):
        assert dropped(admission, handshake(), f"192.0.2.{number % 250}", 1.0) is Drop.HANDSHAKE_REPEATED
    assert dropped(admission, handshake(fill=next(fills)), now=1.0) is None


def test_what_is_remembered_is_bounded(admission: Admission, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOAD_PER_S", 10**9)
    for number in range(3 * SEEN_KEPT):
        host = f"10.0.{number >> 8}.{number & 255}"
        assert dropped(admission, handshake(fill=number), host, now=1.0 + number / 1000) is None
        assert len(admission._seen) <= SEEN_KEPT and len(admission._seen_before) <= SEEN_KEPT
        assert len(admission._buckets) <= SOURCES_KEPT


# --- load and cookies ------------------------------------------------------------------------------------------------


def test_under_load_a_sender_is_asked_back_by_a_shorter_cookie_reply(
    admission: Admission, fills: Iterator[int]
) -> None:
    load(admission, fills)
    for kind in (INITIATION, RESPONSE):
        datagram = handshake(kind, fill=0x01020304)
        drop, reply = admission.judge(datagram, HOST, PORT, 1.5)
        assert drop is Drop.HANDSHAKE_NO_COOKIE and len(reply) == REPLY_SIZE < len(datagram)
        assert reply[:8] == bytes([3, 0, 0, 0, 1, 2, 3, 4]), "it names the sender index of what it answers"
        jar = open_reply(COOKIE_KEY, datagram[-32:-16], reply)
        assert jar == cookie(SECRET, HOST, PORT)
    assert dropped(admission, handshake(fill=next(fills), jar=jar), now=1.5) is None


@pytest.mark.parametrize(
    ("secret", "host", "port", "is_right"),
    [
        (SECRET, HOST, PORT, True),
        (OLDER, HOST, PORT, True),
        (b"3" * 32, HOST, PORT, False),
        (SECRET, "192.0.2.2", PORT, False),
        (SECRET, HOST, PORT + 1, False),
    ],
)
def test_a_cookie_is_good_for_its_address_and_for_two_secrets(
    admission: Admission, fills: Iterator[int], secret: bytes, host: str, port: int, is_right: bool
) -> None:
    load(admission, fills)
    made = handshake(fill=next(fills), jar=cookie(secret, host, port))
    assert dropped(admission, made) is (None if is_right else Drop.HANDSHAKE_NO_COOKIE)


def test_load_ends_a_second_after_the_flood(admission: Admission, fills: Iterator[int]) -> None:
    load(admission, fills, 1.0)
    assert dropped(admission, handshake(fill=next(fills)), now=1.9) is Drop.HANDSHAKE_NO_COOKIE
    assert dropped(admission, handshake(fill=next(fills)), now=2.9) is Drop.HANDSHAKE_NO_COOKIE
    assert dropped(admission, handshake(fill=next(fills)), now=3.0) is None


def test_a_pause_ends_the_load_too(admission: Admission, fills: Iterator[int]) -> None:
    load(admission, fills, 1.0)
    assert dropped(admission, handshake(fill=next(fills)), now=1.9) is Drop.HANDSHAKE_NO_COOKIE
    assert dropped(admission, handshake(fill=next(fills)), now=9.0) is None


def test_strangers_make_no_load(admission: Admission, fills: Iterator[int]) -> None:
    for _ in range(20 * LOAD_PER_S):
        assert dropped(admission, handshake(key=b"x" * 32, fill=next(fills))) is Drop.HANDSHAKE_MAC
    assert dropped(admission, handshake(fill=next(fills))) is None


def test_a_flood_from_everywhere_keeps_no_newcomer_out(admission: Admission, fills: Iterator[int]) -> None:
    up, per_second, jar = 0, 2 * REPLIES_PER_S, b""
    attempts = sorted(random.Random(1).sample(range(3 * per_second), 12))
    for number in range(3 * per_second):
        now = 1.0 + (number // 32 * 32) / per_second  # the forwarder looks at the clock once a turn
        host = f"203.{number % 200}.{number // 200 % 200}.1"
        up += dropped(admission, handshake(fill=next(fills)), host, now) is None
        if number in attempts and not jar:
            first = handshake(fill=next(fills))
            reply = admission.judge(first, HOST, PORT, now).reply
            jar = open_reply(COOKIE_KEY, first[-32:-16], reply) if reply else b""
    assert jar, "not one of twelve attempts was answered"
    assert dropped(admission, handshake(fill=next(fills), jar=jar), now=now) is None
    assert up <= LOAD_PER_S, "what goes up before the load is noticed"


def test_replies_are_bounded_and_spread_over_the_second(admission: Admission, fills: Iterator[int]) -> None:
    load(admission, fills, 1.0)
    answered = []
    for number in range(2 * REPLIES_PER_S):
        now = 1.0 + number / (2 * REPLIES_PER_S)
        drop, reply = admission.judge(handshake(fill=next(fills)), HOST, PORT, now)
        assert (drop is Drop.HANDSHAKE_NO_COOKIE) is bool(reply) and (reply or drop is Drop.COOKIE_LIMIT)
        answered.append(bool(reply))
    assert abs(sum(answered) - REPLIES_PER_S) <= REPLIES_AT_ONCE + 1
    for start in range(0, len(answered), 1_000):
        assert sum(answered[start : start + 1_000]) >= 499, "whenever in a second a newcomer tries, its odds are even"


def test_without_secrets_the_load_is_dropped_in_silence(fills: Iterator[int]) -> None:
    admission = Admission(entropy)
    admission.set_keys(ROWS)
    load(admission, fills)
    assert admission.judge(handshake(fill=next(fills)), HOST, PORT, 1.0) == Verdict(Drop.COOKIE_LIMIT)


def test_one_secret_is_enough_and_an_odd_one_is_refused(admission: Admission, fills: Iterator[int]) -> None:
    admission.set_cookie_secrets(b"3" * 32, b"")
    load(admission, fills)
    assert dropped(admission, handshake(fill=next(fills), jar=cookie(b"3" * 32, HOST, PORT))) is None
    with pytest.raises(ValueError):
        admission.set_cookie_secrets(SECRET, b"short")


# --- shares of an address --------------------------------------------------------------------------------------------


def test_an_address_has_a_share_even_with_a_cookie(admission: Admission, fills: Iterator[int]) -> None:
    load(admission, fills)
    jar = cookie(SECRET, HOST, PORT)
    answers = [dropped(admission, handshake(fill=next(fills), jar=jar)) for _ in range(int(BURST) + 1)]
    assert answers == [None] * int(BURST) + [Drop.HANDSHAKE_RATE]
    other = cookie(SECRET, "192.0.2.2", PORT)
    assert dropped(admission, handshake(fill=next(fills), jar=other), "192.0.2.2") is None


def test_junk_does_not_use_up_a_members_share(admission: Admission) -> None:
    for _ in range(1_000):
        assert dropped(admission, handshake(key=b"x" * 32)) is Drop.HANDSHAKE_MAC
        assert dropped(admission, handshake()[:-1]) is Drop.HANDSHAKE_LENGTH
    assert dropped(admission, handshake()) is None


# --- what was asked for ----------------------------------------------------------------------------------------------


def answer(index: int, fill: int) -> bytes:
    """A response to the datagram of ours that had this sender index."""
    body = bytes([RESPONSE, 0, 0, 0]) + bytes(4) + index.to_bytes(4) + fill.to_bytes(72)
    return body + blake2s(body, key=KEY, digest_size=16).digest() + bytes(16)


def cookie_reply(index: int, epoch: int = 0) -> bytes:
    return seal_reply(COOKIE_KEY, epoch, index, bytes(16), bytes(16), bytes(24))


def test_under_load_the_responses_to_our_initiations_need_no_cookie(admission: Admission, fills: Iterator[int]) -> None:
    ours = handshake(fill=0x77)
    admission.sent(ours)
    load(admission, fills)
    assert dropped(admission, answer(0x78, 1)) is Drop.HANDSHAKE_NO_COOKIE
    for fill in range(ASKED_USES):
        assert dropped(admission, answer(0x77, fill)) is None
    assert dropped(admission, answer(0x77, 99)) is Drop.HANDSHAKE_NO_COOKIE
    assert dropped(admission, answer(0x77, 0)) is Drop.HANDSHAKE_REPEATED


def test_responses_that_were_asked_for_make_no_load(admission: Admission, fills: Iterator[int]) -> None:
    for index in range(1, 5 * LOAD_PER_S):
        admission.sent(handshake(fill=index))
        assert dropped(admission, answer(index, index)) is None
    assert dropped(admission, handshake(fill=next(fills))) is None


@pytest.mark.parametrize("kind", [INITIATION, RESPONSE])
def test_a_cookie_reply_goes_up_if_it_answers_a_datagram_of_ours(admission: Admission, kind: int) -> None:
    assert dropped(admission, cookie_reply(0x77)) is Drop.COOKIE_UNASKED
    admission.sent(handshake(kind, fill=0x77))
    for _ in range(ASKED_USES):
        assert dropped(admission, cookie_reply(0x77)) is None
    assert dropped(admission, cookie_reply(0x77)) is Drop.COOKIE_UNASKED
    assert dropped(admission, cookie_reply(0x78)) is Drop.COOKIE_UNASKED
    assert dropped(admission, b"\3\0\1\0" + cookie_reply(0x77)[4:]) is Drop.COOKIE_UNASKED


def test_cookie_replies_that_go_up_are_bounded_and_forged_ones_use_nothing_up(admission: Admission) -> None:
    for index in range(1, COOKIES_PER_S + 2):
        admission.sent(handshake(fill=index))
    for index in range(10_000, 11_000):
        assert dropped(admission, cookie_reply(index)) is Drop.COOKIE_UNASKED
    for index in range(1, COOKIES_PER_S + 1):
        assert dropped(admission, cookie_reply(index)) is None
    assert dropped(admission, cookie_reply(COOKIES_PER_S + 1)) is Drop.COOKIE_RATE
    assert dropped(admission, cookie_reply(COOKIES_PER_S + 1), now=2.0) is None


def test_cookie_replies_ask_for_nothing_themselves(admission: Admission) -> None:
    admission.sent(cookie_reply(0x77))
    admission.sent(b"")
    assert dropped(admission, cookie_reply(0x77)) is Drop.COOKIE_UNASKED


def test_what_was_asked_for_is_bounded_and_the_newest_are_kept(admission: Admission) -> None:
    for index in range(1, ASKED_KEPT + 3):
        admission.sent(handshake(fill=index))
        admission.sent(handshake(fill=1))
    assert len(admission._asked) == ASKED_KEPT
    assert dropped(admission, cookie_reply(2)) is Drop.COOKIE_UNASKED
    assert dropped(admission, cookie_reply(1)) is None
    assert dropped(admission, cookie_reply(ASKED_KEPT + 2)) is None
