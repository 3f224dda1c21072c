"""What both ends of every stream share until its handshake is done: buffers, frames, and failing for good.

Rule: a failure ends the stream: every later ``feed`` raises too. What is buffered is bounded; what arrived
behind the last handshake message belongs to the records and is kept.
Reference: docs/wire.md; design §4.8 (no remote byte raises anything but ``RemoteError``).
"""

from __future__ import annotations

from typing import Final

from crypto import framing
from crypto.errors import LocalError, RemoteError
from crypto.framing import frame_at
from crypto.noise import HandshakeState
from crypto.primitives import KEY_SIZE, TAG_SIZE
from crypto.secure_stream import SecureStream

PAYLOAD_MAX: Final = 4_096
EARLY_MAX: Final = 1 << 18

_MESSAGE_MIN: Final = KEY_SIZE + TAG_SIZE
_MESSAGE_MAX: Final = KEY_SIZE + KEY_SIZE + TAG_SIZE + PAYLOAD_MAX + TAG_SIZE


class StreamOpening:
    """What all handshakes share: buffers, frames and failing for good."""

    def __init__(self) -> None:
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
        return framing.take(self._to_send, len(self._to_send))

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
        return SecureStream(self._state.suite, send_key, receive_key, bytes(self._buffer))

    def _advance(self) -> None:
        raise NotImplementedError

    def _take_message(self) -> bytes | None:
        """The next handshake message, or ``None`` while it is incomplete."""
        found = frame_at(self._buffer, 0, _MESSAGE_MIN, _MESSAGE_MAX)
        if found is None:
            return None
        position, message = found
        del self._buffer[:position]
        return message


def check_payload(payload: bytes) -> None:
    """Raises ``LocalError`` when application bytes are too many for a handshake message."""
    if len(payload) > PAYLOAD_MAX:
        raise LocalError(f"handshake payload: {PAYLOAD_MAX} bytes are possible")
