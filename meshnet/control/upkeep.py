"""What is looked after once a second while the daemon runs: links, keys whose time is over, the secret's rotation.

Rule: one task, one job after the other; a job that fails is logged, once for each kind of failure in a row, and the
others go on.
Flow: ``start`` -> every TICK_S, or at once after ``soon`` -> each job.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

__all__ = ["TICK_S", "Upkeep"]

log = logging.getLogger(__name__)

TICK_S: Final = 1.0

Job = Callable[[], Awaitable[None]]


class Upkeep:
    """Runs `jobs` in their order until it is closed."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = jobs
        self._wanted = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failed: dict[int, str] = {}

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="upkeep")

    def soon(self) -> None:
        """Run the jobs without waiting for the next tick."""
        self._wanted.set()

    async def close(self) -> None:
        """End; a job that is under way is given up."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            self._wanted.clear()
            for number, job in enumerate(self._jobs):
                try:
                    await job()
                    self._failed.pop(number, None)
                except Exception as error:
                    if self._failed.get(number) != str(error):
                        self._failed[number] = str(error)
                        log.exception("a job of the upkeep failed")
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wanted.wait()
            except TimeoutError:
                pass
