"""What the two messages of a session's handshake say: an offer and, chosen from it, a choice.

Flow: the payload of an initiation is an offer, that of a response a choice; both travel encrypted.

    offer 48   12 TAI64N | 8 boot id | u8 min version | u8 max version | u16 0 | u32 features |
               u32 largest record | 8 challenge | 8 zero
    choice 24  8 boot id | u8 version | 3 zero | u32 features | u32 largest record | 4 zero

Rule: reserved bytes must be zero and a length must be exact.
Reference: docs/wire.md; design §3 (the wire version and the features are all that is ever chosen).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from crypto.errors import LocalError, RemoteError
from crypto.tai64n import STAMP_SIZE

WIRE_VERSION: Final = 1

BOOT_SIZE: Final = 8
CHALLENGE_SIZE: Final = 8

_OFFER: Final = struct.Struct(">12s8sBBHII8s8s")
_CHOICE: Final = struct.Struct(">8sB3sII4s")


@dataclass(frozen=True)
class Offer:
    """What an initiation carries.

    ``stamp`` is 12 bytes (TAI64N) and grows with every initiation of a sender, ``boot`` 8 random bytes of the
    running forwarder, ``features`` a set of bits, ``largest_record`` bytes, ``challenge`` the first 8 bytes of a
    cookie that the receiver gave, or zeros.
    """

    stamp: bytes
    boot: bytes
    min_version: int
    max_version: int
    features: int
    largest_record: int
    challenge: bytes = bytes(CHALLENGE_SIZE)


@dataclass(frozen=True)
class Choice:
    """What a response carries: the wire version chosen, and the responder's own boot id, features and limit."""

    boot: bytes
    version: int
    features: int
    largest_record: int


def pack_offer(offer: Offer) -> bytes:
    """The 48-byte payload of an initiation. Raises ``LocalError`` for a field that has no place in it."""
    _check_sizes((offer.stamp, STAMP_SIZE), (offer.boot, BOOT_SIZE), (offer.challenge, CHALLENGE_SIZE))
    try:
        return _OFFER.pack(
            offer.stamp,
            offer.boot,
            offer.min_version,
            offer.max_version,
            0,
            offer.features,
            offer.largest_record,
            offer.challenge,
            bytes(8),
        )
    except struct.error:
        raise LocalError("handshake payload: a number is out of range") from None


def unpack_offer(payload: bytes) -> Offer:
    """The offer in an initiation's payload. Raises ``RemoteError``."""
    if len(payload) != _OFFER.size:
        raise RemoteError("initiation with a payload of a wrong length")
    stamp, boot, low, high, zero, features, largest, challenge, padding = _OFFER.unpack(payload)
    if zero or any(padding) or not 0 < low <= high:
        raise RemoteError("initiation with a payload of another form")
    return Offer(stamp, boot, low, high, features, largest, challenge)


def pack_choice(choice: Choice) -> bytes:
    """The 24-byte payload of a response. Raises ``LocalError`` for a field that has no place in it."""
    _check_sizes((choice.boot, BOOT_SIZE))
    try:
        return _CHOICE.pack(choice.boot, choice.version, bytes(3), choice.features, choice.largest_record, bytes(4))
    except struct.error:
        raise LocalError("handshake payload: a number is out of range") from None


def unpack_choice(payload: bytes) -> Choice:
    """The choice in a response's payload. Raises ``RemoteError``."""
    if len(payload) != _CHOICE.size:
        raise RemoteError("response with a payload of a wrong length")
    boot, version, zero, features, largest, padding = _CHOICE.unpack(payload)
    if any(zero) or any(padding):
        raise RemoteError("response with a payload of another form")
    return Choice(boot, version, features, largest)


def _check_sizes(*parts: tuple[bytes, int]) -> None:
    # struct would pad a short value or cut a long one, silently.
    if any(len(value) != size for value, size in parts):
        raise LocalError("handshake payload: a field has a wrong length")
