"""Addresses to which one peer may have moved: each is proved by a probe and its echo before the peer moves there.

A newest authenticated record shows that somebody at its source address passed it on, not that the peer receives there:
a copy that overtakes the original would aim our traffic at anyone.  So one small record with 8 random bytes goes to
that address, and only the same bytes, authenticated and from there, move the peer.

Rule: PURE; `now` is seconds, the token is an argument.  At most CANDIDATES addresses wait; one probe an address and
second; for SETTLED_S after a move the address that was left is no candidate, so that records still on the way from
there do not move the peer back.
Reference: docs/wire.md, "Moving".
"""

from typing import Final

__all__ = ["CANDIDATES", "CANDIDATE_S", "PROBE_EVERY_S", "SETTLED_S", "TOKEN_BYTES", "Candidates", "SocketAddress"]

TOKEN_BYTES: Final = 8
CANDIDATES: Final = 4
CANDIDATE_S: Final = 5.0
"""How long an echo may take."""
PROBE_EVERY_S: Final = 1.0
SETTLED_S: Final = 2.0

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
"""What Python's socket module takes and gives for AF_INET and AF_INET6."""


class _Candidate:
    __slots__ = ("began", "probed", "token")

    def __init__(self, token: bytes, now: float) -> None:
        self.token = token
        self.began = self.probed = now


class Candidates:
    """The addresses of one peer that wait for their echo."""

    __slots__ = ("_left", "_moved", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[SocketAddress, _Candidate] = {}
        self._left: SocketAddress | None = None
        self._moved = 0.0

    def __len__(self) -> int:
        return len(self._waiting)

    def probe(self, address: SocketAddress, token: bytes, now: float) -> bytes | None:
        """The peer may be at `address`: the 8 bytes to send there, or None when it is not time for a probe.

        `token` is used unless an earlier one for this address can still be echoed.
        """
        if address == self._left and now - self._moved < SETTLED_S:
            return None
        known = self._waiting.get(address)
        if known is not None and now - known.began < CANDIDATE_S:
            if now - known.probed < PROBE_EVERY_S:
                return None
            known.probed = now
            return known.token
        self._waiting.pop(address, None)
        if len(self._waiting) >= CANDIDATES and not self._make_room(now):
            return None
        self._waiting[address] = _Candidate(token, now)
        return token

    def confirm(self, address: SocketAddress, token: bytes, now: float) -> bool:
        """Whether these bytes from `address` echo the probe sent there; then no address waits any more."""
        known = self._waiting.get(address)
        if known is None or known.token != token or now - known.began >= CANDIDATE_S:
            return False
        self._waiting.clear()
        return True

    def left(self, address: SocketAddress | None, now: float) -> None:
        """The peer has moved away from `address`."""
        self._left, self._moved = address, now

    def _make_room(self, now: float) -> bool:
        """Give up the oldest address that had its second, so that no four of them keep out the true one."""
        oldest = next(iter(self._waiting))
        if now - self._waiting[oldest].began < PROBE_EVERY_S:
            return False
        del self._waiting[oldest]
        return True
