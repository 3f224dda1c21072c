"""TAI64N time stamps, which order the initiations of one sender.

Purpose: a responder takes an initiation only if its stamp is later than the last it took, so a recorded one
is worth nothing. Stamps are compared as bytes.
Rule: a sender's stamps only grow, whatever its clock does: ``later`` steps past the previous one.
Reference: https://cr.yp.to/libtai/tai64.html; the WireGuard paper §5.1.
"""

from __future__ import annotations

from typing import Final

from crypto.errors import LocalError

STAMP_SIZE: Final = 12

_NANOSECONDS: Final = 1_000_000_000
_TAI_EPOCH: Final = (1 << 62) + 10
_SECONDS_END: Final = 1 << 64


def stamp(wall_ns: int) -> bytes:
    """The 12-byte stamp of a wall clock reading in nanoseconds since 1970.

    Raises ``LocalError`` when TAI64 has no label for it.
    """
    return _pack(wall_ns)


def later(previous: bytes, wall_ns: int) -> bytes:
    """The stamp of ``wall_ns``, or the one a nanosecond after ``previous`` when the clock is not past it.

    Raises ``LocalError`` when ``previous`` is no stamp.
    """
    if len(previous) != STAMP_SIZE:
        raise LocalError(f"time stamp: {STAMP_SIZE} bytes are needed")
    seconds = int.from_bytes(previous[:8]) - _TAI_EPOCH
    next_ns = seconds * _NANOSECONDS + int.from_bytes(previous[8:]) + 1
    return _pack(max(wall_ns, next_ns))


def _pack(nanoseconds: int) -> bytes:
    seconds, rest = divmod(nanoseconds, _NANOSECONDS)
    label = _TAI_EPOCH + seconds
    if not 0 <= label < _SECONDS_END:
        raise LocalError("time stamp: the clock is out of range")
    return label.to_bytes(8) + rest.to_bytes(4)
