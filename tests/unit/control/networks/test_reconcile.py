"""Leases brought together with what exists: after a grace and two looks, and never what an operator claimed."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from meshnet.control.networks.reconcile import CLAIM_S, LOOK_S, RECONCILE_GRACE_S, Reconciler, manual_key
from meshnet.host.errors import HostError, refused
from tests.unit.control.networks.endpoint_host import World
from tests.unit.control.networks.test_adoption import attached


class Watched(World):
    """A host and a reconciler whose clock the test turns."""

    now = 1000.0

    def watch(self) -> None:
        self.reconciler = Reconciler(
            self.node, self.runner, self.netlink, self.endpoints, self.adoption, lambda: self.now
        )

    async def later(self, seconds: float) -> None:
        self.now += seconds
        await self.reconciler.step()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Watched]:
    made = Watched(tmp_path / "state.db")
    await made.start()
    made.watch()
    yield made
    await made.close()


async def test_an_endpoint_whose_link_is_gone_is_released_after_the_grace(world: Watched) -> None:
    answer, kept = await attached(world), await attached(world, target="kept")
    await world.later(0)
    await world.netlink.delete_link(f"mv{answer['endpoint']}")
    await world.later(LOOK_S)
    assert len(world.leases()) == 2, "one look ends nothing"
    await world.later(RECONCILE_GRACE_S)
    assert [one["endpoint"] for one in world.endpoints.listed()] == [kept["endpoint"]]
    assert len(world.leases()) == len(world.announced()) == 1


async def test_a_link_that_is_back_at_the_second_look_keeps_its_endpoint(world: Watched) -> None:
    answer = await attached(world)
    links = dict(world.netlink.links)
    world.netlink.links.pop(f"mv{answer['endpoint']}")
    await world.later(0)
    world.netlink.links.update(links)
    await world.later(LOOK_S)
    world.netlink.links.pop(f"mv{answer['endpoint']}")
    await world.later(LOOK_S)
    assert len(world.leases()) == 1, "the grace begins anew"
    await world.later(LOOK_S)
    assert world.leases() == []


async def test_between_two_looks_nothing_is_asked_of_the_kernel(world: Watched) -> None:
    await world.later(0)
    world.netlink.fail_next("list_links", refused("cannot list the host's links", errno.EBUSY))
    for _ in range(5):
        await world.later(LOOK_S / 10)
    with pytest.raises(HostError):
        await world.later(LOOK_S)


async def test_what_is_not_confirmed_is_left_to_its_own_deadline(world: Watched) -> None:
    from tests.unit.control.networks.test_endpoints import made

    endpoint = await made(world)
    world.netlink.links.pop(f"mv{endpoint}")
    for _ in range(3):
        await world.later(LOOK_S)
    assert len(world.leases()) == 1


async def test_a_lease_that_nobody_stands_for_is_released_after_the_grace(world: Watched) -> None:
    await attached(world)
    for key in (b"docker/12345678", b"lost", manual_key("10.32.0.99")):
        address = "10.32.0.99" if key.startswith(b"manual") else None
        await world.pending.lease(world.node, 1, key, address)
    world.reconciler.holders.append(lambda: [(1, b"docker/12345678")])
    await world.later(0)
    assert len(world.leases()) == 4
    await world.later(LOOK_S)
    held = [key for _, key, _ in world.node.held()]
    assert b"lost" not in held and b"docker/12345678" in held and manual_key("10.32.0.99") in held
    assert len(held) == 3


async def test_an_endpoint_whose_lease_the_core_ended_is_unclaimed_and_asked_for_again(world: Watched) -> None:
    answer = await attached(world)
    endpoint = bytes.fromhex(str(answer["endpoint"]))
    await world.later(0)
    await world.runner.step(partial(world.node.release, 1, endpoint))
    world.reconciler.holders.append(lambda: [(1, b"this host")])
    assert world.reconciler.leaseless() == [(1, b"this host")], "endpoints are not named here: they are asked for"
    await world.adoption.find_lost()
    (row,) = world.adoption.described()
    assert row["endpoint"] == answer["endpoint"] and "another peer" in str(row["why"])
    await world.later(CLAIM_S)
    assert world.endpoints.listed() == [answer] and len(world.leases()) == 1 and world.adoption.described() == []


async def test_what_is_announced_and_nobodys_is_withdrawn_after_the_grace(world: Watched) -> None:
    await attached(world)
    gone = await attached(world, target="gone")
    world.endpoints.records.pop(bytes.fromhex(str(gone["endpoint"])))
    await world.later(0)
    assert len(world.announced()) == 2
    await world.later(LOOK_S)
    assert [name for _, _, name in world.announced()] == ["web"] and len(world.leases()) == 1


async def test_unclaimed_endpoints_are_asked_for_at_their_own_pace(
    world: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    async def claim_back() -> None:
        tries.append(world.now)

    monkeypatch.setattr(world.adoption, "claim_back", claim_back)
    for _ in range(int(3 * CLAIM_S)):
        await world.later(1)
    assert len(tries) == 3 and tries[1] - tries[0] == CLAIM_S
