"""Answers of the gossip node that come later than the step that asked, as something to await.

Purpose: founding a network, leasing an address and reclaiming a peer's ranges may need another peer's word; the node
then answers None and tells `NetworkSettled`, `LeaseSettled` or `ReclaimSettled`.
Rule: whoever asks is registered before the step, since the answer may be told before the asker runs again; the node
itself bounds the wait, the deadline here only guards against a node that forgot.
Flow: `ask(key, act)` -> runner.step -> an answer, or the event that `tell` takes.  Reference: design §6.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from gossip.errors import Refusal
from gossip.events import Event, Lease, LeaseSettled, NetworkSettled, Output, ReclaimSettled
from gossip.node import Node
from meshnet.control.runner import NodeRunner
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["DEADLINE_S", "RECLAIM", "Key", "Pending", "lease_key", "network_key", "refused"]

Key = tuple[str, int | str, bytes]

DEADLINE_S: Final = 2.5
RECLAIM: Final[Key] = ("reclaim", "", b"")
"""What a reclaim waits for: the node has one at a time."""
CODES: Final = {
    "unknown-network": ExitCode.NOT_FOUND,
    "bad-address": ExitCode.USAGE,
    "invalid": ExitCode.USAGE,
    "role": ExitCode.PERMISSION,
    "revoked": ExitCode.PERMISSION,
    "unknown-peer": ExitCode.NOT_FOUND,
}
"""How a refusal of the core ends a command; any other is a plain failure."""

T = TypeVar("T")


def network_key(name: str) -> Key:
    """What a claim of a network's name waits for."""
    return ("network", name, b"")


def lease_key(network: int, endpoint: bytes) -> Key:
    """What an endpoint's lease waits for."""
    return ("lease", network, endpoint)


def refused(refusal: Refusal) -> MeshnetError:
    """A refusal of the core as an operator meets it."""
    return MeshnetError(refusal.what, refusal.why, refusal.fix, CODES.get(refusal.code, ExitCode.FAILED))


class Pending:
    """Who waits for which answer; several may wait for the same one."""

    def __init__(self, runner: NodeRunner[Node]) -> None:
        self._runner = runner
        self._waiting: dict[Key, list[asyncio.Future[object]]] = {}

    async def ask(
        self, key: Key, act: Callable[[float], tuple[Output, T | Refusal | None]], deadline_s: float = DEADLINE_S
    ) -> T:
        """Run a step and return its answer, at once or once it is told; raises MeshnetError for a refusal."""
        future: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        waiting = self._waiting.setdefault(key, [])
        waiting.append(future)
        try:
            answer: object = await self._runner.step(act)
            if answer is None:
                async with asyncio.timeout(deadline_s):
                    answer = await future
        except Refusal as refusal:
            raise refused(refusal) from None
        except TimeoutError:
            raise MeshnetError(
                "no other peer answered",
                f"{deadline_s:g} s went by",
                "see `meshnet peer ls`, then try again",
                ExitCode.TIMED_OUT,
            ) from None
        finally:
            waiting.remove(future)
            if not waiting and self._waiting.get(key) is waiting:
                del self._waiting[key]
        if isinstance(answer, Refusal):
            raise refused(answer)
        return answer  # type: ignore[return-value]  # what is told for a key is what its act answers

    async def lease(self, node: Node, network: int, endpoint: bytes, address: str | None = None) -> Lease:
        """Lease an address to an endpoint of this host; raises MeshnetError."""
        return await self.ask(lease_key(network, endpoint), lambda now: node.allocate(network, endpoint, now, address))

    async def lease_in_use(self, node: Node, network: int, endpoint: bytes, address: str) -> Lease:
        """Lease an address that the endpoint is using already, also in doubt; raises MeshnetError."""
        return await self.ask(
            lease_key(network, endpoint), lambda now: node.allocate(network, endpoint, now, address, in_use=True)
        )

    def tell(self, event: Event) -> bool:
        """Take one of the node's events; whether it was an answer."""
        match event:
            case NetworkSettled(name, answer):
                self._settle(network_key(name), answer)
            case LeaseSettled(network, endpoint, answer):
                self._settle(lease_key(network, endpoint), answer)
            case ReclaimSettled(_, done):
                self._settle(RECLAIM, done)
            case _:
                return False
        return True

    def _settle(self, key: Key, answer: object) -> None:
        for future in self._waiting.get(key, []):
            if not future.done():
                future.set_result(answer)
