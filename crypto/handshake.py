"""The handshake datagrams of UDP sessions: Noise IKpsk2 in one round trip.

Flow: ``initiate`` makes an initiation (184 bytes); the other peer's ``read_initiation`` tells who wants what
and its ``answer`` makes the response (116 bytes) and the keys; ``Initiation.finish`` reads that and makes the
same keys. All integers are big endian; reserved bytes must be zero.

    initiation  u8 1 | u8 epoch | u16 0 | u32 sender index | 32 e | 48 static | 64 payload | 16 mac1 | 16 mac2
    payload 48  12 TAI64N | 8 boot id | u8 min version | u8 max version | u16 0 | u32 features |
                u32 largest record | 8 challenge | 8 zero
    response    u8 2 | u8 epoch | u16 0 | u32 sender index | u32 receiver index | 32 e | 40 payload |
                16 mac1 | 16 mac2
    payload 24  8 boot id | u8 version | 3 zero | u32 features | u32 largest record | 4 zero

Rule: mac1 needs the mesh secret and the receiver's static key, so an outsider gets silence before any
Diffie-Hellman is computed; a response is never longer than its initiation. Nothing a message says is used
before its tag verified, and nothing of it is trusted before the first record arrives under the new keys,
since an initiation alone can be forged by someone who holds our static key (key-compromise impersonation).
Reference: docs/wire.md; the WireGuard paper §5.4; the Noise specification §7.7 for IK's properties.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from crypto.errors import LocalError, RemoteError
from crypto.keys import Entropy, StaticKey
from crypto.noise import HandshakeState
from crypto.patterns import Protocol, protocol
from crypto.primitives import KEY_SIZE, Suite, blake2s, equal
from crypto.prologue import Channel, prologue
from crypto.secret import MeshSecret
from crypto.tai64n import STAMP_SIZE

__all__ = [
    "BOOT_SIZE",
    "ECN",
    "INITIATION_SIZE",
    "MACS_SIZE",
    "RESPONSE_SIZE",
    "TSO4",
    "TSO6",
    "TYPE_INITIATION",
    "TYPE_RESPONSE",
    "USO4",
    "USO6",
    "WIRE_VERSION",
    "Channel",
    "Choice",
    "Established",
    "Initiation",
    "Local",
    "Offer",
    "Received",
    "initiate",
    "mac1",
    "mac1_key",
    "prologue",
    "read_initiation",
    "receiver_index",
]

WIRE_VERSION: Final = 1
TSO4: Final = 1
TSO6: Final = 2
ECN: Final = 4
USO4: Final = 8
USO6: Final = 16

TYPE_INITIATION: Final = 1
TYPE_RESPONSE: Final = 2
INITIATION_SIZE: Final = 184
RESPONSE_SIZE: Final = 116
BOOT_SIZE: Final = 8
CHALLENGE_SIZE: Final = 8
INDEX_MAX: Final = (1 << 32) - 1
MAC_SIZE: Final = 16
MACS_SIZE: Final = 2 * MAC_SIZE

_INITIATION: Final = struct.Struct(">BBHI")
_RESPONSE: Final = struct.Struct(">BBHII")
_OFFER: Final = struct.Struct(">12s8sBBHII8s8s")
_CHOICE: Final = struct.Struct(">8sB3sII4s")
_NO_MAC2: Final = bytes(MAC_SIZE)
_PROTOCOLS: Final = {suite: protocol(f"Noise_IKpsk2_25519_{suite.value}_BLAKE2s") for suite in Suite}


def session_protocol(suite: Suite) -> Protocol:
    """The protocol of every handshake between peers that know each other's static keys."""
    return _PROTOCOLS[suite]


@dataclass(frozen=True)
class Offer:
    """What an initiation carries.

    ``stamp`` is 12 bytes (TAI64N) and grows with every initiation of a sender, ``boot`` 8 random bytes of the
    running forwarder, ``features`` a set of bits, ``largest_record`` bytes, ``challenge`` 8 bytes.
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


@dataclass(frozen=True)
class Local:
    """Who we are in which mesh, for every handshake."""

    mesh: bytes
    suite: Suite
    secret: MeshSecret
    static: StaticKey


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


class Initiation:
    """An initiation of ours that waits for its response. ``datagram`` is what is sent, and sent again."""

    def __init__(self, local: Local, state: HandshakeState, sender_index: int, offer: Offer, datagram: bytes):
        self._local = local
        self._state = state
        self._offer = offer
        self.sender_index = sender_index
        self.datagram = datagram

    def finish(self, datagram: bytes) -> Established:
        """The session that a response makes. Raises ``RemoteError``; the initiation then still waits."""
        kind, epoch, reserved, sender, receiver = _header(datagram, RESPONSE_SIZE, _RESPONSE)
        _check_header(self._local, datagram, kind == TYPE_RESPONSE, epoch, reserved, sender)
        if receiver != self.sender_index:
            raise RemoteError("response to another initiation")
        if self._state.complete:
            raise RemoteError("response to an initiation that was answered")
        # The payload is judged before the state takes it in, so that a bad choice leaves us waiting as well.
        trial = self._state.copy()
        choice = _unpack_choice(trial.read_message(datagram[_RESPONSE.size : -MACS_SIZE]))
        if not self._offer.min_version <= choice.version <= self._offer.max_version:
            raise RemoteError("response with a version that was not offered")
        self._state = trial
        return _established(trial, self.sender_index, sender, None, choice)

    def __repr__(self) -> str:
        return f"Initiation(sender_index={self.sender_index})"


class Received:
    """Another peer's initiation that authenticated: ``remote_static``, ``offer``, ``sender_index``."""

    def __init__(self, local: Local, state: HandshakeState, sender_index: int, offer: Offer):
        self._local = local
        self._state = state
        self.sender_index = sender_index
        self.offer = offer
        self.remote_static = state.remote_static or b""

    def answer(self, sender_index: int, choice: Choice, entropy: Entropy) -> tuple[bytes, Established]:
        """The response datagram and the session it makes, known to us as ``sender_index`` (1 to 2³²−1).

        Raises ``LocalError`` when it was answered already, or for an index or a choice that fits no response.
        """
        offer = self.offer
        _check_index(sender_index)
        if not offer.min_version <= choice.version <= offer.max_version:
            raise LocalError("response: the version was not offered")
        state = self._state.copy(entropy)
        message = state.write_message(_pack_choice(choice))
        head = _RESPONSE.pack(TYPE_RESPONSE, self._local.secret.epoch, 0, sender_index, self.sender_index)
        datagram = _with_macs(self._local, self.remote_static, head + message)
        self._state = state
        return datagram, _established(state, sender_index, self.sender_index, offer, choice)

    def __repr__(self) -> str:
        return f"Received(sender_index={self.sender_index})"


def initiate(local: Local, remote_static: bytes, sender_index: int, offer: Offer, entropy: Entropy) -> Initiation:
    """An initiation to the holder of ``remote_static``, for a session we call ``sender_index`` (1 to 2^32-1).

    Raises ``LocalError`` for an index or an offer that fits no initiation, and ``RemoteError`` when
    ``remote_static`` is no usable key.
    """
    _check_index(sender_index)
    state = _state(local, True, entropy, remote_static)
    message = state.write_message(_pack_offer(offer))
    head = _INITIATION.pack(TYPE_INITIATION, local.secret.epoch, 0, sender_index)
    datagram = _with_macs(local, remote_static, head + message)
    return Initiation(local, state, sender_index, offer, datagram)


def read_initiation(local: Local, datagram: bytes) -> Received:
    """Another peer's initiation. Whether its static key is a member's is for the caller to judge.

    Raises ``RemoteError`` when its length, form, epoch, mac1 or a tag is wrong.
    """
    kind, epoch, reserved, sender = _header(datagram, INITIATION_SIZE, _INITIATION)
    _check_header(local, datagram, kind == TYPE_INITIATION, epoch, reserved, sender)
    state = _state(local, False, _no_entropy, None)
    offer = _unpack_offer(state.read_message(datagram[_INITIATION.size : -MACS_SIZE]))
    if state.remote_static == local.static.public:
        raise RemoteError("initiation with our own key")
    return Received(local, state, sender, offer)


def receiver_index(datagram: bytes) -> int:
    """The index a response is for, before anything of it is checked. Raises ``RemoteError``."""
    index: int = _header(datagram, RESPONSE_SIZE, _RESPONSE)[4]
    return index


def mac1_key(subkey: bytes, static: bytes) -> bytes:
    """The key of the mac1 in datagrams to the holder of ``static``; ``subkey`` is the mesh secret's."""
    return blake2s(static, key=subkey, size=KEY_SIZE)


def mac1(key: bytes, datagram: bytes) -> bytes:
    """The 16 bytes that belong at the first mac's place of a handshake datagram."""
    return blake2s(datagram[:-MACS_SIZE], key=key, size=MAC_SIZE)


def _no_entropy(_size: int) -> bytes:
    raise LocalError("reading a message needs no entropy")


def _state(local: Local, initiator: bool, entropy: Entropy, remote_static: bytes | None) -> HandshakeState:
    return HandshakeState(
        session_protocol(local.suite),
        initiator=initiator,
        prologue=prologue(Channel.UDP, local.mesh, local.suite, local.secret.epoch),
        entropy=entropy,
        static=local.static,
        remote_static=remote_static,
        psks=(local.secret.psk(Channel.UDP),),
    )


def _header(datagram: bytes, size: int, layout: struct.Struct) -> tuple[int, ...]:
    if len(datagram) != size:
        raise RemoteError("handshake datagram of a wrong length")
    return layout.unpack_from(datagram)


def _check_header(local: Local, datagram: bytes, kind_fits: bool, epoch: int, reserved: int, sender: int) -> None:
    """Every check that costs no Diffie-Hellman, the cheap ones first."""
    if not kind_fits or reserved or not sender:
        raise RemoteError("handshake datagram of another form")
    if epoch != local.secret.epoch:
        raise RemoteError("handshake under another epoch of the mesh secret")
    key = mac1_key(local.secret.mac1_subkey(), local.static.public)
    if not equal(datagram[-MACS_SIZE:-MAC_SIZE], mac1(key, datagram)):
        raise RemoteError("handshake datagram with a false mac1")
    # Nobody was sent a cookie, so nobody has anything to write there.
    if not equal(datagram[-MAC_SIZE:], _NO_MAC2):
        raise RemoteError("handshake datagram with an unexpected mac2")


def _with_macs(local: Local, receiver_static: bytes, content: bytes) -> bytes:
    key = mac1_key(local.secret.mac1_subkey(), receiver_static)
    return content + blake2s(content, key=key, size=MAC_SIZE) + _NO_MAC2


def _check_index(index: int) -> None:
    if not 0 < index <= INDEX_MAX:
        raise LocalError("session index: 1 to 2^32-1 is possible")


def _check_sizes(*parts: tuple[bytes, int]) -> None:
    # struct would pad a short value or cut a long one, silently.
    if any(len(value) != size for value, size in parts):
        raise LocalError("handshake payload: a field has a wrong length")


def _pack_offer(offer: Offer) -> bytes:
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


def _unpack_offer(payload: bytes) -> Offer:
    if len(payload) != _OFFER.size:
        raise RemoteError("initiation with a payload of a wrong length")
    stamp, boot, low, high, zero, features, largest, challenge, padding = _OFFER.unpack(payload)
    if zero or any(padding) or not 0 < low <= high:
        raise RemoteError("initiation with a payload of another form")
    return Offer(stamp, boot, low, high, features, largest, challenge)


def _pack_choice(choice: Choice) -> bytes:
    _check_sizes((choice.boot, BOOT_SIZE))
    try:
        return _CHOICE.pack(choice.boot, choice.version, bytes(3), choice.features, choice.largest_record, bytes(4))
    except struct.error:
        raise LocalError("handshake payload: a number is out of range") from None


def _unpack_choice(payload: bytes) -> Choice:
    if len(payload) != _CHOICE.size:
        raise RemoteError("response with a payload of a wrong length")
    boot, version, zero, features, largest, padding = _CHOICE.unpack(payload)
    if any(zero) or any(padding):
        raise RemoteError("response with a payload of another form")
    return Choice(boot, version, features, largest)


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
