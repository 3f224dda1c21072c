"""This host's cookies, and those it was given."""

from __future__ import annotations

from crypto.cookie import SECRET_LIFE_S, cookie, mac2
from meshnet.control.handshakes.cookies import NO_CHALLENGE, Cookies, Given

HERE, THERE = ("192.0.2.1", 6799), ("192.0.2.1", 6800)
FIRST, SECOND, THIRD = b"1" * 32, b"2" * 32, b"3" * 32


def test_without_a_secret_nothing_is_made_and_nothing_fits() -> None:
    cookies = Cookies()
    assert cookies.make(HERE) is None
    assert not cookies.challenged(HERE, b"x" * 8) and not cookies.has_mac2(HERE, bytes(184))


def test_a_cookie_is_for_one_address_and_two_secrets_long() -> None:
    cookies = Cookies()
    cookies.use(FIRST, b"")
    made = cookies.make(HERE)
    assert made == cookie(FIRST, *HERE)
    datagram = bytes(168) + mac2(made, bytes(184))
    assert cookies.challenged(HERE, made[:8]) and cookies.has_mac2(HERE, datagram)
    assert not cookies.challenged(THERE, made[:8]) and not cookies.has_mac2(THERE, datagram)
    cookies.use(SECOND, FIRST)
    assert cookies.challenged(HERE, made[:8]) and cookies.has_mac2(HERE, datagram)
    assert cookies.make(HERE) == cookie(SECOND, *HERE)
    cookies.use(THIRD, SECOND)
    assert not cookies.challenged(HERE, made[:8]) and not cookies.has_mac2(HERE, datagram)


def test_an_empty_challenge_is_none() -> None:
    cookies = Cookies()
    cookies.use(FIRST, b"")
    assert not cookies.challenged(HERE, NO_CHALLENGE)


def test_a_given_cookie_serves_for_a_time_and_is_not_shown() -> None:
    given = Given(b"secret-of-theirs", HERE, 100.0)
    assert given.serves(100.0 + SECRET_LIFE_S - 1) and not given.serves(100.0 + SECRET_LIFE_S)
    assert given.challenge == b"secret-o" and "secret" not in repr(given)
