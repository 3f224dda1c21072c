"""Joining by password: the key made of one, and the end of a stream that knows nothing but an address and it.

Flow: hellos; the responder's is followed by the mesh id. ``password_key`` of both; then Noise XXpsk3: messages 1
and 2 without application bytes, message 3 with the initiator's.
Rule: a password is not 256 random bits, so it is stretched before it becomes a psk, under the mesh id, so that
work done for one mesh is worth nothing for another. Whoever pretends to be the responder can still test guesses
against message 3 at that price each: the password itself must be strong.
Reference: docs/wire.md; RFC 9106 (Argon2id); the Noise specification §9.4 (a psk needs entropy of its own).
"""

from __future__ import annotations

import unicodedata
from typing import Final

from crypto import framing
from crypto.errors import LocalError, RemoteError
from crypto.framing import check_hello, frame
from crypto.keys import Entropy, StaticKey
from crypto.noise import HandshakeState
from crypto.patterns import Protocol, protocol
from crypto.primitives import Suite, argon2id, hkdf
from crypto.prologue import MESH_SIZE, Channel, prologue
from crypto.stream_opening import StreamOpening, check_payload

PASSES: Final = 3
MEMORY: Final = 64 << 20
ANY_SUITE: Final = 0
PASSWORD_EPOCH: Final = 0

_LABEL: Final = b"meshnet/1 psk password"
_PROTOCOLS: Final = {suite: protocol(f"Noise_XXpsk3_25519_{suite.value}_BLAKE2s") for suite in Suite}


def password_key(password: str, mesh: bytes) -> bytes:
    """The 32-byte psk of ``password`` in ``mesh`` (16 bytes); takes about 0.1 s and 64 MiB.

    Equal texts make equal keys however their accents are encoded (Unicode NFC). Raises ``LocalError`` when the
    password is empty, is no text or the memory is not to be had, and ``KeyFormatError`` for another mesh id.
    """
    try:
        text = unicodedata.normalize("NFC", password).encode()
    except UnicodeEncodeError:
        raise LocalError("the password is not text in UTF-8") from None
    if not text:
        raise LocalError("the password is empty")
    return hkdf(argon2id(text, mesh, PASSES, MEMORY), _LABEL)


def password_protocol(suite: Suite) -> Protocol:
    """The protocol of a handshake between ends that share a password."""
    return _PROTOCOLS[suite]


def password_prologue(mesh: bytes, suite: Suite, hellos: bytes) -> bytes:
    """The prologue over both hellos as sent and the mesh id the responder told."""
    return prologue(Channel.PASSWORD, mesh, suite, PASSWORD_EPOCH, hellos)


class PasswordInitiator(StreamOpening):
    """The end that opens a stream to whoever answers at an address and knows the mesh's password.

    ``mesh`` (16 bytes) and ``suite`` are what the responder's hello said, ``None`` until then; they are proved
    with message 2, and that the responder knows the password only by its first record. ``remote_static`` is
    ``None`` until message 2.
    """

    def __init__(self, *, static: StaticKey, entropy: Entropy) -> None:
        super().__init__()
        self._static = static
        self._entropy = entropy
        self._hello = framing.hello(Channel.PASSWORD, ANY_SUITE, PASSWORD_EPOCH)
        self._remote_hello: bytes | None = None
        self._psk = self._payload = b""
        self.mesh: bytes | None = None
        self.suite: Suite | None = None
        self._to_send += self._hello

    @property
    def remote_static(self) -> bytes | None:
        """The responder's static key, 32 bytes."""
        return None if self._state is None else self._state.remote_static

    def begin(self, psk: bytes, payload: bytes) -> None:
        """Goes on with the ``psk`` (32 bytes) of password and mesh; ``payload`` (at most 4,096) goes in message 3.

        Raises ``LocalError`` before the mesh is known, when it began already, or for arguments that do not fit.
        """
        check_payload(payload)
        if self._remote_hello is None or self.mesh is None or self.suite is None or self._state or self._failed:
            raise LocalError("a handshake by password begins once, when the mesh is known")
        state = HandshakeState(
            password_protocol(self.suite),
            initiator=True,
            prologue=password_prologue(self.mesh, self.suite, self._hello + self._remote_hello),
            entropy=self._entropy,
            static=self._static,
            psks=(psk,),
        )
        self._payload = payload
        self._to_send += frame(state.write_message(b""))
        self._state = state

    def _advance(self) -> None:
        if self._remote_hello is None:
            self._remote_hello = framing.take_hello(self._buffer)
            if self._remote_hello is None:
                return
            suite = framing.hello_suite(self._remote_hello)
            check_hello(framing.hello(Channel.PASSWORD, suite, PASSWORD_EPOCH), self._remote_hello)
            self.suite = Suite.from_number(suite)
        if self.mesh is None:
            if len(self._buffer) < MESH_SIZE:
                return
            self.mesh = framing.take(self._buffer, MESH_SIZE)
        if self._state is None:
            if self._buffer:
                raise RemoteError("data ahead of our message")
        elif not self._state.complete and (message := self._take_message()) is not None:
            self._finish(self._state, message)

    def _finish(self, state: HandshakeState, message: bytes) -> None:
        if state.read_message(message):
            raise RemoteError("handshake message with a payload where none belongs")
        if state.remote_static == self._static.public:
            raise RemoteError("a stream opened to ourselves")
        self._to_send += frame(state.write_message(self._payload))
