"""Sealing and opening records: the nonce's form, one counter per sealing, limits, and what a wrong byte costs."""

from __future__ import annotations

import pytest

from crypto.errors import LocalError, RemoteError
from crypto.primitives import Suite, aead
from crypto.session import COUNTER_LIMIT, HEADER_BYTES, TAG_BYTES, CounterExhausted, Opener, Sealer

KEY = bytes(range(32))
PLAINTEXT = b"two frames, say"
SUITES = pytest.mark.parametrize("suite", list(Suite), ids=lambda suite: suite.value)


def seal(sealer: Sealer, plaintext: bytes = PLAINTEXT) -> tuple[bytes, bytes]:
    """(header, sealed) of one record; all header bytes but the counter are 0x11."""
    header, out = bytearray(b"\x11" * HEADER_BYTES), bytearray(len(plaintext) + TAG_BYTES)
    sealer.seal(header, plaintext, memoryview(out))
    return bytes(header), bytes(out)


def unseal(opener: Opener, header: bytes, sealed: bytes) -> bytes:
    out = bytearray(len(sealed) - TAG_BYTES)
    opener.open(header, sealed, memoryview(out))
    return bytes(out)


@SUITES
def test_what_is_sealed_is_opened(suite: Suite) -> None:
    sealer, opener = Sealer(suite, KEY), Opener(suite, KEY)
    for size in (0, 1, 60, 1456, 63_984):
        plaintext = bytes(size)
        assert unseal(opener, *seal(sealer, plaintext)) == plaintext


@SUITES
def test_the_nonce_is_lane_five_zeros_and_the_counter_of_the_header(suite: Suite) -> None:
    sealer = Sealer(suite, KEY, lane=3)
    sealer.counter = 0x0102030404
    header, sealed = seal(sealer)
    assert header[:10] == b"\x11" * 10
    assert header[10:] == b"\x00\x01\x02\x03\x04\x05"
    nonce = b"\x03" + bytes(5) + header[10:]
    assert aead(suite, KEY).decrypt(nonce, sealed, header) == PLAINTEXT


def test_every_sealing_takes_a_new_counter_also_of_the_same_bytes() -> None:
    sealer = Sealer(Suite.AESGCM, KEY)
    records = [seal(sealer) for _ in range(3)]
    assert [int.from_bytes(header[10:]) for header, _ in records] == [1, 2, 3]
    assert len({sealed for _, sealed in records}) == 3


@SUITES
def test_a_sealer_stops_before_its_limit_and_seals_nothing_more(suite: Suite) -> None:
    sealer = Sealer(suite, KEY)
    sealer.counter = COUNTER_LIMIT[suite] - 2
    header, _ = seal(sealer)
    assert int.from_bytes(header[10:]) == COUNTER_LIMIT[suite] - 1
    untouched = bytearray(HEADER_BYTES)
    out = bytearray(TAG_BYTES)
    for _ in range(2):
        with pytest.raises(CounterExhausted):
            sealer.seal(untouched, b"", memoryview(out))
    assert untouched == bytes(HEADER_BYTES) and out == bytes(TAG_BYTES)
    assert issubclass(CounterExhausted, LocalError)


@SUITES
def test_a_counter_past_the_limit_is_refused_though_its_tag_is_right(suite: Suite) -> None:
    header = bytes(10) + COUNTER_LIMIT[suite].to_bytes(6)
    sealed = aead(suite, KEY).encrypt(bytes(6) + header[10:], PLAINTEXT, header)
    opener = Opener(suite, KEY)
    assert not opener.is_fresh(COUNTER_LIMIT[suite]) and opener.is_fresh(COUNTER_LIMIT[suite] - 1)
    with pytest.raises(RemoteError):
        unseal(opener, header, sealed)


@SUITES
def test_a_replay_is_refused(suite: Suite) -> None:
    sealer, opener = Sealer(suite, KEY), Opener(suite, KEY)
    first, second = seal(sealer), seal(sealer)
    assert unseal(opener, *second) == unseal(opener, *first) == PLAINTEXT
    for record in (first, second):
        assert not opener.is_fresh(int.from_bytes(record[0][10:]))
        with pytest.raises(RemoteError, match="replay"):
            unseal(opener, *record)


def tampered(header: bytes, sealed: bytes) -> list[tuple[bytes, bytes]]:
    """The record with one bit of the header flipped, one bit of the ciphertext, a byte more and a byte less."""
    found = []
    for bit in range(8 * HEADER_BYTES):
        wrong = bytearray(header)
        wrong[bit // 8] ^= 1 << bit % 8
        found.append((bytes(wrong), sealed))
    for at in range(len(sealed)):
        wrong = bytearray(sealed)
        wrong[at] ^= 0x40
        found.append((header, bytes(wrong)))
    return [*found, (header, sealed + b"\0"), (header, sealed[:-1]), (header, sealed[:TAG_BYTES])]


@SUITES
def test_any_wrong_bit_is_refused_and_leaves_the_window_alone(suite: Suite) -> None:
    sealer, opener = Sealer(suite, KEY), Opener(suite, KEY)
    unseal(opener, *seal(sealer))
    record = seal(sealer)
    for header, sealed in tampered(*record):
        with pytest.raises(RemoteError):
            unseal(opener, header, sealed)
        assert opener.window.highest == 1
    assert unseal(opener, *record) == PLAINTEXT


def test_another_lane_and_another_key_open_nothing() -> None:
    record = seal(Sealer(Suite.AESGCM, KEY, lane=0))
    for opener in (Opener(Suite.AESGCM, KEY, lane=1), Opener(Suite.AESGCM, bytes(32)), Opener(Suite.CHACHAPOLY, KEY)):
        with pytest.raises(RemoteError, match="authentication"):
            unseal(opener, *record)
        assert opener.window.highest == 0
