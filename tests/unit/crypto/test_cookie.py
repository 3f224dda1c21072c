"""Cookies: bound to an address, sealed for one datagram, and refused when a single bit differs."""

from __future__ import annotations

import random
import re

import pytest

from crypto.cookie import (
    COOKIE_SIZE,
    REPLY_SIZE,
    TYPE_COOKIE,
    cookie,
    cookie_key,
    has_mac2,
    mac2,
    open_reply,
    reply_receiver,
    seal_reply,
)
from crypto.errors import LocalError, RemoteError
from crypto.handshake import RESPONSE_SIZE

RNG = random.Random(21)
SECRET, SUBKEY, STATIC = (RNG.randbytes(32) for _ in range(3))
MAC1, NONCE = RNG.randbytes(16), RNG.randbytes(24)
KEY = cookie_key(SUBKEY, STATIC)
COOKIE = cookie(SECRET, "192.0.2.1", 6799)
REPLY = seal_reply(KEY, 3, 77, MAC1, COOKIE, NONCE)


def test_a_cookie_belongs_to_one_address_and_one_secret() -> None:
    made = [
        cookie(secret, host, port)
        for secret in (SECRET, bytes(32))
        for host in ("192.0.2.1", "192.0.2.11", "2001:db8::1")
        for port in (1, 11, 6799)
    ]
    assert len(set(made)) == 2 * 3 * 3 and all(len(one) == COOKIE_SIZE for one in made)
    assert cookie(SECRET, "192.0.2.1", 6799) == COOKIE


def test_a_reply_is_opened_by_whom_it_was_made_for() -> None:
    assert len(REPLY) == REPLY_SIZE == 64 and REPLY[:8] == bytes((TYPE_COOKIE, 3, 0, 0, 0, 0, 0, 77))
    assert reply_receiver(REPLY) == 77
    assert open_reply(KEY, MAC1, REPLY) == COOKIE
    assert COOKIE not in REPLY


def test_a_reply_is_shorter_than_anything_it_answers() -> None:
    assert REPLY_SIZE < RESPONSE_SIZE


def test_every_flipped_bit_and_every_other_length() -> None:
    for bit in range(8 * REPLY_SIZE):
        damaged = bytearray(REPLY)
        damaged[bit >> 3] ^= 1 << (bit & 7)
        with pytest.raises(RemoteError):
            open_reply(KEY, MAC1, bytes(damaged))
    for other in (*(REPLY[:size] for size in range(REPLY_SIZE)), REPLY + b"\0", REPLY * 2):
        for call in (lambda data: open_reply(KEY, MAC1, data), reply_receiver):
            with pytest.raises(RemoteError, match="length"):
                call(other)
    assert open_reply(KEY, MAC1, REPLY) == COOKIE


def test_another_datagram_mesh_or_peer() -> None:
    for key, mac1 in (
        (KEY, RNG.randbytes(16)),
        (cookie_key(SUBKEY, RNG.randbytes(32)), MAC1),
        (cookie_key(RNG.randbytes(32), STATIC), MAC1),
    ):
        with pytest.raises(RemoteError, match="authenticate"):
            open_reply(key, mac1, REPLY)


@pytest.mark.parametrize("head", [b"\2\3\0\0\0\0\0\1", b"\3\3\0\1\0\0\0\1", b"\3\3\0\0\0\0\0\0"])
def test_replies_of_another_form(head: bytes) -> None:
    with pytest.raises(RemoteError, match="form"):
        reply_receiver(head + REPLY[8:])


def test_mac2_covers_everything_before_it() -> None:
    datagram = RNG.randbytes(116)
    proved = datagram[:-16] + mac2(COOKIE, datagram)
    assert has_mac2(COOKIE, proved) and not has_mac2(bytes(16), proved) and not has_mac2(COOKIE, datagram)
    for position in range(len(proved)):
        damaged = bytearray(proved)
        damaged[position] ^= 0x10
        assert not has_mac2(COOKIE, bytes(damaged))
    assert not has_mac2(COOKIE, b"") and not has_mac2(COOKIE, proved[1:])


@pytest.mark.parametrize(
    "change", [{"epoch": 256}, {"receiver_index": 1 << 32}, {"mac1": b""}, {"cookie": b"c" * 17}, {"nonce": b""}]
)
def test_what_fits_no_reply(change: dict[str, object]) -> None:
    parts: dict[str, object] = {
        "key": KEY, "epoch": 3, "receiver_index": 77, "mac1": MAC1, "cookie": COOKIE, "nonce": NONCE, **change
    }  # fmt: skip
    with pytest.raises(LocalError) as refused:
        seal_reply(**parts)  # type: ignore[arg-type]
    assert not re.search(COOKIE.hex(), str(refused.value))
