"""Cookies: under load, an address must show that it receives before any Diffie-Hellman is computed for it.

Flow: a peer under load answers a handshake datagram with a reply that carries a ``cookie``, sealed so that
only who knows the mesh secret can read it. The sender tries again with ``mac2`` made from that cookie. The
cookie is a MAC of the sender's address, so nothing is kept per sender.

    reply 64   u8 3 | u8 epoch | u16 0 | u32 receiver index | 24 nonce | 16 cookie + 16 tag

The receiver index is the sender index of the datagram that is answered. Additional data: the first 8 bytes and
that datagram's mac1, so a reply fits one datagram and no other. The key is made from the mesh secret's cookie
subkey and the static key of the peer that replies.
Rule: a reply is shorter than what it answers (64 bytes of 116 or 184). Only the forwarder and the crypto
package import this module, so it needs nothing but primitives.
Reference: docs/wire.md; the WireGuard paper §5.4.7.
"""

from __future__ import annotations

import struct
from typing import Final

from crypto.errors import LocalError, RemoteError
from crypto.primitives import KEY_SIZE, XNONCE_SIZE, blake2s, equal, xchacha_open, xchacha_seal

COOKIE_SIZE: Final = 16
REPLY_SIZE: Final = 64
TYPE_COOKIE: Final = 3
SECRET_LIFE_S: Final = 120.0
"""How long one secret makes cookies; it is accepted for as long again. A cookie is of use for this long."""

_MAC_SIZE: Final = 16
_HEAD: Final = struct.Struct(">BBHI")
_SEALED_AT: Final = _HEAD.size + XNONCE_SIZE


def cookie(secret: bytes, host: str, port: int) -> bytes:
    """The 16-byte cookie of the address ``host`` (text) and ``port`` under a random ``secret`` of 32 bytes."""
    return blake2s(f"{host}|{port}".encode(), key=secret, size=COOKIE_SIZE)


def cookie_key(subkey: bytes, static: bytes) -> bytes:
    """The key of cookie replies from the holder of ``static``; ``subkey`` is the mesh secret's."""
    return blake2s(static, key=subkey, size=KEY_SIZE)


def mac2(cookie: bytes, datagram: bytes) -> bytes:
    """The 16 bytes that belong at the end of a handshake datagram whose sender was given ``cookie``."""
    return blake2s(datagram[:-_MAC_SIZE], key=cookie, size=_MAC_SIZE)


def has_mac2(cookie: bytes, datagram: bytes) -> bool:
    """Whether a whole handshake datagram ends in the mac2 of ``cookie``; in constant time."""
    return equal(datagram[-_MAC_SIZE:], mac2(cookie, datagram))


def seal_reply(key: bytes, epoch: int, receiver_index: int, mac1: bytes, cookie: bytes, nonce: bytes) -> bytes:
    """The 64-byte reply to the datagram with ``mac1`` (16 bytes); ``nonce`` is 24 random bytes.

    Raises ``LocalError`` for a part of another length or a number out of range.
    """
    if len(mac1) != _MAC_SIZE or len(cookie) != COOKIE_SIZE:
        raise LocalError("cookie reply: a part has a wrong length")
    try:
        head = _HEAD.pack(TYPE_COOKIE, epoch, 0, receiver_index)
    except struct.error:
        raise LocalError("cookie reply: a number is out of range") from None
    return head + nonce + xchacha_seal(key, nonce, cookie, head + mac1)


def reply_receiver(datagram: bytes) -> int:
    """The index a reply is for, before its seal is checked. Raises ``RemoteError`` when it has another form."""
    if len(datagram) != REPLY_SIZE:
        raise RemoteError("cookie reply of a wrong length")
    kind, _, reserved, index = _HEAD.unpack_from(datagram)
    if kind != TYPE_COOKIE or reserved or not index:
        raise RemoteError("cookie reply of another form")
    return int(index)


def open_reply(key: bytes, mac1: bytes, datagram: bytes) -> bytes:
    """The cookie in a reply to our datagram that carried ``mac1``. Raises ``RemoteError``."""
    reply_receiver(datagram)
    head, nonce, sealed = datagram[: _HEAD.size], datagram[_HEAD.size : _SEALED_AT], datagram[_SEALED_AT:]
    return xchacha_open(key, nonce, sealed, head + mac1)
