"""Whose static key is whose, as gossip says: what a handshake's far end is known by. PURE.

Rule: a key belongs to the peer that named it last in its own statement. A key that a peer replaced still counts for
OLD_STATIC_S, for handshakes that were on their way; afterwards whoever stole it is nobody.
Flow: a peer's statement -> `learn`; links ask `owner`; once in a while `expire`.  Reference: docs/threat-model.md.
"""

from __future__ import annotations

from typing import Final

__all__ = ["OLD_STATIC_S", "Statics"]

OLD_STATIC_S: Final = 600.0
"""How long a static key is accepted after its owner replaced it, here and at the owner itself."""
_FOR_EVER = float("inf")


class Statics:
    """X25519 public key (32 bytes) -> identity; `now` is seconds, monotonic. At most two keys a peer."""

    def __init__(self) -> None:
        self._owners: dict[bytes, tuple[bytes, float]] = {}
        self._current: dict[bytes, bytes] = {}
        self._old: dict[bytes, bytes] = {}

    def learn(self, peer: bytes, static: bytes, now: float) -> None:
        """`peer` says that `static` is its key. Another peer's word for the same key does not take it from it."""
        before = self._current.get(peer)
        if before == static:
            return
        self._retire(self._old.pop(peer, None), peer)
        if before is not None:
            self._old[peer] = before
            if self._owned(before, peer):
                self._owners[before] = (peer, now + OLD_STATIC_S)
        self._current[peer] = static
        holder = self._owners.get(static)
        if holder is None or holder[0] == peer or self._current.get(holder[0]) != static:
            self._owners[static] = (peer, _FOR_EVER)

    def owner(self, static: bytes, now: float) -> bytes | None:
        """The identity of the peer whose key this is, or was until a moment ago."""
        holder = self._owners.get(static)
        return holder[0] if holder is not None and now < holder[1] else None

    def peers(self) -> list[bytes]:
        """Every peer that named a key."""
        return list(self._current)

    def forget(self, peer: bytes) -> None:
        """The peer is gone: its keys are nobody's."""
        self._retire(self._current.pop(peer, None), peer)
        self._retire(self._old.pop(peer, None), peer)

    def expire(self, now: float) -> None:
        """Forget keys that were replaced long ago."""
        for peer, static in list(self._old.items()):
            holder = self._owners.get(static)
            if holder is None or holder[0] != peer or now >= holder[1]:
                del self._old[peer]
                self._retire(static, peer)

    def _owned(self, static: bytes, peer: bytes) -> bool:
        holder = self._owners.get(static)
        return holder is not None and holder[0] == peer

    def _retire(self, static: bytes | None, peer: bytes) -> None:
        if static is not None and self._owned(static, peer):
            del self._owners[static]
