"""The upkeep: every job, again and again, whatever one of them raises; at once when asked."""

from __future__ import annotations

import logging

import pytest

from meshnet.control import upkeep as module
from meshnet.control.upkeep import Upkeep
from tests.unit.control.loopback import poll


async def test_jobs_run_in_their_order_and_again_after_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.001)
    ran: list[str] = []

    async def first() -> None:
        ran.append("first")

    async def second() -> None:
        ran.append("second")

    upkeep = Upkeep([first, second])
    upkeep.start()
    await poll(lambda: len(ran) >= 6)
    await upkeep.close()
    assert ran[:4] == ["first", "second"] * 2


async def test_soon_does_not_wait_for_the_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "TICK_S", 3600.0)
    ran: list[int] = []

    async def job() -> None:
        ran.append(1)

    upkeep = Upkeep([job])
    upkeep.soon()
    upkeep.start()
    await poll(lambda: len(ran) == 1)
    upkeep.soon()
    await poll(lambda: len(ran) == 2)
    await upkeep.close()


async def test_a_job_that_fails_holds_nothing_up_and_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "TICK_S", 0.001)
    ran: list[int] = []

    async def broken() -> None:
        raise RuntimeError("the disk is full")

    async def job() -> None:
        ran.append(1)

    upkeep = Upkeep([broken, job])
    with caplog.at_level(logging.ERROR):
        upkeep.start()
        await poll(lambda: len(ran) >= 5)
        await upkeep.close()
    assert caplog.text.count("a job of the upkeep failed") == 1


async def test_closing_before_the_start_is_nothing() -> None:
    await Upkeep([]).close()
