"""Runs the pure gossip node: its steps in order, what they decided made durable before anybody hears of it.

Purpose: the one place where a node's Output becomes disk writes, messages and events.
Rule: over all steps, in the order they were taken: persist, then send, then tell. Steps that wait share one
commit. After a failed commit nothing of those steps, nor of any later one, is sent or told: memory is ahead
of the disk, and a message could carry what is not durable. The daemon then reads the whole state anew
(`store.durability`), with another runner.
Flow: ``step`` / ``post`` run an act on the node at once -> its Output waits -> ``_drain`` commits, sends,
tells.
Reference: design §6 "Persist before tell".
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, overload

from gossip.events import Event, Output
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import StoreError
from meshnet.errors import ExitCode

MAX_QUEUED = 1024  # steps whose commit is awaited; `step` waits for room before it touches the node
MAX_BATCH = 256  # steps that share one commit
SHORTEST_TIMER_S = 0.001  # a timer that is already due still lets the loop turn

_log = logging.getLogger(__name__)
T = TypeVar("T")
N = TypeVar("N", bound="Core")


class Core(Protocol):
    """What the runner itself uses of a node; `gossip.node.Node` has it. Acts bring the rest."""

    def next_timer(self) -> tuple[float, str] | None: ...
    def handle_timer(self, now: float) -> Output: ...


class Commits(Protocol):
    """What the runner needs of a store."""

    async def commit(self, puts: list[PutLike]) -> None: ...


@dataclass(slots=True)
class _Step:
    output: Output
    done: asyncio.Future[None] | None  # None: nobody waits


class NodeRunner(Generic[N]):
    """Owns a node; every use of it goes through ``step`` or ``post``. Lives on one event loop.

    clock: seconds, monotonic. send(link id, message) and tell(event) are called in order and must not block.
    failure: why a commit failed; from then on nothing is applied.
    """

    def __init__(
        self,
        node: N,
        store: Commits,
        clock: Callable[[], float],
        send: Callable[[int, bytes], None],
        tell: Callable[[Event], None],
    ) -> None:
        self.node = node
        self.failure: StoreError | None = None
        self.faults = 0  # acts, sends or tells that raised: a defect of ours, counted and logged
        self.refused = 0  # posts that came after a failed commit
        self._store = store
        self._clock = clock
        self._send = send
        self._tell = tell
        self._queue: deque[_Step] = deque()
        self._drainer: asyncio.Task[None] | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    @overload
    async def step(self, act: Callable[[float], tuple[Output, T]]) -> T: ...
    @overload
    async def step(self, act: Callable[[float], Output]) -> None: ...
    async def step(self, act: Callable[[float], Output | tuple[Output, T]]) -> T | None:
        """Run `act(now)` on the node; return its result once the step is durable, sent and told.

        Raises StoreError when it is not durable (then nothing of it was sent), and what `act` raises.
        """
        while len(self._queue) >= MAX_QUEUED and self.failure is None:
            self._room.clear()
            await self._room.wait()
        self._check()
        output, result = _split(act(self._clock()))
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._enqueue(_Step(output, done))
        await done
        return result

    def post(self, act: Callable[[float], Output]) -> None:
        """Run `act(now)` on the node for nobody in particular, from a callback. Never raises."""
        if self.failure is not None or self._closed:
            self.refused += 1
            return
        try:
            output = act(self._clock())
        except Exception:
            self.faults += 1
            _log.exception("a step of the gossip node failed")
            return
        self._enqueue(_Step(output, None))

    async def close(self) -> None:
        """Finish what is queued, then refuse everything."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._drainer is not None:
            await self._drainer

    def _check(self) -> None:
        if self.failure is not None:
            raise self.failure
        if self._closed:
            raise StoreError(
                "the daemon is stopping", "its state is closed", "run `meshnet start`", ExitCode.NOT_RUNNING
            )

    def _enqueue(self, step: _Step) -> None:
        self._queue.append(step)
        if self._drainer is None:
            self._drainer = asyncio.get_running_loop().create_task(self._drain())
        self._arm()

    async def _drain(self) -> None:
        try:
            while self._queue:
                batch = [self._queue.popleft() for _ in range(min(len(self._queue), MAX_BATCH))]
                self._room.set()
                puts: list[PutLike] = [put for step in batch for put in step.output.persist]
                if puts:
                    try:
                        await self._store.commit(puts)
                    except Exception as error:
                        self._fail(batch, error)
                        continue
                for step in batch:
                    self._apply(step)
        finally:
            self._drainer = None

    def _apply(self, step: _Step) -> None:
        for link, message in step.output.send:
            self._guard(self._send, link, message)
        for event in step.output.tell:
            self._guard(self._tell, event)
        if step.done is not None and not step.done.done():
            step.done.set_result(None)

    def _guard(self, call: Callable[..., None], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:
            self.faults += 1
            _log.exception("a callback of the gossip runner failed")

    def _fail(self, batch: list[_Step], error: Exception) -> None:
        """Void `batch` and all that was decided after it: none of it may be told."""
        failure = error if isinstance(error, StoreError) else _unknown(error)
        if self.failure is None:
            _log.error("state is not durable: %s", failure)
        self.failure = failure
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        voided = batch + list(self._queue)
        self._queue.clear()
        self._room.set()
        for step in voided:
            if step.done is not None and not step.done.done():
                step.done.set_exception(failure)

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due = self.node.next_timer()
        if due is None or self._closed or self.failure is not None:
            return
        delay = max(SHORTEST_TIMER_S, due[0] - self._clock())
        self._timer = asyncio.get_running_loop().call_later(delay, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.post(self.node.handle_timer)


def _split(answer: Output | tuple[Output, T]) -> tuple[Output, T | None]:
    return answer if isinstance(answer, tuple) else (answer, None)


def _unknown(error: Exception) -> StoreError:
    return StoreError(
        "cannot write the state",
        f"{type(error).__name__}: {error}",
        "read the daemon's log, then run `meshnet stop` and `meshnet start`",
        ExitCode.FAILED,
    )
