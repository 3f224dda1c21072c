"""Replacing this host's X25519 key under its identity, and forgetting the one before.

Rule: the new key is stored before anybody hears of it; the old one is accepted for OLD_STATIC_S longer, by the wall
clock, so that handshakes under way, and tokens that were made before, still work; then it is deleted.
Flow: ``rotate`` -> HostKeys -> its listeners tell sessions and gossip; ``expire`` once a second.
Reference: docs/threat-model.md (who stole a static key); docs/membership.md.
"""

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

from crypto.keys import Entropy, StaticKey
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import Membership
from meshnet.control.links.statics import OLD_STATIC_S

__all__ = ["StaticRotation"]


class StaticRotation:
    """Rotates the static key of `keys`; wall: seconds."""

    def __init__(self, keys: HostKeys, entropy: Entropy, wall: Callable[[], float] = time.time) -> None:
        self._keys = keys
        self._entropy = entropy
        self._wall = wall

    async def rotate(self) -> dict[str, object]:
        """meshnet.key/v1, once the new key is stored and in use.  Raises MeshnetError when it cannot be stored."""
        fresh, until = StaticKey.generate(self._entropy), self._wall() + OLD_STATIC_S

        def change(held: Membership) -> Membership:
            return replace(held, static=fresh, old_static=held.static, old_static_until=until)

        changed = await self._keys.change(change)
        return {
            "schema": "meshnet.key/v1",
            "id": changed.identity.public.hex(),
            "static": changed.static.public.hex(),
            "old_until": datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        }

    async def expire(self) -> None:
        """Delete the old key once its time is over; also if the wall clock was set back by more than that time."""
        if _over(self._keys.membership, self._wall()):
            await self._keys.change(lambda held: _without_old(held) if _over(held, self._wall()) else held)


def _over(held: Membership, wall: float) -> bool:
    return held.old_static is not None and not held.old_static_until - OLD_STATIC_S <= wall < held.old_static_until


def _without_old(held: Membership) -> Membership:
    return replace(held, old_static=None, old_static_until=0.0)
