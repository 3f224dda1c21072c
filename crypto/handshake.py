"""The handshake datagrams of UDP sessions: Noise IKpsk2 in one round trip.

Flow: ``initiate`` makes an initiation (184 bytes); the other peer's ``read_initiation`` tells who wants what
and its ``answer`` makes the response (116 bytes) and the keys; ``Initiation.finish`` reads that and makes the
same keys. All integers are big endian; reserved bytes must be zero.

    initiation  u8 1 | u8 epoch | u16 0 | u32 sender index | 32 e | 48 static | 64 offer | 16 mac1 | 16 mac2
    response    u8 2 | u8 epoch | u16 0 | u32 sender index | u32 receiver index | 32 e | 40 choice |
                16 mac1 | 16 mac2

Rule: mac1 needs the mesh secret and the receiver's static key, so an outsider gets silence before any
Diffie-Hellman is computed; a response is never longer than its initiation. The epoch says which held secret is
meant and mac1 to which of our static keys it was sent, so no two are tried in Noise. mac2 is the forwarder's
to check, before a datagram comes here. Nothing a message says is used before its tag verified, and nothing of it
is trusted before the first record arrives under the new keys, since an initiation alone can be forged by
someone who holds our static key (key-compromise impersonation).
Reference: docs/wire.md; the WireGuard paper §5.4; the Noise specification §7.7 for IK's properties.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from crypto.cookie import cookie_key, mac2, open_reply, seal_reply
from crypto.errors import LocalError, RemoteError
from crypto.keyring import Keyring
from crypto.keys import Entropy, StaticKey
from crypto.noise import HandshakeState
from crypto.offer import (
    WIRE_VERSION,
    Choice,
    Offer,
    pack_choice,
    pack_offer,
    unpack_choice,
    unpack_offer,
)
from crypto.patterns import Protocol, protocol
from crypto.primitives import KEY_SIZE, Suite, blake2s, equal
from crypto.prologue import Channel, prologue
from crypto.secret import MeshSecret

__all__ = [
    "INITIATION_SIZE",
    "MACS_SIZE",
    "RESPONSE_SIZE",
    "TYPE_INITIATION",
    "TYPE_RESPONSE",
    "WIRE_VERSION",
    "Choice",
    "Established",
    "HandshakeKey",
    "Initiation",
    "Local",
    "Offer",
    "Received",
    "handshake_keys",
    "initiate",
    "mac1",
    "mac1_key",
    "read_initiation",
    "receiver_index",
]

TYPE_INITIATION: Final = 1
TYPE_RESPONSE: Final = 2
INITIATION_SIZE: Final = 184
RESPONSE_SIZE: Final = 116
INDEX_MAX: Final = (1 << 32) - 1
MAC_SIZE: Final = 16
MACS_SIZE: Final = 2 * MAC_SIZE

_INITIATION: Final = struct.Struct(">BBHI")
_RESPONSE: Final = struct.Struct(">BBHII")
_NO_MAC2: Final = bytes(MAC_SIZE)
_EPHEMERAL: Final = slice(_INITIATION.size, _INITIATION.size + KEY_SIZE)
_MAC1: Final = slice(-MACS_SIZE, -MAC_SIZE)
_PROTOCOLS: Final = {suite: protocol(f"Noise_IKpsk2_25519_{suite.value}_BLAKE2s") for suite in Suite}


def session_protocol(suite: Suite) -> Protocol:
    """The protocol of every handshake between peers that know each other's static keys."""
    return _PROTOCOLS[suite]


@dataclass(frozen=True)
class Local:
    """Who we are in which mesh, for every handshake. ``old_static`` is a key of ours that is still accepted."""

    mesh: bytes
    suite: Suite
    keyring: Keyring
    static: StaticKey
    old_static: StaticKey | None = None

    def statics(self) -> tuple[StaticKey, ...]:
        """Our static keys, the one in use first."""
        return (self.static,) if self.old_static is None else (self.static, self.old_static)


@dataclass(frozen=True)
class HandshakeKey:
    """What the checks before any Diffie-Hellman need, 32 bytes each: one row per mesh secret and static key."""

    epoch: int
    mac1_key: bytes = field(repr=False)
    cookie_key: bytes = field(repr=False)


@dataclass(frozen=True)
class Established:
    """A finished handshake: the session's indexes and its keys, 32 bytes each.

    ``offer`` is the other peer's when it initiated, else ``None``; ``choice`` is what the response said.
    """

    local_index: int
    remote_index: int
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    remote_static: bytes
    offer: Offer | None
    choice: Choice
    handshake_hash: bytes


class _Terms(NamedTuple):
    """What one handshake is made under, from its first message to its last, whatever its owner changes."""

    mesh: bytes
    suite: Suite
    secret: MeshSecret
    static: StaticKey


class Initiation:
    """An initiation of ours that waits for its response. ``datagram`` is what is sent, and sent again.

    It can be finished after our keyring or static key changed: it keeps those it was made with.
    """

    def __init__(self, terms: _Terms, state: HandshakeState, sender_index: int, offer: Offer, datagram: bytes):
        self._terms = terms
        self._state = state
        self._offer = offer
        self.remote_static = state.remote_static or b""
        self.sender_index = sender_index
        self.datagram = datagram

    @property
    def epoch(self) -> int:
        """The epoch of the mesh secret it was made under."""
        return self._terms.secret.epoch

    @property
    def mac1(self) -> bytes:
        """The 16 bytes by which a cookie reply refers to it."""
        return self.datagram[_MAC1]

    def finish(self, datagram: bytes) -> Established:
        """The session that a response makes. Raises ``RemoteError``; the initiation then still waits."""
        kind, epoch, reserved, sender, receiver = _header(datagram, RESPONSE_SIZE, _RESPONSE)
        _check_form(kind == TYPE_RESPONSE, reserved, sender)
        if epoch != self.epoch:
            raise RemoteError("response under another epoch of the mesh secret")
        if not _has_mac1(self._terms.secret, self._terms.static, datagram):
            raise RemoteError("handshake datagram with a false mac1")
        if receiver != self.sender_index:
            raise RemoteError("response to another initiation")
        if self._state.complete:
            raise RemoteError("response to an initiation that was answered")
        # The payload is judged before the state takes it in, so that a bad choice leaves us waiting as well.
        trial = self._state.copy()
        choice = unpack_choice(trial.read_message(datagram[_RESPONSE.size : -MACS_SIZE]))
        if not self._offer.min_version <= choice.version <= self._offer.max_version:
            raise RemoteError("response with a version that was not offered")
        self._state = trial
        return _established(trial, self.sender_index, sender, None, choice)

    def open_cookie(self, datagram: bytes) -> bytes:
        """The 16-byte cookie in the reply to this very initiation. Raises ``RemoteError``."""
        key = cookie_key(self._terms.secret.cookie_subkey(), self.remote_static)
        return open_reply(key, self.mac1, datagram)

    def __repr__(self) -> str:
        return f"Initiation(sender_index={self.sender_index})"


class Received:
    """Another peer's initiation that authenticated.

    ``remote_static`` (32 bytes) is who sent it, ``offer`` what it says, ``sender_index`` what the session is
    called there; ``ephemeral`` (32 bytes) differs in every genuine one; ``mac1`` (16 bytes) names the datagram.
    """

    def __init__(self, terms: _Terms, state: HandshakeState, sender_index: int, offer: Offer, datagram: bytes):
        self._terms = terms
        self._state = state
        self.sender_index = sender_index
        self.offer = offer
        self.remote_static = state.remote_static or b""
        self.ephemeral = datagram[_EPHEMERAL]
        self.mac1 = datagram[_MAC1]

    @property
    def epoch(self) -> int:
        """The epoch of the mesh secret it was made under."""
        return self._terms.secret.epoch

    @property
    def local_static(self) -> bytes:
        """Which static key of ours it was sent to."""
        return self._terms.static.public

    def answer(
        self, sender_index: int, choice: Choice, entropy: Entropy, *, cookie: bytes | None = None
    ) -> tuple[bytes, Established]:
        """The response datagram and the session it makes, known to us as ``sender_index`` (1 to 2^32-1).

        ``cookie`` (16 bytes) is the one its receiver gave us. Raises ``LocalError`` when it was answered already,
        or for an index or a choice that fits no response.
        """
        offer = self.offer
        _check_index(sender_index)
        if not offer.min_version <= choice.version <= offer.max_version:
            raise LocalError("response: the version was not offered")
        state = self._state.copy(entropy)
        message = state.write_message(pack_choice(choice))
        head = _RESPONSE.pack(TYPE_RESPONSE, self.epoch, 0, sender_index, self.sender_index)
        datagram = _with_macs(self._terms.secret, self.remote_static, head + message, cookie)
        self._state = state
        return datagram, _established(state, sender_index, self.sender_index, offer, choice)

    def cookie_reply(self, cookie: bytes, nonce: bytes) -> bytes:
        """The 64-byte datagram that gives its sender ``cookie`` (16 bytes); ``nonce`` is 24 random bytes."""
        key = cookie_key(self._terms.secret.cookie_subkey(), self.local_static)
        return seal_reply(key, self.epoch, self.sender_index, self.mac1, cookie, nonce)

    def __repr__(self) -> str:
        return f"Received(sender_index={self.sender_index})"


def initiate(
    local: Local,
    remote_static: bytes,
    sender_index: int,
    offer: Offer,
    entropy: Entropy,
    *,
    epoch: int | None = None,
    cookie: bytes | None = None,
) -> Initiation:
    """An initiation to the holder of ``remote_static``, for a session we call ``sender_index`` (1 to 2^32-1).

    ``epoch`` picks one of the held mesh secrets, by default the current one; ``cookie`` (16 bytes) is the one
    the receiver gave us. Raises ``LocalError`` for an epoch of no held secret and for an index or an offer that
    fits no initiation, and ``RemoteError`` when ``remote_static`` is no usable key.
    """
    _check_index(sender_index)
    secret = local.keyring.current if epoch is None else local.keyring.get(epoch)
    if secret is None:
        raise LocalError("no mesh secret of this epoch is held")
    terms = _Terms(local.mesh, local.suite, secret, local.static)
    state = _state(terms, True, entropy, remote_static)
    message = state.write_message(pack_offer(offer))
    head = _INITIATION.pack(TYPE_INITIATION, secret.epoch, 0, sender_index)
    datagram = _with_macs(secret, remote_static, head + message, cookie)
    return Initiation(terms, state, sender_index, offer, datagram)


def read_initiation(local: Local, datagram: bytes) -> Received:
    """Another peer's initiation. Whether its static key is a member's is for the caller to judge.

    Raises ``RemoteError`` when its length, form, epoch, mac1 or a tag is wrong.
    """
    kind, epoch, reserved, sender = _header(datagram, INITIATION_SIZE, _INITIATION)
    _check_form(kind == TYPE_INITIATION, reserved, sender)
    secret = local.keyring.get(epoch)
    if secret is None:
        raise RemoteError("initiation under an epoch of the mesh secret that is not held")
    static = next((static for static in local.statics() if _has_mac1(secret, static, datagram)), None)
    if static is None:
        raise RemoteError("handshake datagram with a false mac1")
    terms = _Terms(local.mesh, local.suite, secret, static)
    state = _state(terms, False, _no_entropy, None)
    offer = unpack_offer(state.read_message(datagram[_INITIATION.size : -MACS_SIZE]))
    if any(state.remote_static == own.public for own in local.statics()):
        raise RemoteError("initiation with our own key")
    return Received(terms, state, sender, offer, datagram)


def receiver_index(datagram: bytes) -> int:
    """The index a response is for, before anything of it is checked. Raises ``RemoteError``."""
    index: int = _header(datagram, RESPONSE_SIZE, _RESPONSE)[4]
    return index


def handshake_keys(keyring: Keyring, statics: Sequence[StaticKey | bytes]) -> tuple[HandshakeKey, ...]:
    """The keys for every held secret and each of ``statics`` (ours, or the public keys alone), current ones first."""
    publics = [static.public if isinstance(static, StaticKey) else static for static in statics]
    return tuple(
        HandshakeKey(secret.epoch, mac1_key(secret.mac1_subkey(), public), cookie_key(secret.cookie_subkey(), public))
        for secret in keyring.secrets()
        for public in publics
    )


def mac1_key(subkey: bytes, static: bytes) -> bytes:
    """The key of the mac1 in datagrams to the holder of ``static``; ``subkey`` is the mesh secret's."""
    return blake2s(static, key=subkey, size=KEY_SIZE)


def mac1(key: bytes, datagram: bytes) -> bytes:
    """The 16 bytes that belong at the first mac's place of a handshake datagram."""
    return blake2s(datagram[:-MACS_SIZE], key=key, size=MAC_SIZE)


def _no_entropy(_size: int) -> bytes:
    raise LocalError("reading a message needs no entropy")


def _state(terms: _Terms, initiator: bool, entropy: Entropy, remote_static: bytes | None) -> HandshakeState:
    return HandshakeState(
        session_protocol(terms.suite),
        initiator=initiator,
        prologue=prologue(Channel.UDP, terms.mesh, terms.suite, terms.secret.epoch),
        entropy=entropy,
        static=terms.static,
        remote_static=remote_static,
        psks=(terms.secret.psk(Channel.UDP),),
    )


def _header(datagram: bytes, size: int, layout: struct.Struct) -> tuple[int, ...]:
    if len(datagram) != size:
        raise RemoteError("handshake datagram of a wrong length")
    return layout.unpack_from(datagram)


def _check_form(kind_fits: bool, reserved: int, sender: int) -> None:
    if not kind_fits or reserved or not sender:
        raise RemoteError("handshake datagram of another form")


def _has_mac1(secret: MeshSecret, static: StaticKey, datagram: bytes) -> bool:
    key = mac1_key(secret.mac1_subkey(), static.public)
    return equal(datagram[_MAC1], mac1(key, datagram))


def _with_macs(secret: MeshSecret, receiver_static: bytes, content: bytes, cookie: bytes | None) -> bytes:
    key = mac1_key(secret.mac1_subkey(), receiver_static)
    datagram = content + blake2s(content, key=key, size=MAC_SIZE) + _NO_MAC2
    return datagram if cookie is None else datagram[:-MAC_SIZE] + mac2(cookie, datagram)


def _check_index(index: int) -> None:
    if not 0 < index <= INDEX_MAX:
        raise LocalError("session index: 1 to 2^32-1 is possible")


def _established(
    state: HandshakeState, local_index: int, remote_index: int, offer: Offer | None, choice: Choice
) -> Established:
    send_key, receive_key = state.split()
    return Established(
        local_index=local_index,
        remote_index=remote_index,
        send_key=send_key,
        receive_key=receive_key,
        remote_static=state.remote_static or b"",
        offer=offer,
        choice=choice,
        handshake_hash=state.handshake_hash,
    )
