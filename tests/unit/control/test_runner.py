"""The runner: nothing is sent or told before its commit returned, in order, and nothing at all after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from gossip.events import Event, Output, Put, Trouble
from meshnet.control import runner as runner_module
from meshnet.control.runner import NodeRunner
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import StoreError

DEADLINE_S = 5.0


class FakeNode:
    """A node with nothing but a timer."""

    def __init__(self) -> None:
        self.due: float | None = None
        self.fired: list[float] = []
        self.on_fire: Callable[[], None] = lambda: None

    def next_timer(self) -> tuple[float, str] | None:
        return None if self.due is None else (self.due, "test")

    def handle_timer(self, now: float) -> Output:
        self.fired.append(now)
        self.due = None
        self.on_fire()
        return Output()


class FakeStore:
    """A store whose commits end when the test says so."""

    def __init__(self, journal: list[str], automatic: bool = False) -> None:
        self.journal = journal
        self.automatic = automatic
        self.commits: list[list[bytes]] = []
        self.waiting: list[asyncio.Future[None]] = []
        self.called = asyncio.Event()

    async def commit(self, puts: list[PutLike]) -> None:
        self.commits.append([put.key for put in puts])
        gate: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.automatic:
            gate.set_result(None)
        self.waiting.append(gate)
        self.called.set()
        await gate
        self.journal.append("commit " + " ".join(put.key.decode() for put in puts))

    async def wait_called(self) -> asyncio.Future[None]:
        async with asyncio.timeout(DEADLINE_S):
            await self.called.wait()
        self.called.clear()
        return self.waiting[-1]


class World:
    def __init__(self, automatic: bool = False) -> None:
        self.journal: list[str] = []
        self.node = FakeNode()
        self.store = FakeStore(self.journal, automatic)
        self.on_tell: Callable[[Event], None] = lambda event: None
        self.runner = NodeRunner(
            self.node,
            self.store,
            asyncio.get_running_loop().time,
            lambda link, message: self.journal.append(f"send {link} {message.decode()}"),
            self._tell,
        )

    def _tell(self, event: Event) -> None:
        assert isinstance(event, Trouble)
        self.journal.append(f"tell {event.what}")
        self.on_tell(event)


def output(name: str, persist: bool = True) -> Output:
    puts = [Put("s", name.encode(), b"v")] if persist else []
    return Output(persist=puts, send=[(1, name.encode())], tell=[Trouble(name)])


def lost() -> StoreError:
    return StoreError("cannot write", "disk I/O error", "repair it")


async def settle() -> None:
    """Let everything that is ready run."""
    for _ in range(10):
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn


async def test_nothing_leaves_before_the_commit_returned() -> None:
    world = World()
    step = asyncio.create_task(world.runner.step(lambda now: (output("a"), 42)))
    gate = await world.store.wait_called()
    await settle()
    assert world.journal == [] and not step.done()
    gate.set_result(None)
    assert await step == 42
    assert world.journal == ["commit a", "send 1 a", "tell a"]
    await world.runner.close()


async def test_steps_that_wait_share_a_commit_and_keep_their_order() -> None:
    world = World()
    first = asyncio.create_task(world.runner.step(lambda now: output("a")))
    gate = await world.store.wait_called()
    for name in "bcd":
        world.runner.post(lambda now, name=name: output(name, persist=name != "c"))  # type: ignore[misc]
    gate.set_result(None)
    await first
    second = await world.store.wait_called()
    assert world.store.commits == [[b"a"], [b"b", b"d"]]
    assert world.journal == ["commit a", "send 1 a", "tell a"]
    second.set_result(None)
    await world.runner.close()
    assert world.journal[3:] == ["commit b d"] + [f"{verb} {name}" for name in "bcd" for verb in ("send 1", "tell")]


async def test_a_step_without_writes_still_waits_for_those_before_it() -> None:
    world = World()
    world.runner.post(lambda now: output("a"))
    gate = await world.store.wait_called()
    quick = asyncio.create_task(world.runner.step(lambda now: output("b", persist=False)))
    await settle()
    assert world.journal == [] and not quick.done()
    gate.set_result(None)
    await quick
    assert world.journal == ["commit a", "send 1 a", "tell a", "send 1 b", "tell b"]


async def test_a_step_taken_while_telling_comes_after_the_whole_of_this_one() -> None:
    world = World(automatic=True)

    def tell(event: Event) -> None:
        if event == Trouble("a"):
            world.runner.post(lambda now: output("b", persist=False))

    world.on_tell = tell
    await world.runner.step(lambda now: Output(persist=[Put("s", b"a", b"v")], tell=[Trouble("a"), Trouble("a2")]))
    await world.runner.close()
    assert world.journal == ["commit a", "tell a", "tell a2", "send 1 b", "tell b"]


async def test_a_failed_commit_voids_its_steps_and_all_later_ones(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    first = asyncio.create_task(world.runner.step(lambda now: output("a")))
    gate = await world.store.wait_called()
    second = asyncio.create_task(world.runner.step(lambda now: output("b", persist=False)))
    await settle()
    gate.set_exception(lost())
    for step in (first, second):
        with pytest.raises(StoreError, match="disk I/O error"):
            await step
    touched: list[float] = []

    def act(now: float) -> Output:
        touched.append(now)
        return output("c")

    with pytest.raises(StoreError, match="disk I/O error"):
        await world.runner.step(act)
    world.runner.post(act)
    await settle()
    assert world.journal == [] and touched == [] and world.runner.refused == 1
    assert isinstance(world.runner.failure, StoreError)
    assert caplog.text.count("state is not durable") == 1, "said once"


async def test_a_failed_runner_fires_no_timer() -> None:
    world = World()
    world.node.due = asyncio.get_running_loop().time() + 0.005
    step = asyncio.create_task(world.runner.step(lambda now: output("a")))
    (await world.store.wait_called()).set_exception(lost())
    with pytest.raises(StoreError):
        await step
    assert world.runner._timer is None


async def test_the_timer_fires_when_due_and_is_armed_again() -> None:
    world = World()
    fired = asyncio.Event()
    times = [0.01, 0.02]

    def again() -> None:
        if times:
            world.node.due = asyncio.get_running_loop().time() + times.pop()
        else:
            fired.set()

    world.node.on_fire = again
    start = asyncio.get_running_loop().time()
    again()
    await world.runner.step(lambda now: Output())
    async with asyncio.timeout(DEADLINE_S):
        await fired.wait()
    assert len(world.node.fired) == 2
    assert world.node.fired[0] >= start + 0.01 and world.node.fired[1] >= world.node.fired[0] + 0.005
    await world.runner.close()
    assert world.runner._timer is None


async def test_acts_and_callbacks_that_raise_are_counted_and_hurt_nobody_else() -> None:
    world = World(automatic=True)

    def explode(_: object) -> Output:
        raise RuntimeError("defect")

    world.runner.post(explode)
    with pytest.raises(RuntimeError, match="defect"):
        await world.runner.step(explode)

    def tell(event: Event) -> None:
        if event == Trouble("a"):
            raise RuntimeError("defect")

    world.on_tell = tell
    await world.runner.step(lambda now: Output(tell=[Trouble("a"), Trouble("b")]))
    await world.runner.step(lambda now: output("c"))
    assert world.journal == ["tell a", "tell b", "commit c", "send 1 c", "tell c"]
    assert world.runner.faults == 2


async def test_a_caller_that_gave_up_does_not_stop_its_step() -> None:
    world = World()
    step = asyncio.create_task(world.runner.step(lambda now: output("a")))
    gate = await world.store.wait_called()
    step.cancel()
    await settle()
    gate.set_result(None)
    await world.runner.close()
    assert step.cancelled()
    assert world.journal == ["commit a", "send 1 a", "tell a"]


async def test_a_full_queue_makes_steps_wait_before_they_touch_the_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(runner_module, "MAX_QUEUED", 2)
    world = World()
    touched: list[str] = []

    def act(name: str) -> Callable[[float], Output]:
        return lambda now: touched.append(name) or output(name)  # type: ignore[func-returns-value]

    first = asyncio.create_task(world.runner.step(act("a")))
    gate = await world.store.wait_called()
    rest = [asyncio.create_task(world.runner.step(act(name))) for name in "bcd"]
    await settle()
    assert touched == ["a", "b", "c"]
    world.store.automatic = True
    gate.set_result(None)
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(first, *rest)
    assert touched == ["a", "b", "c", "d"]


async def test_a_closed_runner_refuses() -> None:
    world = World(automatic=True)
    await world.runner.close()
    with pytest.raises(StoreError, match="stopping"):
        await world.runner.step(lambda now: output("a"))
    world.runner.post(lambda now: output("b"))
    assert world.journal == [] and world.runner.refused == 1
