"""A member that agreed to a reclaim uses nothing that the reclaimed peer gives it afterwards."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from gossip.events import Lease, ReclaimDone
from tests.sim.address_world import hurried
from tests.sim.revival import revive


@pytest.fixture(autouse=True)
def _hurried() -> Iterator[None]:
    with hurried():
        yield


@pytest.mark.parametrize("restart", [False, True])
def test_what_was_promised_is_kept_also_over_a_restart(restart: bool) -> None:
    world = revive(restart)
    asker, _, _, promiser = world.hosts
    assert [type(answer) for answer in asker.reclaimed] == [ReclaimDone]
    assert not isinstance(promiser.leased.get(b"wanted"), Lease)
    assert isinstance(asker.leased[b"mine 0"], Lease), "and who took over uses it"
