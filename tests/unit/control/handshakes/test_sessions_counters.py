"""The forwarder's counters: each question has its own answer, and none is waited for longer than a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from meshnet.boundary import Counters, ReadCounters, Verb
from meshnet.control.handshakes import sessions as module
from tests.unit.control.handshaking import AT_SMALL, SMALL, SMALL_ID
from tests.unit.control.session_hosts import Host, turns
from tests.unit.forwarder.fakes import until


@pytest.fixture
async def lone() -> AsyncIterator[Host]:
    host = Host(SMALL_ID, SMALL, AT_SMALL)
    host.start()
    yield host
    host.sessions.close()


def answering(host: Host) -> Callable[[Verb], None]:
    """A forwarder that answers every `ReadCounters` in the next turn of the loop."""

    def answer(verb: Verb) -> None:
        if isinstance(verb, ReadCounters):
            fact = Counters(request=verb.request, drops={"no_session": verb.request}, peers=[])
            asyncio.get_running_loop().call_soon(host.sessions.fact, fact)

    return answer


async def test_counters_are_the_forwarders_answer_to_this_question(lone: Host) -> None:
    lone.supervisor.answer = answering(lone)
    first, second = await lone.sessions.counters(), await lone.sessions.counters()
    assert first is not None and second is not None
    assert (first.request, second.request) == tuple(verb.request for verb in lone.supervisor.all(ReadCounters))
    assert first.request != second.request


async def test_two_who_ask_at_once_are_both_answered(lone: Host) -> None:
    asking = [asyncio.get_running_loop().create_task(lone.sessions.counters()) for _ in range(2)]
    await until(lambda: len(lone.supervisor.all(ReadCounters)) == 2)
    for verb, asked in zip(lone.supervisor.all(ReadCounters), asking, strict=True):
        lone.sessions.fact(Counters(request=verb.request, drops={}, peers=[]))
        await turns()  # the first has gone on before the answer to the second arrives
        assert asked.done()
        counters = asked.result()
        assert counters is not None and counters.request == verb.request


async def test_a_forwarder_that_does_not_answer_is_none_in_time(lone: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNTERS_S", 0.01)
    async with asyncio.timeout(1.0):
        assert await lone.sessions.counters() is None
    request = lone.the(ReadCounters).request
    lone.sessions.fact(Counters(request=request, drops={}, peers=[]))  # too late is no error
    lone.supervisor.link = None
    assert await lone.sessions.counters() is None
    assert len(lone.supervisor.all(ReadCounters)) == 1, "without a forwarder nobody is asked"
