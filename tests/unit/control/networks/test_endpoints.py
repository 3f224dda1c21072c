"""The life of an endpoint: leased, linked, confirmed, announced; or undone with nothing of it left, by a crash too."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gossip.errors import Refusal
from gossip.events import Output
from meshnet.boundary import EndpointRow, SetEndpoints
from meshnet.control.api.requests import EndpointRequest
from meshnet.control.networks import endpoints as module
from meshnet.control.networks.endpoint_rows import SPACE
from meshnet.control.networks.networks import GSO_MAX_BYTES, bridge_name
from meshnet.control.store.row import PutLike
from meshnet.control.store.store import StoreError
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import refused
from tests.unit.control.networks.endpoint_host import World
from tests.unit.forwarder.fakes import until


def request(target: str = "web", netns: str = "4:1", ifname: str = "mesh0", ip: str | None = None) -> EndpointRequest:
    return EndpointRequest(target=target, netns=netns, network="default", ip=ip, ifname=ifname)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path / "state.db")
    await made.start()
    yield made
    await made.close()


async def made(world: World, **changes: str) -> str:
    answer = await world.endpoints.make(request(**changes))
    return str(answer["endpoint"])


async def test_making_leases_an_address_and_makes_the_link_and_announces_nothing(world: World) -> None:
    answer = await world.endpoints.make(request())
    endpoint = str(answer["endpoint"])
    assert answer["schema"] == "meshnet.endpoint/v1" and answer["network"] == "default" and answer["mtu"] == 1450
    assert (answer["link"], answer["ifname"], answer["routes"]) == (f"mp{endpoint}", "mesh0", ["224.0.0.0/4"])
    assert answer["confirmed"] is False and answer["target"] == "web" and answer["netns"] == "4:1"
    host, peer = world.netlink.links[f"mv{endpoint}"], world.netlink.links[f"mp{endpoint}"]
    assert (host.master, host.mtu, host.up) == (bridge_name(1), 1450, True)
    assert (peer.mac.hex(":"), peer.mtu, peer.up) == (answer["mac"], 1450, False)
    assert world.netlink.gso_max[peer.name] == GSO_MAX_BYTES
    (lease,) = world.leases()
    assert answer["addresses"] == [lease.address] and lease.address.endswith("/24")
    assert world.announced() == [] and world.endpoints.listed() == [answer]


async def test_confirming_announces_to_the_mesh_and_to_the_forwarder(world: World) -> None:
    endpoint = await made(world)
    world.sent.clear()
    answer = await world.endpoints.confirm(endpoint)
    (lease,) = world.leases()
    mac = bytes.fromhex(str(answer["mac"]).replace(":", ""))
    assert answer["confirmed"] is True
    assert world.announced() == [(mac, [(lease.address, lease.number)], "web")]
    assert world.sent == [SetEndpoints(number=1, endpoints=[EndpointRow(mac, b"")])]
    assert (await world.endpoints.confirm(endpoint)) == answer, "asked twice, done once"
    assert len(world.announced()) == 1


async def test_an_announcement_that_is_refused_is_said(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = await made(world)

    def refuse(body: object, now: float) -> Output:
        raise Refusal("the endpoint was not announced", "this host does not count", "join anew", "revoked")

    monkeypatch.setattr(world.node, "set_endpoint", refuse)
    with pytest.raises(MeshnetError) as error:
        await world.endpoints.confirm(endpoint)
    assert error.value.code is ExitCode.PERMISSION


async def test_deleting_leaves_nothing_and_gives_the_address_back(world: World) -> None:
    endpoint = await made(world)
    await world.endpoints.confirm(endpoint)
    answer = await world.endpoints.delete(endpoint)
    assert answer["schema"] == "meshnet.detached/v1" and answer["endpoint"] == endpoint
    assert world.is_empty()
    with pytest.raises(MeshnetError) as caught:
        await world.endpoints.delete(endpoint)
    assert caught.value.code is ExitCode.NOT_FOUND


async def test_the_link_is_gone_before_the_address_is_released(world: World) -> None:
    endpoint = await made(world)
    await world.endpoints.confirm(endpoint)
    world.netlink.fail_next("delete_link", refused("cannot delete it", errno.EBUSY))
    with pytest.raises(MeshnetError):
        await world.endpoints.delete(endpoint)
    assert world.links() and len(world.leases()) == 1, "whoever still uses the address must not share it"
    await world.endpoints.delete(endpoint)
    assert world.is_empty()


@pytest.mark.parametrize("text", ["", "zz", "00", "ff" * 5, "ff" * 100])
async def test_an_unknown_endpoint_is_said(world: World, text: str) -> None:
    await made(world)
    for verb in (world.endpoints.confirm, world.endpoints.delete):
        with pytest.raises(MeshnetError, match="no endpoint") as caught:
            await verb(text)
        assert caught.value.code is ExitCode.NOT_FOUND and len(caught.value.what) < 100


async def test_addresses_differ_and_a_wanted_one_is_given_or_refused(world: World) -> None:
    first = await world.endpoints.make(request())
    second = await world.endpoints.make(request(ifname="mesh1", ip="10.32.0.77"))
    assert first["addresses"] != second["addresses"] == ["10.32.0.77/24"]
    cases = [("10.32.0.77", ExitCode.FAILED), ("192.0.2.1", None), ("nonsense", ExitCode.USAGE)]
    for address, code in cases:
        with pytest.raises(MeshnetError) as caught:
            await world.endpoints.make(request(ifname="mesh2", ip=address))
        assert caught.value.fix and code in (None, caught.value.code)
    assert len(world.leases()) == len(world.endpoints.listed()) == 2 and len(world.links()) == 4


async def test_a_network_that_is_not_here_is_said(world: World) -> None:
    with pytest.raises(MeshnetError, match="no network 'other'") as caught:
        await world.endpoints.make(EndpointRequest(target="web", netns="4:1", network="other"))
    assert caught.value.code is ExitCode.NOT_FOUND and world.is_empty()


async def test_one_interface_of_a_name_per_namespace(world: World) -> None:
    await made(world)
    with pytest.raises(MeshnetError, match="already has an interface mesh0"):
        await world.endpoints.make(request())
    await made(world, ifname="mesh1")
    await made(world, netns="4:2")
    assert len(world.endpoints.listed()) == 3 and len(world.endpoints.listed("4:1")) == 2


async def test_of_two_at_the_same_time_one_gets_the_name(world: World) -> None:
    answers = await asyncio.gather(*(world.endpoints.make(request()) for _ in range(3)), return_exceptions=True)
    assert sum(isinstance(answer, MeshnetError) for answer in answers) == 2
    assert len(world.endpoints.listed()) == len(world.leases()) == 1 and len(world.links()) == 2


async def test_many_at_the_same_time_get_different_addresses(world: World) -> None:
    answers = await asyncio.gather(*(world.endpoints.make(request(netns=f"4:{number}")) for number in range(40)))
    assert len({str(answer["addresses"]) for answer in answers}) == len({answer["mac"] for answer in answers}) == 40


async def test_a_link_that_cannot_be_made_leaves_nothing(world: World) -> None:
    world.netlink.fail_next("create_veth", refused("cannot make veth", errno.EPERM))
    with pytest.raises(MeshnetError, match="cannot make veth"):
        await world.endpoints.make(request())
    assert world.is_empty()
    await made(world)


async def test_a_row_that_cannot_be_stored_leaves_no_link(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = world.store.commit

    async def failing(puts: list[PutLike]) -> None:
        if any(put.space == SPACE and put.value is not None for put in puts):
            raise StoreError("cannot write", "No space left on device", "make room")
        await commit(puts)

    monkeypatch.setattr(world.store, "commit", failing)
    with pytest.raises(StoreError):
        await world.endpoints.make(request())
    assert world.is_empty()


async def test_a_caller_that_goes_away_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = asyncio.Event()

    async def forever(*_: object, **__: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(world.netlink, "create_veth", forever)
    making = asyncio.ensure_future(world.endpoints.make(request()))
    async with asyncio.timeout(5):
        await reached.wait()
    making.cancel()
    with pytest.raises(asyncio.CancelledError):
        await making
    assert world.is_empty()


async def test_what_is_never_confirmed_is_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_S", 0.02)
    await made(world)
    assert not world.is_empty()
    await until(world.is_empty)


async def test_what_was_confirmed_is_not_undone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PENDING_S", 0.05)
    kept = await made(world)
    await world.endpoints.confirm(kept)
    await made(world, netns="4:2")
    await until(lambda: len(world.endpoints.listed()) == 1)
    assert world.endpoints.listed()[0]["endpoint"] == kept and len(world.announced()) == 1


async def test_deleting_and_confirming_at_once_ends_in_one_of_the_two(world: World) -> None:
    for _ in range(5):
        endpoint = await made(world)
        await asyncio.gather(
            world.endpoints.confirm(endpoint), world.endpoints.delete(endpoint), return_exceptions=True
        )
        assert world.is_empty()


# --- after a crash


async def test_a_confirmed_endpoint_survives_a_restart(world: World) -> None:
    endpoint = await made(world)
    before = await world.endpoints.confirm(endpoint)
    world.netlink.take_away(f"mp{endpoint}")
    await world.crash()
    await world.start()
    assert world.endpoints.listed() == [before]
    assert [lease.address for lease in world.leases()] == before["addresses"] and len(world.announced()) == 1
    assert world.netlink.links[f"mv{endpoint}"].master == bridge_name(1)


async def test_what_was_not_confirmed_before_a_crash_is_undone(world: World) -> None:
    await made(world)
    await world.crash()
    await world.start()
    assert world.is_empty()


async def test_an_endpoint_whose_link_is_gone_is_released(world: World) -> None:
    endpoint = await made(world)
    await world.endpoints.confirm(endpoint)
    await world.crash()
    await world.netlink.delete_link(f"mv{endpoint}")
    await world.start()
    assert world.is_empty()


async def test_a_link_nobody_knows_is_deleted_and_others_are_left_alone(world: World) -> None:
    endpoint = await made(world)
    await world.endpoints.confirm(endpoint)
    await world.netlink.create_veth(
        "mv00000000ff", "mp00000000ff", mtu=1500, mac=bytes(6), bridge=bridge_name(1), gso_max_size=1
    )
    await world.crash()
    await world.start()
    assert world.links() == [f"mp{endpoint}", f"mv{endpoint}"] and bridge_name(1) in world.netlink.links


@pytest.mark.parametrize("commits", range(5))
async def test_a_crash_at_any_commit_of_making_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, commits: int
) -> None:
    left = commits
    reached = asyncio.Event()
    commit = world.store.commit

    async def mortal(puts: list[PutLike]) -> None:
        nonlocal left
        if left == 0:
            reached.set()
            await asyncio.Event().wait()
        left -= 1
        await commit(puts)

    monkeypatch.setattr(world.store, "commit", mortal)
    making = asyncio.ensure_future(world.endpoints.make(request()))
    await until(lambda: reached.is_set() or making.done())
    await world.die(making)
    await world.start()
    assert world.is_empty(), "an address that nobody has is lost for ever otherwise"


async def test_stopping_removes_links_and_keeps_addresses_until_the_next_start(world: World) -> None:
    endpoint = await made(world)
    await world.endpoints.confirm(endpoint)
    await made(world, netns="4:2")
    await world.endpoints.remove_all()
    assert world.links() == [] and len(world.leases()) == 2
    await world.crash()
    await world.start()
    assert world.is_empty()


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("10.33.0.1", "is outside the network"),
        ("fd00::1", "is outside the network"),
        ("10.32.0.0", "is reserved"),
        ("10.32.0.1", "is reserved"),
        ("10.32.0.255", "is reserved"),
    ],
)
async def test_an_address_nobody_may_have_is_refused_with_the_reason(world: World, address: str, said: str) -> None:
    with pytest.raises(MeshnetError, match=said) as caught:
        await world.endpoints.make(request(ip=address))
    assert caught.value.code is ExitCode.USAGE and world.is_empty()
