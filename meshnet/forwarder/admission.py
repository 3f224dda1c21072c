"""Which handshake datagrams go up to meshnetd: right length, right mac1, not too many from one source.

Rule: everything an unauthenticated sender can make this host do is bounded here.  The mac1 key depends on the mesh
secret and on this peer's static key, so a datagram from outside the mesh costs one keyed hash and gets silence.
"""

import hmac
from hashlib import blake2s
from typing import Final

from meshnet.forwarder.counters import Drop

__all__ = ["HANDSHAKES_PER_S", "HANDSHAKE_LENGTHS", "SOURCES_KEPT", "Admission"]

HANDSHAKE_LENGTHS: Final = {1: 184, 2: 116}
"""Exact datagram length per type: initiation, response (docs/wire.md)."""
MACS_BYTES: Final = 32
HANDSHAKES_PER_S: Final = 100
SOURCES_KEPT: Final = 4096


class Admission:
    """The check of one forwarder; `now` is seconds on CLOCK_BOOTTIME."""

    def __init__(self) -> None:
        self._key: bytes | None = None
        self._second = -1
        self._counts: dict[str, int] = {}

    def set_key(self, key: bytes) -> None:
        """The mac1 key of this peer (32 bytes)."""
        self._key = key

    def refuse(self, datagram: bytes, host: str, now: float) -> Drop | None:
        """None when the datagram may go up, else why it is dropped."""
        expected = HANDSHAKE_LENGTHS.get(datagram[0] & 0x0F) if datagram else None
        if expected is None or datagram[0] >> 4:
            return Drop.UNKNOWN_TYPE
        if len(datagram) != expected:
            return Drop.HANDSHAKE_LENGTH
        if not self._has_mac1(datagram):
            return Drop.HANDSHAKE_MAC
        # Only after the mac1: junk with a member's source address must not use up that member's share.
        return Drop.HANDSHAKE_RATE if self._over_rate(host, now) else None

    def _has_mac1(self, datagram: bytes) -> bool:
        if self._key is None:
            return False
        mac = blake2s(datagram[:-MACS_BYTES], key=self._key, digest_size=16).digest()
        return hmac.compare_digest(mac, datagram[-MACS_BYTES:-16])

    def _over_rate(self, host: str, now: float) -> bool:
        if int(now) != self._second:
            self._second = int(now)
            self._counts.clear()
        count = self._counts.get(host, 0)
        if count >= HANDSHAKES_PER_S or (not count and len(self._counts) >= SOURCES_KEPT):
            return True
        self._counts[host] = count + 1
        return False
