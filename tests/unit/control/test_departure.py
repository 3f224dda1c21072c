"""Leaving: everything goes back first, somebody must hear it, and the end comes after the last word has left."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import cast

import pytest

from gossip.errors import Refusal
from meshnet.control import departure as module
from meshnet.control.departure import Departure
from meshnet.control.links.links import Links
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures
from meshnet.errors import MeshnetError
from tests.unit.control.fake_core import OTHER, Bench, view
from tests.unit.forwarder.fakes import until


class Room(Bench):
    """A departure whose parts write down what is asked of them."""

    def __init__(self) -> None:
        super().__init__()
        self.wiped: list[bool] = []
        self.unsent = [0]
        self.is_out = False
        room = self

        class Watch:
            async def delete_all(self) -> int:
                room.core.asked.append(("endpoints",))
                return 2

            async def hide_all(self) -> None:
                room.core.asked.append(("exposures",))

            @property
            def unsent(self) -> int:
                return room.unsent.pop(0) if len(room.unsent) > 1 else room.unsent[0]

        watch = Watch()
        self.departure = Departure(
            self.node,
            self.runner,
            cast("Endpoints", watch),
            cast("Exposures", watch),
            cast("Links", watch),
            self.wiped.append,
            lambda: self.is_out,
        )


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.0)
    monkeypatch.setattr(module, "LOOK_S", 0.0)


@pytest.mark.parametrize("wipe", [False, True])
async def test_everything_goes_back_before_the_word_and_the_end_comes_after_it(wipe: bool) -> None:
    room = Room()
    room.unsent = [900, 400, 0]
    answer = await room.departure.leave(wipe)
    assert room.core.asked == [("endpoints",), ("exposures",), ("leave",)]
    assert room.unsent == [0], "the last words were waited for"
    assert answer == {
        "schema": "meshnet.left/v1",
        "left": True,
        "detached": 2,
        "told": ["host-b"],
        "wiped": wipe,
    }
    await until(lambda: bool(room.wiped))
    assert room.wiped == [wipe]
    await room.close()


async def test_with_nobody_to_hear_it_nothing_is_given_up() -> None:
    room = Room()
    room.core.open_links = []
    with pytest.raises(MeshnetError, match=r"host-b"):
        await room.departure.leave(False)
    assert (room.core.asked, room.wiped) == ([], [])
    await room.close()


async def test_the_last_peer_may_go() -> None:
    room = Room()
    room.core.open_links = []
    room.core.views = [room.core.views[0], view(OTHER, "host-b", left=True)]
    assert (await room.departure.leave(False))["told"] == []
    await room.close()


async def test_who_is_no_member_is_not_waited_for() -> None:
    room = Room()
    room.core.open_links = []
    room.core.views = [room.core.views[0], replace(view(OTHER, "host-b"), revoked=True)]
    assert (await room.departure.leave(False))["told"] == []
    await room.close()


async def test_a_reader_that_never_reads_does_not_hold_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_S", 0.01)
    room = Room()
    room.unsent = [900]
    async with asyncio.timeout(5):
        await room.departure.leave(False)
    await room.close()


async def test_a_core_that_refuses_ends_nothing() -> None:
    room = Room()
    room.core.refusal = Refusal("nothing was done", "this peer has left the mesh", "join again", "invalid")
    with pytest.raises(MeshnetError, match="has left"):
        await room.departure.leave(False)
    await asyncio.sleep(0)
    assert room.wiped == []
    await room.close()


async def test_a_host_that_was_revoked_may_go_although_nobody_hears_it() -> None:
    room = Room()
    room.is_out = True
    room.core.open_links = []
    room.core.refusal = Refusal("nothing was done", "this peer was revoked", "leave", "revoked")
    answer = await room.departure.leave(True)
    assert (answer["left"], answer["told"]) == (True, [])
    assert room.core.asked == [("endpoints",), ("exposures",)]
    await until(lambda: bool(room.wiped))
    await room.close()
