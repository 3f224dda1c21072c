"""Records both ways over a reliable byte stream, after the handshake that made its keys.

Flow: record = AEAD(u8 kind | content), nonces implicit, behind a u16 length.
Rule: a failure ends the stream for good: every later ``feed`` raises too. What is buffered is less than one
record. Record kind 0 is the orderly end; a connection that ends without it was cut off.
Reference: docs/wire.md; the Noise specification §11.3 (in order, so nonces need not be sent).
"""

from __future__ import annotations

from typing import Final

from crypto.errors import LocalError, RemoteError
from crypto.framing import frame, frame_at
from crypto.noise import CipherState
from crypto.primitives import TAG_SIZE, Suite

PLAINTEXT_MAX: Final = 60_000
CLOSE: Final = 0
KIND_MAX: Final = 255

_RECORD_OVERHEAD: Final = 1 + TAG_SIZE
_RECORD_MAX: Final = PLAINTEXT_MAX + _RECORD_OVERHEAD


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
        return frame(self._send.encrypt(b"", bytes((kind,)) + plaintext))

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
            while (found := frame_at(self._buffer, position, _RECORD_OVERHEAD, _RECORD_MAX)) is not None:
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
