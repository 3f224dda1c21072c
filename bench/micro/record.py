"""forwarder/record.py: an entry's prefix, written and read. HOT PATH: once per frame in each direction."""

from __future__ import annotations

from collections.abc import Callable

from meshnet.forwarder.record import read_prefix, write_prefix


def cases() -> dict[str, Callable[[], object]]:
    """One prefix at an offset of a record's buffer."""
    buffer = bytearray(64_000)
    return {
        "write-prefix": lambda: write_prefix(buffer, 3000, 1524, 7),
        "read-prefix": lambda: read_prefix(buffer, 3000),
    }
