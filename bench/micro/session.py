"""crypto/session.py: one record sealed, one record opened. HOT PATH: once per record in each direction."""

from __future__ import annotations

from collections.abc import Callable

from crypto.primitives import Suite
from crypto.replay import ReplayWindow
from crypto.session import HEADER_BYTES, TAG_BYTES, Opener, Sealer

SIZES = (60, 1456, 61_440)


def cases() -> dict[str, Callable[[], object]]:
    """Sealing and opening under both suites, for a small frame, a full datagram and a super-frame."""
    found: dict[str, Callable[[], object]] = {}
    for suite in Suite:
        for size in SIZES:
            found[f"seal-{suite.value}-{size}"] = sealing(suite, size)
            found[f"open-{suite.value}-{size}"] = opening(suite, size)
    return found


def sealing(suite: Suite, size: int) -> Callable[[], object]:
    sealer = Sealer(suite, bytes(32))
    header, plaintext, out = bytearray(HEADER_BYTES), bytes(size), memoryview(bytearray(size + TAG_BYTES))
    return lambda: sealer.seal(header, plaintext, out)


def opening(suite: Suite, size: int) -> Callable[[], object]:
    """The same record again and again, which a fresh window (a fraction of a microsecond) makes new each time."""
    header, sealed = bytearray(HEADER_BYTES), bytearray(size + TAG_BYTES)
    Sealer(suite, bytes(32)).seal(header, bytes(size), memoryview(sealed))
    opener, out = Opener(suite, bytes(32)), memoryview(bytearray(size))

    def case() -> int:
        opener.window = ReplayWindow()
        return opener.open(header, sealed, out)

    return case
