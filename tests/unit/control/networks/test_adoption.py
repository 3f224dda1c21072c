"""Endpoints whose rows were lost: found by their links, claimed before anything else, kept while nobody can answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from gossip.errors import Refusal
from gossip.events import Lease, Output
from gossip.node import Node
from meshnet.control.networks.endpoint_rows import SPACE
from meshnet.control.networks.networks import bridge_name
from meshnet.control.store.row import Row
from meshnet.host.memory import MemoryNetlink
from tests.unit.control.networks.endpoint_host import World
from tests.unit.control.networks.test_endpoints import request

AWAY = Refusal(
    "no address was leased", "10.32.0.1 belongs to peer host-c, which does not answer", "start it", "foreign"
)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "state.db")
    await made.start()
    yield made
    await made.close()


async def attached(world: World, ip: str | None = None, target: str = "web") -> dict[str, object]:
    answer = await world.endpoints.make(request(ip=ip, target=target, ifname=target))
    return await world.endpoints.confirm(str(answer["endpoint"]))


async def forget(world: World) -> None:
    """The daemon ends, and the store loses every endpoint, as a copy does that is older than they are."""
    for mac, _, _ in world.announced():
        await world.runner.step(partial(world.node.drop_endpoint, 1, mac))
    rows = [Row(SPACE, key, None) for key, _ in world.store.load(SPACE)]
    rows += [Row("gossip.lease", key, None) for key, _ in world.store.load("gossip.lease")]
    await world.store.commit(rows)
    await world.crash()


async def test_a_link_says_whose_it_is(world: World) -> None:
    answer = await attached(world, "10.32.0.77")
    alias = world.netlink.links[f"mv{answer['endpoint']}"].alias
    assert " default 1 10.32.0.77/24 " in alias and f" {answer['endpoint']} 4:1 web web" in alias


async def test_an_address_in_use_is_claimed_back_before_anything_is_allocated(world: World) -> None:
    before = await attached(world, "10.32.0.2")  # what a fresh allocator gives first
    await forget(world)
    await world.start()
    assert world.endpoints.listed() == [before]
    assert [lease.address for lease in world.leases()] == ["10.32.0.2/24"] and len(world.announced()) == 1
    assert (await attached(world, target="other"))["addresses"] != ["10.32.0.2/24"]


async def test_what_is_claimed_back_survives_the_next_start_and_can_be_deleted(world: World) -> None:
    before = await attached(world)
    await forget(world)
    await world.start()
    await world.crash()
    await world.start()
    assert world.endpoints.listed() == [before]
    await world.endpoints.delete(str(before["endpoint"]))
    assert world.is_empty()


async def test_who_cannot_have_the_address_now_is_kept_named_and_asked_for_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await attached(world)
    await forget(world)
    allocate = Node.allocate

    def refuse(*_: object, **__: object) -> tuple[Output, Lease | Refusal | None]:
        return Output(), AWAY

    monkeypatch.setattr(Node, "allocate", refuse)
    await world.start()
    (listed,) = world.endpoints.listed()
    assert listed["claimed"] is False and listed["addresses"] == answer["addresses"]
    assert world.announced() == [] and world.links() != []
    (row,) = world.adoption.described()
    assert row["endpoint"] == answer["endpoint"] and "host-c" in str(row["why"])
    (notice,) = world.adoption.notices()
    assert "web" in str(notice["what"]) and "host-c" in str(notice["why"])
    await world.crash()
    await world.start()
    assert len(world.adoption.described()) == 1, "no start forgets it"
    monkeypatch.setattr(Node, "allocate", allocate)
    await world.adoption.claim_back()
    assert world.endpoints.listed() == [answer] and len(world.announced()) == 1
    assert world.adoption.described() == world.adoption.notices() == []


async def test_a_row_whose_address_went_elsewhere_does_not_keep_the_daemon_from_starting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = await attached(world)
    await world.crash()

    def foreign(*_: object) -> Output:
        raise Refusal("the endpoint was not announced", "10.32.0.2/24 is not in a range of this peer", "x", "foreign")

    monkeypatch.setattr(Node, "set_endpoint", foreign)
    monkeypatch.setattr(Node, "allocate", lambda *_, **__: (Output(), AWAY))
    await world.start()
    (row,) = world.adoption.described()
    assert row["endpoint"] == answer["endpoint"] and row["why"] == f"{AWAY.what}: {AWAY.why}"


async def test_a_link_of_another_mesh_or_without_words_is_deleted(world: World) -> None:
    alias = world.netlink.links[f"mv{(await attached(world))['endpoint']}"].alias
    await forget(world)
    world.netlink = _renamed(world.netlink, alias)
    await world.start()
    assert world.is_empty()


def _renamed(netlink: MemoryNetlink, alias: str) -> MemoryNetlink:
    words = alias.split(" ")
    words[1] = "ffffffff"
    for name, link in netlink.links.items():
        netlink.links[name] = replace(link, alias=" ".join(words)) if link.alias else link
    return netlink


async def test_a_network_that_is_not_known_yet_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = await attached(world)
    await forget(world)
    networks = Node.networks
    await world.start(reconcile=False)
    await world.adoption.adopt()
    monkeypatch.setattr(Node, "networks", lambda _: [])
    await world.networks.unserve(1)
    await world.endpoints.reconcile()
    await world.adoption.claim_back()
    (row,) = world.adoption.described()
    assert "network number 1" in str(row["why"]) and world.links() != []
    monkeypatch.setattr(Node, "networks", networks)
    await world.adoption.claim_back()
    assert world.endpoints.listed() == [answer]
    assert world.netlink.links[f"mv{answer['endpoint']}"].master == bridge_name(1)


async def test_links_that_are_somebody_elses_are_left_alone(world: World) -> None:
    answer = await attached(world)
    name = f"mv{answer['endpoint']}"
    await forget(world)
    await world.start(reconcile=False)
    await world.adoption.adopt([name])
    await world.endpoints.reconcile([name])
    assert world.endpoints.listed() == [] and name in world.netlink.links


async def test_more_than_are_asked_for_at_once_all_get_their_addresses(world: World) -> None:
    for number in range(40):
        await attached(world, target=f"w{number}")
    await forget(world)
    await world.start()
    assert len(world.leases()) == len(world.announced()) == 40 and world.adoption.described() == []
