"""The primitives: known answers not in the vector files, lengths, and what never raises."""

from __future__ import annotations

import nacl.bindings
import nacl.exceptions
import pytest

from crypto.errors import KeyFormatError, LocalError, RemoteError
from crypto.primitives import (
    InvalidTag,
    Suite,
    aead,
    argon2id,
    blake2s,
    dh,
    ed25519_public,
    equal,
    hkdf,
    sign,
    verify,
    x25519_public,
    xchacha_open,
    xchacha_seal,
)

KEY = bytes(range(32))


def test_blake2s_of_rfc_7693() -> None:
    expected = "508c5e8c327c14e2e1a72ba34eeb452f37458b209ed63a294d999b4c86675982"
    assert blake2s(b"abc").hex() == expected
    assert len(blake2s(b"abc", key=KEY, size=16)) == 16


def test_x25519_of_rfc_7748() -> None:
    assert dh(KEY, x25519_public(bytes(32))) == dh(bytes(32), x25519_public(KEY))
    private = bytes.fromhex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4")
    public = bytes.fromhex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c")
    assert dh(private, public).hex() == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552"


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31), b"", bytes(31), bytes(33)])
def test_a_useless_public_key_is_a_remote_error(public: bytes) -> None:
    with pytest.raises(RemoteError):
        dh(KEY, public)


@pytest.mark.parametrize("suite", list(Suite))
def test_aead_round_trip_and_refusal(suite: Suite) -> None:
    cipher = aead(suite, KEY)
    sealed, opened = bytearray(5 + 16), bytearray(5)
    assert cipher.encrypt_into(bytes(12), b"hello", b"head", sealed) == len(sealed)
    assert cipher.decrypt_into(bytes(12), sealed, b"head", opened) == 5
    assert opened == b"hello"
    for associated in (b"heaD", b""):
        with pytest.raises(InvalidTag):
            cipher.decrypt(bytes(12), bytes(sealed), associated)


def test_wrong_lengths_of_our_own_keys() -> None:
    for call in (
        lambda: aead(Suite.AESGCM, b"short"),
        lambda: x25519_public(b"short"),
        lambda: dh(b"short", KEY),
        lambda: ed25519_public(b"short"),
        lambda: sign(b"short", b""),
        lambda: xchacha_seal(b"short", bytes(24), b"", b""),
        lambda: xchacha_seal(KEY, bytes(12), b"", b""),
        lambda: xchacha_open(KEY, bytes(12), bytes(16), b""),
        lambda: argon2id(b"word", b"short", 1, 8192),
        lambda: hkdf(KEY, b"label", 0),
        lambda: hkdf(KEY, b"label", 255 * 32 + 1),
    ):
        with pytest.raises(KeyFormatError):
            call()


def test_xchacha20_poly1305_of_the_draft() -> None:
    """draft-irtf-cfrg-xchacha-03, appendix A.3.1."""
    message = (
        b"Ladies and Gentlemen of the class of '99: If I could offer you only one tip for the future, "
        b"sunscreen would be it."
    )
    associated, key, nonce = bytes.fromhex("50515253c0c1c2c3c4c5c6c7"), bytes(range(0x80, 0xA0)), bytes(range(64, 88))
    sealed = xchacha_seal(key, nonce, message, associated)
    assert sealed.hex() == (
        "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa6440bf3a82f4eda7e39"
        "ae64c6708c54c216cb96b72e1213b4522f8c9ba40db5d945b11b69b982c1bb9e3f3fac2bc369488f76b2383565d3fff9"
        "21f9664c97637da9768812f615c68b13b52e"
        "c0875924c1c7987947deafd8780acf49"
    )
    assert xchacha_open(key, nonce, sealed, associated) == message
    for damaged in (sealed[:-1], sealed + b"x", b"", b"\0" + sealed[1:], sealed[:-1] + b"\0"):
        with pytest.raises(RemoteError):
            xchacha_open(key, nonce, damaged, associated)
    with pytest.raises(RemoteError):
        xchacha_open(key, nonce, sealed, b"")


def test_argon2id_that_gets_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> bytes:
        raise nacl.exceptions.RuntimeError("out of memory")

    assert len(argon2id(b"word", bytes(16), 1, 8192)) == 32
    monkeypatch.setattr(nacl.bindings, "crypto_pwhash_alg", fails)
    with pytest.raises(LocalError, match="memory"):
        argon2id(b"word", bytes(16), 1, 8192)


def test_signatures() -> None:
    public, signature = ed25519_public(KEY), sign(KEY, b"message")
    assert verify(public, b"message", signature)
    assert not verify(public, b"messagE", signature)
    assert not verify(ed25519_public(bytes(32)), b"message", signature)
    for damaged in (b"", signature[:-1], signature + b"\0", bytes(64), signature[:32] + bytes(32)):
        assert not verify(public, b"message", damaged)
    for identity in (b"", public[:-1], bytes(32), b"\xff" * 32):
        assert not verify(identity, b"message", signature)


def test_hkdf_separates_labels_and_extends() -> None:
    assert hkdf(KEY, b"a") != hkdf(KEY, b"b")
    assert hkdf(KEY, b"a", 70)[:32] == hkdf(KEY, b"a")
    assert len(hkdf(KEY, b"a", 70)) == 70


def test_suite_numbers() -> None:
    assert [Suite.from_number(suite.number) for suite in Suite] == list(Suite)
    with pytest.raises(RemoteError):
        Suite.from_number(9)
    assert equal(b"a", b"a") and not equal(b"a", b"b")
