"""What an unauthenticated sender can make go up: only handshakes with a right mac1, and not many."""

from __future__ import annotations

from hashlib import blake2s

import pytest

from meshnet.forwarder.admission import HANDSHAKE_LENGTHS, HANDSHAKES_PER_S, SOURCES_KEPT, Admission
from meshnet.forwarder.counters import Drop

KEY = b"k" * 32
HOST = "192.0.2.1"


def handshake(kind: int = 1, key: bytes = KEY, fill: int = 0) -> bytes:
    body = bytes([kind]) + bytes([fill]) * (HANDSHAKE_LENGTHS[kind] - 33)
    return body + blake2s(body, key=key, digest_size=16).digest() + bytes(16)


@pytest.fixture
def admission() -> Admission:
    made = Admission()
    made.set_key(KEY)
    return made


def test_both_handshakes_go_up(admission: Admission) -> None:
    assert admission.refuse(handshake(1), HOST, 1.0) is None
    assert admission.refuse(handshake(2), HOST, 1.0) is None


def test_nothing_goes_up_before_the_key_is_known() -> None:
    assert Admission().refuse(handshake(), HOST, 1.0) is Drop.HANDSHAKE_MAC


@pytest.mark.parametrize("first", [0, 3, 4, 5, 15, 0x11, 0x12, 0xF1])
def test_other_types_and_reserved_bits_are_unknown(admission: Admission, first: int) -> None:
    assert admission.refuse(bytes([first]) + handshake()[1:], HOST, 1.0) is Drop.UNKNOWN_TYPE


def test_an_empty_datagram_is_unknown(admission: Admission) -> None:
    assert admission.refuse(b"", HOST, 1.0) is Drop.UNKNOWN_TYPE


def test_a_wrong_length_is_refused(admission: Admission) -> None:
    for datagram in (handshake()[:-1], handshake() + b"\0", handshake()[:1], b"\2" + handshake()[1:]):
        assert admission.refuse(datagram, HOST, 1.0) is Drop.HANDSHAKE_LENGTH


def test_any_flipped_byte_under_the_mac_and_any_other_key_is_refused(admission: Admission) -> None:
    for at in range(1, HANDSHAKE_LENGTHS[1] - 16):
        wrong = bytearray(handshake())
        wrong[at] ^= 1
        assert admission.refuse(bytes(wrong), HOST, 1.0) is Drop.HANDSHAKE_MAC
    assert admission.refuse(handshake(key=b"x" * 32), HOST, 1.0) is Drop.HANDSHAKE_MAC


def test_junk_does_not_use_up_a_members_share(admission: Admission) -> None:
    for _ in range(10 * HANDSHAKES_PER_S):
        assert admission.refuse(handshake(key=b"x" * 32), HOST, 1.0) is Drop.HANDSHAKE_MAC
        assert admission.refuse(handshake()[:-1], HOST, 1.0) is Drop.HANDSHAKE_LENGTH
    assert admission.refuse(handshake(), HOST, 1.0) is None


def test_each_source_has_a_share_of_each_second(admission: Admission) -> None:
    answers = [admission.refuse(handshake(), HOST, 1.5) for _ in range(HANDSHAKES_PER_S + 1)]
    assert answers == [None] * HANDSHAKES_PER_S + [Drop.HANDSHAKE_RATE]
    assert admission.refuse(handshake(), "192.0.2.2", 1.5) is None
    assert admission.refuse(handshake(), HOST, 2.0) is None


def test_the_number_of_sources_of_a_second_is_bounded(admission: Admission) -> None:
    for number in range(SOURCES_KEPT):
        assert admission.refuse(handshake(), f"source {number}", 1.0) is None
    assert admission.refuse(handshake(), "one more", 1.0) is Drop.HANDSHAKE_RATE
    assert admission.refuse(handshake(), "source 0", 1.0) is None
    assert admission.refuse(handshake(), "one more", 2.0) is None
