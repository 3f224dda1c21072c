"""A crash at every place of every story of addresses: nobody owns or uses an address twice, and none is lost."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.sim.address_scenarios import STORIES, places, tell, told_writes
from tests.sim.address_world import hurried

EVERY = 1 if "MESHNET_SEED" in os.environ else 7
SEED = int(os.environ.get("MESHNET_SEED", "1"))


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


@pytest.mark.parametrize("name", STORIES)
def test_without_a_crash_the_story_ends_well(name: str) -> None:
    tell(STORIES[name], None, SEED)
    assert told_writes(STORIES[name]) >= 2


@pytest.mark.parametrize("name", STORIES)
def test_a_crash_at_any_place_loses_nothing(name: str) -> None:
    for place in places(STORIES[name], EVERY):
        try:
            tell(STORIES[name], place, SEED)
        except AssertionError as error:
            raise AssertionError(f"{name} struck at {place}: {error}") from error
