"""Leaving the mesh for good: everything this host holds goes back, and somebody has heard of it.

Rule: endpoints and the host's own addresses end first, then the node says that it left and to whom its ranges go;
the daemon ends only once those words have left this host.  With other peers in the mesh but none linked nobody could
take the ranges over, so leaving is refused; a host that was revoked may go all the same, as nobody listens to it.
Flow: `leave` -> endpoints, exposures -> node.leave -> the links' queues run empty -> `on_left`.
Reference: design §6.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from gossip.errors import Refusal
from gossip.node import Node
from meshnet.control.links.links import Links
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures
from meshnet.control.pending import refused
from meshnet.control.runner import NodeRunner
from meshnet.errors import MeshnetError

__all__ = ["Departure"]

FLUSH_S: Final = 3.0
LOOK_S: Final = 0.02
ANSWER_S: Final = 0.3
"""The end begins so long after the answer, which also gives the last words time to be read on the other side."""


class Departure:
    """Takes this peer out of the mesh; `on_left(wipe)` ends the daemon. is_out(): it was revoked."""

    def __init__(
        self,
        node: Node,
        runner: NodeRunner[Node],
        endpoints: Endpoints,
        exposures: Exposures,
        links: Links,
        on_left: Callable[[bool], None],
        is_out: Callable[[], bool] = lambda: False,
    ) -> None:
        self._node = node
        self._runner = runner
        self._endpoints = endpoints
        self._exposures = exposures
        self._links = links
        self._on_left = on_left
        self._is_out = is_out

    async def leave(self, wipe: bool) -> dict[str, object]:
        """Hand everything back and say so.  Raises MeshnetError when nobody would hear it."""
        stay = sorted(
            view.body.name
            for view in self._node.peers()
            if not view.left and not view.revoked and view.identity != self._node.identity
        )
        is_out = self._is_out()
        if stay and not is_out and not self._node.links():
            raise MeshnetError(
                "this host cannot leave now",
                f"none of the other peers ({', '.join(stay[:8])}) can be reached to take its addresses back",
                "start one of them or mend the network, then leave; `meshnet stop` only stops",
            )
        detached = await self._endpoints.delete_all()
        await self._exposures.hide_all()
        try:
            if not is_out:
                await self._runner.step(self._node.leave)
        except Refusal as refusal:
            raise refused(refusal) from None
        await self._flush()
        asyncio.get_running_loop().call_later(ANSWER_S, self._on_left, wipe)
        return {
            "schema": "meshnet.left/v1",
            "left": True,
            "detached": detached,
            "told": [] if is_out else stay,
            "wiped": wipe,
        }

    async def _flush(self) -> None:
        """Wait until every link has sent what it was given, as long as the slowest reader may be waited for."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FLUSH_S
        while self._links.unsent and loop.time() < deadline:  # noqa: ASYNC110 -- transports tell of no empty queue
            await asyncio.sleep(LOOK_S)
