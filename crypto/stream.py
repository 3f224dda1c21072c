"""A secured stream over any reliable byte stream, without I/O: the handshake of links and of joining.

Flow: the initiator sends its hello, the responder answers with its own; both enter the Noise prologue. Then
message 1 and message 2 of IKpsk2, each framed, each with application bytes; then records either way.

    hello   7 "MESHNET" | u8 version 1 | u8 channel | u8 suite | u8 epoch | 5 zero
    frame   u16 length | handshake message, or record = AEAD(u8 kind | content), nonces implicit

    StreamInitiator: data_to_send → … feed … until complete, then ``payload`` is what message 2 said;
    ``secure()``. StreamResponder: feed until ``request`` shows who wants what; ``accept(psk, payload)``;
    ``secure()``.

Rule: a failure ends the stream for good: every later ``feed`` raises too. What is buffered is bounded. Record
kind 0 is the orderly end; a connection that ends without it was cut off. The responder knows the initiator
for certain (and that it holds the psk) once the first record came: before that nothing may be given away.
Reference: docs/wire.md; the Noise specification §13.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from crypto.errors import LocalError, RemoteError
from crypto.handshake import session_protocol
from crypto.keys import Entropy, StaticKey
from crypto.noise import CipherState, HandshakeState
from crypto.primitives import KEY_SIZE, TAG_SIZE, Suite
from crypto.prologue import Channel, prologue

__all__ = [
    "CLOSE",
    "HELLO_SIZE",
    "PAYLOAD_MAX",
    "PLAINTEXT_MAX",
    "Request",
    "SecureStream",
    "StreamInitiator",
    "StreamResponder",
]

HELLO_SIZE: Final = 16
STREAM_VERSION: Final = 1
PLAINTEXT_MAX: Final = 60_000
PAYLOAD_MAX: Final = 4_096
EARLY_MAX: Final = 1 << 18
CLOSE: Final = 0
KIND_MAX: Final = 255

_MAGIC: Final = b"MESHNET"
_LENGTH_SIZE: Final = 2
_RECORD_OVERHEAD: Final = 1 + TAG_SIZE
_RECORD_MAX: Final = PLAINTEXT_MAX + _RECORD_OVERHEAD
_MESSAGE_MAX: Final = KEY_SIZE + KEY_SIZE + TAG_SIZE + PAYLOAD_MAX + TAG_SIZE


@dataclass(frozen=True)
class Request:
    """What a responder knows after message 1: the initiator's static key and its application bytes."""

    channel: Channel
    remote_static: bytes
    payload: bytes


class SecureStream:
    """Records both ways after a handshake. ``closed`` tells whether the other end closed in order."""

    def __init__(self, suite: Suite, send_key: bytes, receive_key: bytes, early: bytes = b"") -> None:
        """``early`` is what arrived behind the handshake; the next ``feed`` (of ``b""``, too) looks at it."""
        self._send = CipherState(suite, send_key)
        self._receive = CipherState(suite, receive_key)
        self._buffer = bytearray(early)
        self._failed = False
        self._finished = False
        self.closed = False

    def seal(self, kind: int, plaintext: bytes) -> bytes:
        """One framed record of ``kind`` (0 to 255, 0 = close) with at most 60,000 bytes.

        Raises ``LocalError`` when it is longer, or the stream was closed by us.
        """
        if not 0 <= kind <= KIND_MAX or len(plaintext) > PLAINTEXT_MAX:
            raise LocalError(f"record: a kind of 0 to {KIND_MAX} and {PLAINTEXT_MAX} bytes are possible")
        if self._finished:
            raise LocalError("record: this end of the stream is closed")
        self._finished = kind == CLOSE
        return _frame(self._send.encrypt(b"", bytes((kind,)) + plaintext))

    def close(self) -> bytes:
        """The record that ends our direction in order."""
        return self.seal(CLOSE, b"")

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """The (kind, plaintext) of every record that ``data`` completes; what is left waits for more.

        Raises ``RemoteError`` for a false tag, an impossible length or anything behind a close.
        """
        if self._failed:
            raise RemoteError("a stream that failed before")
        self._buffer += data
        records: list[tuple[int, bytes]] = []
        position = 0
        try:
            while (found := _frame_at(self._buffer, position, _RECORD_OVERHEAD, _RECORD_MAX)) is not None:
                if self.closed:
                    raise RemoteError("stream that goes on after its end")
                position, sealed = found
                plaintext = self._receive.decrypt(b"", sealed)
                records.append((plaintext[0], plaintext[1:]))
                self.closed = plaintext[0] == CLOSE
        except RemoteError:
            self._failed = True
            self._buffer.clear()
            raise
        del self._buffer[:position]
        return records

    def __repr__(self) -> str:
        return f"SecureStream(closed={self.closed}, failed={self._failed})"


class _Opening:
    """What both ends' handshakes share: buffers, frames and failing for good."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite
        self._buffer = bytearray()
        self._to_send = bytearray()
        self._state: HandshakeState | None = None
        self._failed = False

    @property
    def complete(self) -> bool:
        """Whether the handshake is done and ``secure`` may be called."""
        return self._state is not None and self._state.complete

    def data_to_send(self) -> bytes:
        """What is to be sent now; each byte is returned once. Also after a failure: the hello explains it."""
        data = bytes(self._to_send)
        self._to_send.clear()
        return data

    def feed(self, data: bytes) -> None:
        """Takes what arrived. Raises ``RemoteError`` when it is wrong; the handshake has then failed."""
        if self._failed:
            raise RemoteError("a stream that failed before")
        self._buffer += data
        try:
            if len(self._buffer) > EARLY_MAX:
                raise RemoteError("too much data during the handshake")
            self._advance()
        except RemoteError:
            self._failed = True
            self._buffer.clear()
            raise

    def secure(self) -> SecureStream:
        """The stream that follows. Raises ``LocalError`` before the handshake is complete."""
        if self._state is None or not self._state.complete or self._failed:
            raise LocalError("the handshake is not complete")
        send_key, receive_key = self._state.split()
        return SecureStream(self._suite, send_key, receive_key, bytes(self._buffer))

    def _advance(self) -> None:
        raise NotImplementedError

    def _take_hello(self) -> bytes | None:
        if not _MAGIC.startswith(self._buffer[: len(_MAGIC)]):
            raise RemoteError("not the hello of a meshnet peer")
        if len(self._buffer) < HELLO_SIZE:
            return None
        hello = bytes(self._buffer[:HELLO_SIZE])
        del self._buffer[:HELLO_SIZE]
        return hello

    def _take_message(self) -> bytes | None:
        found = _frame_at(self._buffer, 0, KEY_SIZE + TAG_SIZE, _MESSAGE_MAX)
        if found is None:
            return None
        position, message = found
        del self._buffer[:position]
        return message


class StreamInitiator(_Opening):
    """The end that opens a stream to the holder of ``remote_static``.

    ``payload`` becomes the application bytes of message 1 (at most 4,096; they have no forward secrecy).
    Raises ``LocalError`` and ``KeyFormatError`` for arguments that fit no handshake.
    """

    def __init__(
        self,
        *,
        channel: Channel,
        mesh: bytes,
        suite: Suite,
        epoch: int,
        static: StaticKey,
        remote_static: bytes,
        psk: bytes,
        payload: bytes,
        entropy: Entropy,
    ) -> None:
        super().__init__(suite)
        _check_payload(payload)
        self.remote_static = remote_static
        self.payload: bytes | None = None
        self._request = payload
        self._hello = _hello(channel, suite, epoch)

        def state(remote_hello: bytes) -> HandshakeState:
            return HandshakeState(
                session_protocol(suite),
                initiator=True,
                prologue=prologue(channel, mesh, suite, epoch, self._hello + remote_hello),
                entropy=entropy,
                static=static,
                remote_static=remote_static,
                psks=(psk,),
            )

        # Made once beforehand, so that an unusable argument is refused here and not in the middle.
        state(self._hello)
        self._make_state = state
        self._to_send += self._hello

    def _advance(self) -> None:
        if self._state is None:
            hello = self._take_hello()
            if hello is None:
                return
            _check_answer(self._hello, hello)
            state = self._make_state(hello)
            self._to_send += _frame(state.write_message(self._request))
            self._state = state
        if not self._state.complete and (message := self._take_message()) is not None:
            payload = self._state.read_message(message)
            self.payload = payload


class StreamResponder(_Opening):
    """The end that a stream is opened to.

    ``epochs`` names the channels it takes and the epoch each must have. ``request`` is ``None`` until message
    1 was read; then the application chooses the psk.
    """

    def __init__(
        self, *, epochs: Mapping[Channel, int], mesh: bytes, suite: Suite, static: StaticKey, entropy: Entropy
    ) -> None:
        super().__init__(suite)
        self._epochs = dict(epochs)
        self._mesh = mesh
        self._static = static
        self._entropy = entropy
        self._channel: Channel | None = None
        self.request: Request | None = None

    def accept(self, psk: bytes, payload: bytes) -> None:
        """Answers the request with ``payload`` (at most 4,096 bytes) under ``psk`` (32 bytes).

        Raises ``LocalError`` when there is no request to answer or an argument does not fit.
        """
        _check_payload(payload)
        if self._state is None or self.request is None or self._state.complete or self._failed:
            raise LocalError("there is no request to answer")
        state = self._state.copy()
        state.add_psk(psk)
        self._to_send += _frame(state.write_message(payload))
        self._state = state

    def _advance(self) -> None:
        if self._state is None:
            hello = self._take_hello()
            if hello is None:
                return
            self._answer(hello)
        if self.request is None and (message := self._take_message()) is not None:
            self._read_request(message)
        if self.request is not None and not self.complete and self._buffer:
            # The initiator has no keys for anything before our answer.
            raise RemoteError("data ahead of the answer")

    def _answer(self, hello: bytes) -> None:
        channel = next((known for known in self._epochs if known == hello[len(_MAGIC) + 1]), None)
        if channel is None:
            raise RemoteError("hello for a channel that is not served")
        epoch = self._epochs[channel]
        own = _hello(channel, self._suite, epoch)
        # Sent even if the two do not fit, so that the initiator can tell its operator why.
        self._to_send += own
        _check_answer(own, hello)
        self._channel = channel
        self._state = HandshakeState(
            session_protocol(self._suite),
            initiator=False,
            prologue=prologue(channel, self._mesh, self._suite, epoch, hello + own),
            entropy=self._entropy,
            static=self._static,
        )

    def _read_request(self, message: bytes) -> None:
        state, channel = self._state, self._channel
        if state is None or channel is None:
            raise LocalError("there was no hello")
        payload = state.read_message(message)
        if len(payload) > PAYLOAD_MAX:
            raise RemoteError("handshake message of an impossible length")
        remote_static = state.remote_static
        if remote_static is None or remote_static == self._static.public:
            raise RemoteError("a stream opened with our own key")
        self.request = Request(channel, remote_static, payload)


def _hello(channel: Channel, suite: Suite, epoch: int) -> bytes:
    return (_MAGIC + bytes((STREAM_VERSION, channel, suite.number, epoch))).ljust(HELLO_SIZE, b"\0")


def _check_answer(own: bytes, remote: bytes) -> None:
    """Compares two hellos that must be equal, and says what differs."""
    fields = ("version", "channel", "cipher suite", "epoch of the mesh secret")
    for name, ours, theirs in zip(fields, own[len(_MAGIC) :], remote[len(_MAGIC) :], strict=False):
        if ours != theirs:
            raise RemoteError(f"hello with another {name}")
    if remote != own:
        raise RemoteError("hello of another form")


def _check_payload(payload: bytes) -> None:
    if len(payload) > PAYLOAD_MAX:
        raise LocalError(f"handshake payload: {PAYLOAD_MAX} bytes are possible")


def _frame(content: bytes) -> bytes:
    return len(content).to_bytes(_LENGTH_SIZE) + content


def _frame_at(buffer: bytearray, position: int, shortest: int, longest: int) -> tuple[int, bytes] | None:
    """The frame at ``position`` and where the next begins, or ``None`` while it is incomplete."""
    start = position + _LENGTH_SIZE
    if len(buffer) < start:
        return None
    length = int.from_bytes(buffer[position:start])
    if not shortest <= length <= longest:
        raise RemoteError("frame of an impossible length")
    end = start + length
    return None if len(buffer) < end else (end, bytes(buffer[start:end]))
