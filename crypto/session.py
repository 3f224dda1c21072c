"""The two directions of one established session: sealing and opening whole records.             # HOT PATH

Rule: a record is one AEAD message.  Its additional data is the 16-byte datagram header with slice 0 (docs/wire.md),
its nonce is lane (1 byte), five zero bytes and the 48-bit record counter, both taken from that header.  A sealer
takes a new counter for every record, also for bytes it sealed before, and refuses to go past the cipher's limit, so
a (key, nonce) pair is used once.

Why it looks like this: nonce buffers and the cipher's bound methods are kept, and input and output are views of
buffers the caller reuses; per record there is one AEAD call and two small slice assignments.
"""

from struct import Struct

from crypto.errors import LocalError, RemoteError
from crypto.primitives import InvalidTag, Suite, aead
from crypto.replay import ReplayWindow

__all__ = ["COUNTER_LIMIT", "HEADER_BYTES", "TAG_BYTES", "CounterExhausted", "Opener", "Sealer", "Suite"]

HEADER_BYTES = 16
TAG_BYTES = 16
COUNTER_LIMIT = {Suite.AESGCM: 1 << 36, Suite.CHACHAPOLY: 1 << 40}
"""First record counter that is refused, per cipher (docs/wire.md)."""

Buffer = bytes | bytearray | memoryview
_pack_counter = Struct(">HI").pack_into
_read_counter = Struct(">HI").unpack_from


class CounterExhausted(LocalError):
    """The key has sealed as many records as its cipher allows; only a new session can go on."""


class Sealer:
    """The sending key of a session on one lane."""

    __slots__ = ("_encrypt_into", "_limit", "_nonce", "counter")

    def __init__(self, suite: Suite, key: bytes, lane: int = 0) -> None:
        cipher = aead(suite, key)
        self._encrypt_into = cipher.encrypt_into
        self._limit = COUNTER_LIMIT[suite]
        self._nonce = bytearray(12)
        self._nonce[0] = lane
        self.counter = 0

    def seal(self, header: bytearray, plaintext: Buffer, out: memoryview) -> None:
        """Seal `plaintext` into `out` (exactly 16 bytes longer) and write the counter into `header` (16 bytes).

        Raises CounterExhausted before anything is sealed.
        """
        counter = self.counter + 1
        if counter >= self._limit:
            raise CounterExhausted("record counter used up")
        self.counter = counter
        nonce = self._nonce
        _pack_counter(nonce, 6, counter >> 32, counter & 0xFFFFFFFF)
        header[10:16] = nonce[6:12]
        self._encrypt_into(nonce, plaintext, header, out)


class Opener:
    """The receiving key of a session on one lane, with its replay window."""

    __slots__ = ("_decrypt_into", "_limit", "_nonce", "window")

    def __init__(self, suite: Suite, key: bytes, lane: int = 0) -> None:
        cipher = aead(suite, key)
        self._decrypt_into = cipher.decrypt_into
        self._limit = COUNTER_LIMIT[suite]
        self._nonce = bytearray(12)
        self._nonce[0] = lane
        self.window = ReplayWindow()

    def is_fresh(self, counter: int) -> bool:
        """Tell whether a record with this counter could still be accepted."""
        return counter < self._limit and self.window.check(counter)

    def open(self, header: Buffer, sealed: Buffer, out: memoryview) -> int:
        """Open one record into `out` (exactly 16 bytes shorter than `sealed`) and return its counter.

        Raises RemoteError for a replay, a counter past the limit or a tag that does not verify; the window moves
        only when the tag verified.
        """
        high, low = _read_counter(header, 10)
        counter: int = high << 32 | low
        if counter >= self._limit or not self.window.check(counter):
            raise RemoteError("replayed or too old")
        nonce = self._nonce
        nonce[6:12] = header[10:16]
        try:
            self._decrypt_into(nonce, sealed, header, out)
        except InvalidTag:
            raise RemoteError("authentication failed") from None
        self.window.accept(counter)
        return counter
