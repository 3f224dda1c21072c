"""Token buckets per source address, so that no one address takes what meshnetd can do for all.

Rule: PURE; `now` is seconds.  Addresses count, not ports: an IPv4 address by itself, an IPv6 one with its /64, which
is what one host is given (link-local ones have a network to themselves).  The table is bounded.  A bucket that has
filled up again says nothing and may go; while every place is taken by one that has not, newcomers are refused, so a
flood of new sources starves none of the known.
Reference: docs/wire.md, "The UDP handshake".
"""

from collections import OrderedDict
from ipaddress import IPv6Address
from typing import Final

__all__ = ["BURST", "PER_S", "SOURCES_KEPT", "Buckets"]

PER_S: Final = 20.0
BURST: Final = 40.0
SOURCES_KEPT: Final = 4_096
FULL_AFTER_S: Final = BURST / PER_S


class Buckets:
    """How much each address may still ask for, least recently used first."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: OrderedDict[str, tuple[float, float]] = OrderedDict()
        """Address → (tokens, when they were counted)."""

    def __len__(self) -> int:
        return len(self._held)

    def take(self, host: str, now: float) -> bool:
        """Take one token of `host`'s; False when there is none, or no place for another address."""
        source = source_of(host)
        held = self._held.get(source)
        if held is None:
            if not self._has_room(now):
                return False
            tokens = BURST
        else:
            tokens = min(BURST, held[0] + max(0.0, now - held[1]) * PER_S)
        allowed = tokens >= 1.0
        self._held[source] = (tokens - 1.0 if allowed else tokens, now)
        self._held.move_to_end(source)
        return allowed

    def _has_room(self, now: float) -> bool:
        if len(self._held) < SOURCES_KEPT:
            return True
        oldest = next(iter(self._held))
        if now - self._held[oldest][1] < FULL_AFTER_S:
            return False
        del self._held[oldest]
        return True


def source_of(host: str) -> str:
    """What one bucket is for: an IPv4 address, the first 64 bits of an IPv6 one, all of a link-local one."""
    if ":" not in host:
        return host
    address = IPv6Address(host)
    return host if address.is_link_local else address.packed[:8].hex()
