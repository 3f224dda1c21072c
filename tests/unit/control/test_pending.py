"""Answers that come later: awaited from before the step, shared by all who ask, bounded in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gossip.errors import Refusal
from gossip.events import Lease, LeaseSettled, NetworkSettled, Output, ReclaimDone, ReclaimSettled, Trouble
from gossip.state.address_bodies import NetworkBody
from meshnet.control import pending as module
from meshnet.control.pending import RECLAIM, Pending, network_key, refused
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.fake_core import WEB, Bench

NO = Refusal("network web was not founded", "the registrar alpha does not answer", "start alpha", "unreachable")


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


async def test_an_answer_at_once_is_returned(bench: Bench) -> None:
    bench.core.answer = WEB
    pending = Pending(bench.runner)
    assert await pending.ask(network_key("web"), lambda now: bench.core.create_network("web", (), None, now)) == WEB
    assert pending._waiting == {}


async def test_an_answer_told_within_the_step_is_not_missed(bench: Bench) -> None:
    """The event leaves before the asker runs again: it must be waiting by then."""
    pending = Pending(bench.runner)
    bench.tell = pending.tell

    def act(now: float) -> tuple[Output, NetworkBody | None]:
        return Output(tell=[NetworkSettled("web", WEB)]), None

    assert await pending.ask(network_key("web"), act) == WEB


async def test_a_reclaim_is_answered_by_the_run_that_is_under_way(bench: Bench) -> None:
    pending = Pending(bench.runner)
    bench.tell = pending.tell
    done = ReclaimDone(b"12345678", [b"q" * 32], [], [])

    def act(now: float) -> tuple[Output, ReclaimDone | Refusal | None]:
        return Output(tell=[ReclaimSettled(b"12345678", done)]), None

    assert await pending.ask(RECLAIM, act) == done


async def test_an_address_in_use_is_asked_for_as_such(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[object] = []

    def allocate(*arguments: object, in_use: bool = False) -> tuple[Output, Lease]:
        said.append((arguments[0], arguments[1], arguments[3], in_use))
        return Output(), Lease(1, "10.32.0.2/12", 1)

    monkeypatch.setattr(bench.core, "allocate", allocate)
    pending = Pending(bench.runner)
    await pending.lease_in_use(bench.node, 1, b"e", "10.32.0.2")
    await pending.lease(bench.node, 1, b"e", "10.32.0.2")
    assert said == [(1, b"e", "10.32.0.2", True), (1, b"e", "10.32.0.2", False)]


async def test_all_who_ask_for_one_name_get_the_answer(bench: Bench) -> None:
    pending = Pending(bench.runner)
    asking = [
        asyncio.ensure_future(
            pending.ask(network_key("web"), lambda now: bench.core.create_network("web", (), None, now))
        )
        for _ in range(3)
    ]
    while len(bench.core.asked) < 3:  # noqa: ASYNC110 -- one turn of the loop each
        await asyncio.sleep(0)
    assert pending.tell(NetworkSettled("other", WEB))
    assert pending.tell(NetworkSettled("web", WEB))
    assert await asyncio.gather(*asking) == [WEB] * 3
    assert pending.tell(NetworkSettled("web", WEB))  # told again: nobody waits, nothing breaks
    assert pending._waiting == {}


async def test_a_lease_is_awaited_by_network_and_endpoint(bench: Bench) -> None:
    pending = Pending(bench.runner)
    bench.core.lease_answer = None
    lease = Lease(7, "10.0.0.2/16", 1)
    asking = asyncio.ensure_future(pending.lease(bench.node, 7, b"end", "10.0.0.2"))
    while not bench.core.asked:  # noqa: ASYNC110 -- one turn of the loop each
        await asyncio.sleep(0)
    assert bench.core.asked == [("allocate", 7, b"end", "10.0.0.2")]
    pending.tell(LeaseSettled(8, b"end", NO))
    pending.tell(LeaseSettled(7, b"enD", NO))
    pending.tell(LeaseSettled(7, b"end", lease))
    assert await asking == lease


@pytest.mark.parametrize("how", ["returned", "told later", "raised"])
async def test_a_refusal_is_raised_in_the_operators_words(bench: Bench, how: str) -> None:
    pending = Pending(bench.runner)
    bench.tell = pending.tell

    def act(now: float) -> tuple[Output, Refusal | None]:
        if how == "raised":
            raise NO
        return (Output(tell=[NetworkSettled("web", NO)]), None) if how == "told later" else (Output(), NO)

    with pytest.raises(MeshnetError) as caught:
        await pending.ask(network_key("web"), act)
    assert (caught.value.what, caught.value.why, caught.value.fix) == (NO.what, NO.why, NO.fix)


async def test_a_node_that_forgets_is_not_waited_for_for_ever(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DEADLINE_S", 0.01)
    pending = Pending(bench.runner)
    with pytest.raises(MeshnetError) as caught:
        await pending.ask(network_key("web"), lambda now: bench.core.create_network("web", (), None, now))
    assert caught.value.code is ExitCode.TIMED_OUT
    assert pending._waiting == {}


def test_other_events_are_not_taken_and_codes_are_exit_codes() -> None:
    assert not Pending.tell(Pending.__new__(Pending), Trouble("x"))
    assert refused(Refusal("a", "b", "c", "unknown-network")).code is ExitCode.NOT_FOUND
    assert refused(Refusal("a", "b", "c", "invalid")).code is ExitCode.USAGE
    assert refused(NO).code is ExitCode.FAILED
