"""The primitives everything else is built from, behind names of our own.

Purpose: the only module that imports ``cryptography`` and ``nacl``, so that a change of library is a change
of one file and a reader can check every use of a primitive here.
Rule: exact lengths are checked, a failed check of remote bytes is ``RemoteError`` (or ``False``), never a
traceback from a library.
Reference: RFC 7748 (X25519), RFC 8032 (Ed25519), RFC 7693 (BLAKE2s), RFC 5869 (HKDF), RFC 8439 and NIST
SP 800-38D (the two AEADs), draft-irtf-cfrg-xchacha-03 (XChaCha20-Poly1305), RFC 9106 (Argon2id).
"""

from __future__ import annotations

import hashlib
import hmac
from enum import Enum
from typing import Final, Protocol

import nacl.bindings
import nacl.exceptions
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from crypto.errors import KeyFormatError, LocalError, RemoteError

__all__ = [
    "HASH_SIZE",
    "KEY_SIZE",
    "NONCE_SIZE",
    "SIGNATURE_SIZE",
    "TAG_SIZE",
    "XNONCE_SIZE",
    "Aead",
    "Bytes",
    "InvalidTag",
    "Suite",
    "aead",
    "argon2id",
    "blake2s",
    "dh",
    "ed25519_public",
    "equal",
    "hkdf",
    "sign",
    "verify",
    "x25519_public",
    "xchacha_open",
    "xchacha_seal",
]

KEY_SIZE: Final = 32
NONCE_SIZE: Final = 12
XNONCE_SIZE: Final = 24
TAG_SIZE: Final = 16
SIGNATURE_SIZE: Final = 64
HASH_SIZE: Final = 32
SALT_SIZE: Final = 16

_HKDF_MAX_SIZE: Final = 255 * HASH_SIZE

Bytes = bytes | bytearray | memoryview


class Suite(Enum):
    """The AEAD of a mesh; the value is the name inside the Noise protocol name."""

    AESGCM = "AESGCM"
    CHACHAPOLY = "ChaChaPoly"

    @property
    def number(self) -> int:
        """The byte that stands for the suite on the wire and in prologues."""
        return 1 if self is Suite.AESGCM else 2

    @classmethod
    def from_number(cls, number: int) -> Suite:
        """The suite of a wire byte; raises ``RemoteError`` when there is none."""
        for suite in cls:
            if suite.number == number:
                return suite
        raise RemoteError("unknown cipher suite")


class Aead(Protocol):
    """An AEAD under one key. ``nonce`` is 12 bytes, the tag (16 bytes) follows the ciphertext.

    The decrypting methods raise ``InvalidTag``. The ``_into`` forms write to ``buf``, whose length must be
    exactly that of the result, and return it.
    """

    def encrypt(self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, /) -> bytes: ...
    def decrypt(self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, /) -> bytes: ...
    def encrypt_into(
        self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, buf: bytearray | memoryview, /
    ) -> int: ...
    def decrypt_into(
        self, nonce: Bytes, data: Bytes, associated_data: Bytes | None, buf: bytearray | memoryview, /
    ) -> int: ...


def aead(suite: Suite, key: bytes) -> Aead:
    """The AEAD of ``suite`` under the 32-byte ``key``. Raises ``KeyFormatError`` for another length."""
    _exactly(key, KEY_SIZE, "AEAD key")
    return AESGCM(key) if suite is Suite.AESGCM else ChaCha20Poly1305(key)


def xchacha_seal(key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    """XChaCha20-Poly1305: the ciphertext and its 16-byte tag; ``nonce`` is 24 bytes and may be random.

    Raises ``KeyFormatError`` for a key or nonce of another length.
    """
    _exactly(key, KEY_SIZE, "AEAD key")
    _exactly(nonce, XNONCE_SIZE, "nonce")
    return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associated, nonce, key)


def xchacha_open(key: bytes, nonce: bytes, sealed: bytes, associated: bytes) -> bytes:
    """The plaintext of ``xchacha_seal``. Raises ``RemoteError`` when the tag does not verify.

    Raises ``KeyFormatError`` for a key or nonce of another length.
    """
    _exactly(key, KEY_SIZE, "AEAD key")
    _exactly(nonce, XNONCE_SIZE, "nonce")
    if len(sealed) < TAG_SIZE:
        raise RemoteError("a message shorter than its tag")
    try:
        return nacl.bindings.crypto_aead_xchacha20poly1305_ietf_decrypt(sealed, associated, nonce, key)
    except nacl.exceptions.CryptoError:
        raise RemoteError("a message that does not authenticate") from None


def x25519_public(private: bytes) -> bytes:
    """The 32-byte X25519 public key of a 32-byte private key. Raises ``KeyFormatError``."""
    _exactly(private, KEY_SIZE, "X25519 private key")
    return X25519PrivateKey.from_private_bytes(private).public_key().public_bytes_raw()


def dh(private: bytes, public: bytes) -> bytes:
    """X25519 of our ``private`` and a remote ``public`` key, 32 bytes (RFC 7748 §5).

    Raises ``RemoteError`` when ``public`` is no key or makes the all-zero secret (a point of low order), and
    ``KeyFormatError`` when our own key is malformed.
    """
    _exactly(private, KEY_SIZE, "X25519 private key")
    if len(public) != KEY_SIZE:
        raise RemoteError("public key of a wrong length")
    try:
        return X25519PrivateKey.from_private_bytes(private).exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise RemoteError("public key of low order") from None


def ed25519_public(seed: bytes) -> bytes:
    """The 32-byte Ed25519 public key of a 32-byte seed. Raises ``KeyFormatError``."""
    _exactly(seed, KEY_SIZE, "Ed25519 seed")
    public, _ = nacl.bindings.crypto_sign_seed_keypair(seed)
    return public


def sign(seed: bytes, message: bytes) -> bytes:
    """The 64-byte Ed25519 signature of ``message``; deterministic. Raises ``KeyFormatError``."""
    _exactly(seed, KEY_SIZE, "Ed25519 seed")
    _, secret = nacl.bindings.crypto_sign_seed_keypair(seed)
    return nacl.bindings.crypto_sign(message, secret)[:SIGNATURE_SIZE]


def verify(identity: bytes, message: bytes, signature: bytes) -> bool:
    """Whether ``signature`` is ``identity``'s over ``message``. Never raises; a wrong length is ``False``."""
    if len(identity) != KEY_SIZE or len(signature) != SIGNATURE_SIZE:
        return False
    try:
        nacl.bindings.crypto_sign_open(bytes(signature) + bytes(message), bytes(identity))
    except nacl.exceptions.CryptoError:
        return False
    return True


def blake2s(data: bytes, key: bytes = b"", size: int = HASH_SIZE) -> bytes:
    """BLAKE2s of ``data``, keyed when ``key`` (at most 32 bytes) is given, ``size`` 1 to 32 bytes long."""
    return hashlib.blake2s(data, key=key, digest_size=size).digest()


def hkdf(key: bytes, label: bytes, size: int = HASH_SIZE) -> bytes:
    """HKDF-BLAKE2s (RFC 5869, no salt): ``size`` bytes bound to ``label``.

    Raises ``KeyFormatError`` when ``size`` is beyond what the construction yields.
    """
    if not 0 < size <= _HKDF_MAX_SIZE:
        raise KeyFormatError("HKDF output of an impossible size")
    pseudorandom = hmac.digest(bytes(HASH_SIZE), key, "blake2s")
    output = block = b""
    for counter in range(1, -(-size // HASH_SIZE) + 1):
        block = hmac.digest(pseudorandom, block + label + bytes((counter,)), "blake2s")
        output += block
    return output[:size]


def argon2id(password: bytes, salt: bytes, passes: int, memory: int) -> bytes:
    """Argon2id (one lane): 32 bytes after ``passes`` over ``memory`` bytes; ``salt`` is 16 bytes.

    Takes its time: about 0.1 s for 64 MiB. Raises ``KeyFormatError`` for a salt of another length and
    ``LocalError`` when the memory is not to be had.
    """
    _exactly(salt, SALT_SIZE, "salt")
    try:
        return nacl.bindings.crypto_pwhash_alg(
            KEY_SIZE, password, salt, passes, memory, nacl.bindings.crypto_pwhash_ALG_ARGON2ID13
        )
    except nacl.exceptions.CryptoError:
        raise LocalError("there is not enough memory to derive a key from the password") from None


def equal(left: bytes, right: bytes) -> bool:
    """Whether two byte strings are equal, in time that depends on their lengths alone."""
    return hmac.compare_digest(left, right)


def _exactly(value: bytes, size: int, what: str) -> None:
    if not isinstance(value, bytes) or len(value) != size:
        raise KeyFormatError(f"{what}: {size} bytes are needed")
