"""A peer's two private keys.

Purpose: the identity key (Ed25519) signs a peer's statements and is its name among peers; the static key
(X25519) is used in Noise and nowhere else. They are separate keys: neither is derived from the other.
Rule: no key is shown by ``repr`` or compared in time that depends on where two keys differ. CPython cannot
wipe the memory of ``bytes``, so a key object is kept in as few places as possible.
Reference: design §3; the Noise specification §14 (one use per key).
"""

from __future__ import annotations

from collections.abc import Callable

from crypto.primitives import KEY_SIZE, ed25519_public, equal, sign, x25519_public

Entropy = Callable[[int], bytes]


class IdentityKey:
    """The Ed25519 key of a peer: ``public`` (32 bytes) is its id, ``seed`` (32 bytes) the private part."""

    __slots__ = ("public", "seed")

    def __init__(self, seed: bytes) -> None:
        """Takes a 32-byte seed; raises ``KeyFormatError`` for anything else."""
        self.public = ed25519_public(seed)
        self.seed = seed

    @classmethod
    def generate(cls, entropy: Entropy) -> IdentityKey:
        """A new key of ``entropy(32)``."""
        return cls(entropy(KEY_SIZE))

    @classmethod
    def from_bytes(cls, seed: bytes) -> IdentityKey:
        """The key of a stored seed. Raises ``KeyFormatError``."""
        return cls(seed)

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``."""
        return sign(self.seed, message)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, IdentityKey) and equal(self.seed, other.seed)

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"IdentityKey(public={self.public.hex()[:16]}…)"


class StaticKey:
    """The X25519 key of a peer: ``private`` and ``public``, 32 bytes each."""

    __slots__ = ("private", "public")

    def __init__(self, private: bytes) -> None:
        """Takes a 32-byte private key; raises ``KeyFormatError`` for anything else."""
        self.public = x25519_public(private)
        self.private = private

    @classmethod
    def generate(cls, entropy: Entropy) -> StaticKey:
        """A new key of ``entropy(32)``."""
        return cls(entropy(KEY_SIZE))

    @classmethod
    def from_bytes(cls, private: bytes) -> StaticKey:
        """The key of a stored private key. Raises ``KeyFormatError``."""
        return cls(private)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, StaticKey) and equal(self.private, other.private)

    def __hash__(self) -> int:
        return hash(self.public)

    def __repr__(self) -> str:
        return f"StaticKey(public={self.public.hex()[:16]}…)"
