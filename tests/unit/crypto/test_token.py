"""Join tokens: the round trip, one shell word, and a reason for every way to spoil one."""

from __future__ import annotations

import dataclasses
import random
import shlex

import pytest

from crypto.errors import LocalError
from crypto.primitives import Suite
from crypto.token import Token

ENTROPY = random.Random(5).randbytes
TOKEN = Token(
    mesh=ENTROPY(16),
    suite=Suite.CHACHAPOLY,
    addresses=("192.0.2.7:6799", "[2001:db8::7]:6799", "host-1.example:6799"),
    issuer_identity=ENTROPY(32),
    issuer_static=ENTROPY(32),
    secret=ENTROPY(32),
    expires=1_900_000_000,
    uses=3,
)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@pytest.mark.parametrize("suite", list(Suite))
def test_round_trip(suite: Suite) -> None:
    token = dataclasses.replace(TOKEN, suite=suite)
    text = token.encode()
    assert Token.decode(text) == Token.decode(f"  {text}\n") == token
    assert Token.decode(text).token_id == token.token_id and Token.decode(text).psk() == token.psk()


def test_one_shell_word() -> None:
    text = TOKEN.encode()
    assert shlex.split(text) == [text] and shlex.quote(text) == text and text.startswith("mesh1-")


def test_addresses_may_be_a_list() -> None:
    assert dataclasses.replace(TOKEN, addresses=list(TOKEN.addresses)) == TOKEN  # type: ignore[arg-type]


def test_derived_keys_differ_and_hide_the_secret() -> None:
    other = dataclasses.replace(TOKEN, secret=bytes(32))
    assert len({TOKEN.psk(), TOKEN.secret, other.psk()}) == 3
    assert TOKEN.token_id != other.token_id and len(TOKEN.token_id) == 8
    assert "secret" not in repr(TOKEN) and str(TOKEN.secret) not in repr(TOKEN)


def test_every_changed_character_is_found() -> None:
    text = TOKEN.encode()
    rng = random.Random(6)
    for position in range(len("mesh1-"), len(text)):
        letter = rng.choice([other for other in ALPHABET if other != text[position]])
        with pytest.raises(LocalError, match=r"mistyped|cut short"):
            Token.decode(text[:position] + letter + text[position + 1 :])


def test_every_swap_of_neighbours_is_found() -> None:
    text = TOKEN.encode()
    for position in range(len("mesh1-"), len(text) - 1):
        swapped = text[:position] + text[position + 1] + text[position] + text[position + 2 :]
        if swapped != text:
            with pytest.raises(LocalError):
                Token.decode(swapped)


def test_every_cut_is_found_and_named() -> None:
    text = TOKEN.encode()
    for length in range(len("mesh1-") + 1, len(text)):
        with pytest.raises(LocalError, match="cut short"):
            Token.decode(text[:length])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no join token"),
        ("hello", "no join token"),
        ("mesh2-abcd", "version"),
        ("mesh1-", "character"),
        ("mesh1-ab cd", "character"),
        ("mesh1-" + "A" * 5000, "too long"),
        (TOKEN.encode() + "AAAA", "mistyped"),
    ],
)
def test_reasons(text: str, reason: str) -> None:
    with pytest.raises(LocalError, match=reason) as caught:
        Token.decode(text)
    assert TOKEN.encode() not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"mesh": bytes(15)},
        {"secret": bytes(31)},
        {"addresses": ()},
        {"addresses": ("host:1",) * 17},
        {"addresses": ("host",)},
        {"addresses": ("host:0",)},
        {"addresses": ("host:65536",)},
        {"addresses": ("a b:1",)},
        {"addresses": ("$(x):1",)},
        {"expires": -1},
        {"expires": 1 << 40},
        {"uses": 0},
        {"uses": 1_000_001},
    ],
)
def test_impossible_fields(change: dict[str, object]) -> None:
    with pytest.raises(LocalError):
        dataclasses.replace(TOKEN, **change)  # type: ignore[arg-type]
