"""What an operator must know of the stored state, and how a host goes on when its disk takes writes again.

Purpose: a full or read-only disk ends what must be stored, and nothing else; nobody has to restart anything for it.
Rule: after a failed commit memory may be ahead of the disk, so nothing of this run is stored any more. The forwarder
carries traffic on, reads answer, changes are refused. Once a probe is written, `on_writable` has the whole state read
anew, as a start does; not more often than every REREAD_S, if commits fail for another reason than the disk.
Flow: `control.upkeep` -> `step` once a second -> Store.probe -> on_writable; `control.status` -> `notices`.
Reference: design §6 "Persist before tell".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from meshnet.control.store.store import Store, StoreError

__all__ = ["PROBE_S", "REREAD_S", "Durability"]

PROBE_S: Final = 2.0
REREAD_S: Final = 30.0


class Durability:
    """Watches one open store. clock: seconds, monotonic; failure(): why the runner applies nothing any more, or None;
    on_writable(): end this run's parts and read the state anew.
    """

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        failure: Callable[[], StoreError | None],
        on_writable: Callable[[], None],
    ) -> None:
        self._store = store
        self._clock = clock
        self._runner_failure = failure
        self._on_writable = on_writable
        self._began = clock()
        self._probe_at = 0.0

    @property
    def failure(self) -> str | None:
        """Why nothing is stored any more, or None."""
        error = self._runner_failure()
        return self._store.failure or (None if error is None else error.why)

    async def step(self) -> None:
        """Look whether the disk takes writes again; a job of the upkeep."""
        now = self._clock()
        if self.failure is None or now < max(self._probe_at, self._began + REREAD_S):
            return
        self._probe_at = now + PROBE_S
        try:
            await self._store.probe()
        except StoreError:
            return
        self._on_writable()

    def notices(self) -> list[dict[str, object]]:
        """What is wrong with the stored state now, each as what, why, fix."""
        found: list[dict[str, object]] = []
        if self.failure is not None:
            found.append(
                _notice(
                    "nothing can be stored: traffic goes on, changes are refused",
                    f"{self._store.path}: {self.failure}",
                    "free space or make the disk writable; meshnet then goes on by itself",
                )
            )
        if self._store.rolled_back is not None:
            found.append(
                _notice(
                    "the stored state may be older than what this host has said",
                    self._store.rolled_back,
                    "see that this host reaches the others; look through `meshnet token ls` for tokens that were"
                    " revoked or used since",
                )
            )
        if self._store.copy_failure is not None and self.failure is None:
            found.append(
                _notice(
                    "the last good copy of the state is old",
                    self._store.copy_failure,
                    "free space; if it says that the database is damaged, run `meshnet stop` and `meshnet start`",
                )
            )
        return found


def _notice(what: str, why: str, fix: str) -> dict[str, object]:
    return {"what": what, "why": why, "fix": fix}
