"""This host's keys while the daemon runs: read by everyone, changed in one place, stored before they count.

Purpose: a new mesh secret, a new static key or a password takes effect without a restart, and survives one.
Rule: changes come one after the other; each is on disk before ``membership`` shows it, and if it cannot be
stored nothing has changed. Whoever holds ``HostKeys`` reads ``membership`` when it needs it and keeps no copy.
Flow: ``change(act)`` -> ``save`` in a thread -> ``membership`` -> every listener of ``on_change``, in order.
Reference: design §3 (rotation takes effect without a restart), §6 "Persist before tell".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from meshnet.control.keys.membership import Membership

_log = logging.getLogger(__name__)


class HostKeys:
    """The membership in use. save: writes it durably, in a thread; raises MeshnetError when it cannot."""

    def __init__(self, membership: Membership, save: Callable[[Membership], None]) -> None:
        self._membership = membership
        self._save = save
        self._lock = asyncio.Lock()
        self.on_change: list[Callable[[Membership], None]] = []

    @property
    def membership(self) -> Membership:
        """What is stored and in use now."""
        return self._membership

    async def change(self, act: Callable[[Membership], Membership]) -> Membership:
        """Store and use what `act` makes of the membership of that moment; returns it.

        What `act` raises comes out, as does the MeshnetError of a failed save; nothing has changed then. A
        cancelled caller's change is either done whole, listeners included, or not begun.
        """
        async with self._lock:
            changed = act(self._membership)
            if changed == self._membership:
                return changed
            cancelled = await self._stored(changed)
            self._membership = changed
            for listener in tuple(self.on_change):
                try:
                    listener(changed)
                except Exception:  # the others must hear of it all the same: the keys have changed
                    _log.exception("a part of the daemon could not take changed keys")
            if cancelled is not None:
                raise cancelled
            return changed

    async def _stored(self, membership: Membership) -> asyncio.CancelledError | None:
        """Save to the end, whatever happens to the caller: two saves at once would spoil each other's file."""
        saving = asyncio.get_running_loop().run_in_executor(None, self._save, membership)
        cancelled: asyncio.CancelledError | None = None
        while not saving.done():
            try:
                await asyncio.wait([saving])
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None and saving.exception() is not None:
            raise cancelled
        saving.result()
        return cancelled
