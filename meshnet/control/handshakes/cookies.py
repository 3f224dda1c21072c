"""The cookies of this host: what an address is given, and what shows that it was given it. PURE.

Purpose: the forwarder gives cookies under load, meshnetd to who sends a stale initiation. Both make them with the same
secrets, so one reply serves for both: as mac2 it shows the address, its first bytes as the challenge show freshness.
Rule: an address is given one cookie per secret and nothing is kept for it; the previous secret is still accepted.
Reference: crypto/cookie.py; docs/wire.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from crypto.cookie import SECRET_LIFE_S, cookie, has_mac2
from crypto.offer import CHALLENGE_SIZE
from crypto.primitives import equal
from meshnet.boundary import Address

__all__ = ["NO_CHALLENGE", "Cookies", "Given"]

NO_CHALLENGE: Final = bytes(CHALLENGE_SIZE)


@dataclass(frozen=True, slots=True)
class Given:
    """A cookie (16 bytes) that a peer gave us at monotonic time ``at``, for what we send to ``address``."""

    cookie: bytes = field(repr=False)
    address: Address
    at: float

    def serves(self, now: float) -> bool:
        """Whether it is of use still."""
        return now < self.at + SECRET_LIFE_S

    @property
    def challenge(self) -> bytes:
        """The 8 bytes that go into an offer."""
        return self.cookie[:CHALLENGE_SIZE]


class Cookies:
    """Made and checked with the secrets the forwarder has too; before ``use`` there are none."""

    def __init__(self) -> None:
        self._secrets: tuple[bytes, ...] = ()

    def use(self, current: bytes, previous: bytes) -> None:
        """The secrets, 32 bytes each: ``current`` makes, both check; ``previous`` may be empty."""
        self._secrets = (current, previous) if previous else (current,)

    def make(self, address: Address) -> bytes | None:
        """The cookie (16 bytes) of an address, or None without a secret."""
        return cookie(self._secrets[0], *address) if self._secrets else None

    def challenged(self, address: Address, challenge: bytes) -> bool:
        """Whether the 8 bytes of an offer come from a cookie of this address."""
        if challenge == NO_CHALLENGE:
            return False
        return any(equal(cookie(secret, *address)[:CHALLENGE_SIZE], challenge) for secret in self._secrets)

    def has_mac2(self, address: Address, datagram: bytes) -> bool:
        """Whether a handshake datagram from this address carries the mac2 of a cookie of ours."""
        return any(has_mac2(cookie(secret, *address), datagram) for secret in self._secrets)
