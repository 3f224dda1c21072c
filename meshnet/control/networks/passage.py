"""Keeps the host's packet filter open for the mesh: checked every CHECK_S, removed when the mesh is stopped.

Rule: firewalld and dockerd flush and reorder rules at any time, so what was inserted once is looked at again and
again.  meshnetd's own end leaves the rules: the forwarder goes on, and so must its frames.
Flow: `start` -> the first check, then a task; `masquerade` changes what is hidden behind the host's address.
Reference: design §7.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from meshnet.host.errors import HostError
from meshnet.host.ports import FirewallPort

__all__ = ["CHECK_S", "Passage"]

log = logging.getLogger(__name__)

CHECK_S: Final = 10.0


class Passage:
    """The rules this host needs now, and the task that looks after them."""

    def __init__(self, firewall: FirewallPort) -> None:
        self._firewall = firewall
        self._pools: list[str] = []
        self._task: asyncio.Task[None] | None = None

    async def start(self, pools: Sequence[str] = ()) -> None:
        """Bring the rules up once, then keep them; a host that cannot masquerade is a note, no failure."""
        self._pools = list(pools)
        await self._check()
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="passage")

    async def masquerade(self, pools: Sequence[str]) -> None:
        """Masquerade exactly these pools from now on; raises HostError, and then what was stays."""
        await self._firewall.masquerade(pools)
        self._pools = list(pools)
        await self._firewall.pass_frames(bool(self._pools))

    def close(self) -> None:
        """Stop looking; the rules stay."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def remove(self) -> None:
        """Stop looking and take the rules away."""
        self.close()
        try:
            await self._firewall.remove()
        except HostError as error:
            log.warning("rules of the packet filter stay: %s", error)

    def notes(self) -> list[str]:
        """What the packet filter refused, one line each."""
        return self._firewall.notes()

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(CHECK_S)
            await self._check()

    async def _check(self) -> None:
        try:
            if await self._firewall.pass_frames(bool(self._pools)):
                log.info("rules that let the mesh's frames pass were missing and are inserted")
            await self._firewall.masquerade(self._pools)
        except HostError as error:
            if self._pools:
                log.warning("masquerading is not in force: %s", error)
