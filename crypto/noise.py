"""The state machine of the Noise Protocol Framework.

Purpose: one implementation for every handshake of the mesh: UDP sessions, links and joining.
Flow: ``HandshakeState`` walks the tokens of its pattern, alternately writing and reading messages, and ends
with ``split``: a key per direction, for a ``CipherState`` or for a session.
Rule: a message that fails leaves the state as it was: it is processed on a copy that takes the state's place
only when all of it succeeded. So one forged datagram cannot end a handshake.
Reference: the Noise specification revision 34, §5 (the three states), §9 (psk), §12 (the functions).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from typing import Final

from crypto.errors import LocalError, RemoteError
from crypto.keys import Entropy, StaticKey
from crypto.patterns import Protocol
from crypto.primitives import KEY_SIZE, TAG_SIZE, InvalidTag, Suite, aead, dh

MESSAGE_MAX: Final = 65535

_NONCE_END: Final = (1 << 64) - 1


class CipherState:
    """A key and the number of messages processed under it (specification §5.1)."""

    __slots__ = ("_aead", "_little_endian", "nonce")

    def __init__(self, suite: Suite, key: bytes) -> None:
        """Starts at nonce 0. Raises ``KeyFormatError`` for a key that is not 32 bytes."""
        self._aead = aead(suite, key)
        # The specification §12 writes ChaChaPoly's nonce little endian and AESGCM's big endian.
        self._little_endian = suite is Suite.CHACHAPOLY
        self.nonce = 0

    def copy(self) -> CipherState:
        """An independent state with the same key and nonce, for trying a message."""
        twin = CipherState.__new__(CipherState)
        twin._aead, twin._little_endian, twin.nonce = self._aead, self._little_endian, self.nonce
        return twin

    def encrypt(self, associated: bytes, plaintext: bytes) -> bytes:
        """The ciphertext and tag. Raises ``LocalError`` when the nonces are used up."""
        sealed = self._aead.encrypt(self._nonce_bytes(), plaintext, associated)
        self.nonce += 1
        return sealed

    def decrypt(self, associated: bytes, ciphertext: bytes) -> bytes:
        """The plaintext. Raises ``RemoteError`` when the tag does not verify; the nonce then stays."""
        try:
            plaintext = self._aead.decrypt(self._nonce_bytes(), ciphertext, associated)
        except InvalidTag:
            raise RemoteError("a message that does not authenticate") from None
        self.nonce += 1
        return plaintext

    def _nonce_bytes(self) -> bytes:
        if self.nonce >= _NONCE_END:
            raise LocalError("every nonce of this key has been used")
        return bytes(4) + self.nonce.to_bytes(8, "little" if self._little_endian else "big")

    def __repr__(self) -> str:
        return f"CipherState(nonce={self.nonce})"


class SymmetricState:
    """The chaining key, the handshake hash and, once there is a key, its cipher (specification §5.2)."""

    __slots__ = ("_chaining_key", "_cipher", "_hash_name", "_suite", "hash")

    def __init__(self, protocol: Protocol) -> None:
        self._suite = protocol.suite
        self._hash_name = protocol.hash_name
        size = hashlib.new(protocol.hash_name).digest_size
        # A name that fits the hash's output is padded, a longer one is hashed.
        padded = protocol.name.ljust(size, b"\0")
        self.hash = padded if len(padded) == size else self._digest(protocol.name)
        self._chaining_key = self.hash
        self._cipher: CipherState | None = None

    def copy(self) -> SymmetricState:
        """An independent state, for trying a message."""
        twin = SymmetricState.__new__(SymmetricState)
        twin._suite, twin._hash_name = self._suite, self._hash_name
        twin.hash, twin._chaining_key = self.hash, self._chaining_key
        twin._cipher = None if self._cipher is None else self._cipher.copy()
        return twin

    @property
    def has_key(self) -> bool:
        """Whether what follows is encrypted."""
        return self._cipher is not None

    def mix_hash(self, data: bytes) -> None:
        """MixHash: ``data`` becomes part of what both ends must agree on."""
        self.hash = self._digest(self.hash + data)

    def mix_key(self, material: bytes) -> None:
        """MixKey: a Diffie-Hellman result enters the chaining key and makes a new cipher."""
        self._chaining_key, key = self._expand(material, 2)
        self._cipher = CipherState(self._suite, key[:KEY_SIZE])

    def mix_key_and_hash(self, material: bytes) -> None:
        """MixKeyAndHash: a psk enters the chaining key, the hash and the cipher."""
        self._chaining_key, mixed, key = self._expand(material, 3)
        self.mix_hash(mixed)
        self._cipher = CipherState(self._suite, key[:KEY_SIZE])

    def encrypt_and_hash(self, plaintext: bytes) -> bytes:
        """The ciphertext, or the plaintext while there is no key; either enters the hash."""
        sealed = plaintext if self._cipher is None else self._cipher.encrypt(self.hash, plaintext)
        self.mix_hash(sealed)
        return sealed

    def decrypt_and_hash(self, sealed: bytes) -> bytes:
        """The inverse of ``encrypt_and_hash``. Raises ``RemoteError`` when the tag does not verify."""
        plaintext = sealed if self._cipher is None else self._cipher.decrypt(self.hash, sealed)
        self.mix_hash(sealed)
        return plaintext

    def split(self) -> tuple[bytes, bytes]:
        """The keys of the two directions, the initiator's first, 32 bytes each."""
        first, second = self._expand(b"", 2)
        return first[:KEY_SIZE], second[:KEY_SIZE]

    def _digest(self, data: bytes) -> bytes:
        return hashlib.new(self._hash_name, data).digest()

    def _expand(self, material: bytes, outputs: int) -> list[bytes]:
        """The specification's HKDF (§4.3): 2 or 3 outputs of the hash's length."""
        secret = hmac.digest(self._chaining_key, material, self._hash_name)
        made: list[bytes] = []
        block = b""
        for counter in range(1, outputs + 1):
            block = hmac.digest(secret, block + bytes((counter,)), self._hash_name)
            made.append(block)
        return made


class HandshakeState:
    """One end of a handshake (specification §5.3).

    ``static`` is our key where the pattern uses one, ``remote_static`` (32 bytes) the other end's where the
    pattern knows it beforehand. ``psks`` may be given later, by ``add_psk``, before the message that needs
    it. Raises ``LocalError`` when a key that the pattern knows beforehand is missing.
    """

    def __init__(
        self,
        protocol: Protocol,
        *,
        initiator: bool,
        prologue: bytes,
        entropy: Entropy,
        static: StaticKey | None = None,
        remote_static: bytes | None = None,
        psks: Sequence[bytes] = (),
    ) -> None:
        self._protocol = protocol
        self._initiator = initiator
        self._entropy = entropy
        self._static = static
        self.remote_static = remote_static
        self._ephemeral: StaticKey | None = None
        self._remote_ephemeral: bytes | None = None
        self._psks: tuple[bytes, ...] = ()
        self._psks_used = 0
        self._turn = 0
        for psk in psks:
            self.add_psk(psk)
        self._symmetric = SymmetricState(protocol)
        self._symmetric.mix_hash(prologue)
        if protocol.initiator_known:
            self._symmetric.mix_hash(self._known_static(initiator))
        if protocol.responder_known:
            self._symmetric.mix_hash(self._known_static(not initiator))

    @property
    def handshake_hash(self) -> bytes:
        """What both ends share once the handshake is complete: a name for this very channel."""
        return self._symmetric.hash

    @property
    def suite(self) -> Suite:
        """The cipher suite of the protocol, and so of what follows the handshake."""
        return self._protocol.suite

    @property
    def complete(self) -> bool:
        """Whether every message was exchanged, so that ``split`` may be called."""
        return self._turn == len(self._protocol.messages)

    @property
    def writes_next(self) -> bool:
        """Whether the next message of the handshake is ours."""
        return not self.complete and (self._turn % 2 == 0) == self._initiator

    def add_psk(self, psk: bytes) -> None:
        """Gives the next psk of the pattern, 32 bytes. Raises ``LocalError``."""
        if len(psk) != KEY_SIZE or len(self._psks) == self._protocol.psks:
            raise LocalError(f"psk: {self._protocol.psks} of {KEY_SIZE} bytes are needed")
        self._psks += (psk,)

    def write_message(self, payload: bytes) -> bytes:
        """Our next message, carrying ``payload``.

        Raises ``LocalError`` when it is not our turn, a key is missing or the message would exceed 65,535
        bytes, and ``RemoteError`` when a key of the other end is unusable; the state is then unchanged.
        """
        if not self.writes_next:
            raise LocalError("it is not our turn to write a handshake message")
        trial = self.copy()
        parts = [trial._write_token(token) for token in trial._tokens()]
        parts.append(trial._symmetric.encrypt_and_hash(payload))
        message = b"".join(parts)
        if len(message) > MESSAGE_MAX:
            raise LocalError("the handshake message is too long")
        trial._turn += 1
        self._become(trial)
        return message

    def read_message(self, message: bytes) -> bytes:
        """The payload of the other end's next message.

        Raises ``RemoteError`` when anything about it is wrong and ``LocalError`` when it is not their turn or
        a psk is missing; the state is then unchanged.
        """
        if self.writes_next or self.complete:
            raise LocalError("it is not our turn to read a handshake message")
        if len(message) > MESSAGE_MAX:
            raise RemoteError("handshake message of an impossible length")
        trial = self.copy()
        rest = message
        for token in trial._tokens():
            rest = trial._read_token(token, rest)
        payload = trial._symmetric.decrypt_and_hash(rest)
        trial._turn += 1
        self._become(trial)
        return payload

    def split(self) -> tuple[bytes, bytes]:
        """Our (sending key, receiving key). Raises ``LocalError`` before the handshake is complete.

        After a one-way pattern only the initiator's sending key may be used.
        """
        if not self.complete:
            raise LocalError("the handshake is not complete")
        first, second = self._symmetric.split()
        return (first, second) if self._initiator else (second, first)

    def _known_static(self, ours: bool) -> bytes:
        key = (self._static.public if self._static else None) if ours else self.remote_static
        if key is None or len(key) != KEY_SIZE:
            raise LocalError("the pattern needs a static key that was not given")
        return key

    def copy(self, entropy: Entropy | None = None) -> HandshakeState:
        """An independent state at the same point, drawing from ``entropy`` if given, for trying a message."""
        twin = HandshakeState.__new__(HandshakeState)
        twin.__dict__.update(self.__dict__)
        twin._symmetric = self._symmetric.copy()
        if entropy is not None:
            twin._entropy = entropy
        return twin

    def _become(self, trial: HandshakeState) -> None:
        self.__dict__.update(trial.__dict__)

    def _tokens(self) -> tuple[str, ...]:
        return self._protocol.messages[self._turn]

    def _write_token(self, token: str) -> bytes:
        if token == "e":
            self._ephemeral = StaticKey.generate(self._entropy)
            self._mix_ephemeral(self._ephemeral.public)
            return self._ephemeral.public
        if token == "s":
            return self._symmetric.encrypt_and_hash(self._known_static(True))
        self._mix_token(token)
        return b""

    def _read_token(self, token: str, rest: bytes) -> bytes:
        """Processes one token of a message and returns what follows it."""
        if token not in ("e", "s"):
            self._mix_token(token)
            return rest
        size = KEY_SIZE + (TAG_SIZE if token == "s" and self._symmetric.has_key else 0)
        part, rest = rest[:size], rest[size:]
        if len(part) != size:
            raise RemoteError("handshake message cut short")
        if token == "e":
            self._remote_ephemeral = part
            self._mix_ephemeral(part)
        else:
            self.remote_static = self._symmetric.decrypt_and_hash(part)
        return rest

    def _mix_ephemeral(self, public: bytes) -> None:
        self._symmetric.mix_hash(public)
        # With a psk the ephemeral key also randomises the cipher (specification §9.2).
        if self._protocol.psks:
            self._symmetric.mix_key(public)

    def _mix_token(self, token: str) -> None:
        if token == "psk":
            if self._psks_used == len(self._psks):
                raise LocalError("the psk of this message was not given")
            self._symmetric.mix_key_and_hash(self._psks[self._psks_used])
            self._psks_used += 1
            return
        own, remote = (token[0], token[1]) if self._initiator else (token[1], token[0])
        private = self._ephemeral if own == "e" else self._static
        public = self._remote_ephemeral if remote == "e" else self.remote_static
        if private is None or public is None:
            raise LocalError("the pattern needs a key that was not given")
        self._symmetric.mix_key(dh(private.private, public))

    def __repr__(self) -> str:
        role = "initiator" if self._initiator else "responder"
        return f"HandshakeState({self._protocol.name.decode()}, {role}, message {self._turn})"
