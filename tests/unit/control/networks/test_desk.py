"""Which networks are served here: durable first, refused where they clash, given up only when nobody uses them."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from gossip.errors import Refusal
from gossip.events import Lease
from meshnet.boundary import AddNetwork, DropNetwork
from meshnet.control.networks.desk import SPACE, NetworkDesk, clash
from meshnet.control.pending import Pending
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import refused
from tests.unit.control.fake_core import DEFAULT, WEB, Bench

BRIDGE, TAP = "mn0000beef", "mt0000beef"


class Room(Bench):
    """A desk on the bench."""

    def __init__(self) -> None:
        super().__init__()
        self.notices: list[tuple[str, str, str]] = []
        self.desk = self.anew()

    def anew(self) -> NetworkDesk:
        desk = NetworkDesk(self.node, self.runner, Pending(self.runner), self.store, self.netlink, self.networks)
        desk.notice = lambda what, why, fix: self.notices.append((what, why, fix))
        return desk

    @property
    def devices(self) -> list[str]:
        return sorted(self.netlink.links)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.close()


async def test_creating_founds_serves_and_stores(room: Room) -> None:
    room.core.answer = WEB
    answer = await room.desk.create("web", ["10.77.0.0/16"], 9000)
    assert answer == {
        "schema": "meshnet.network/v1",
        "name": "web",
        "number": WEB.number,
        "pools": ["10.77.0.0/16"],
        "mtu": 9000,
        "served": True,
        "members": [],
        "endpoints": 0,
        "owned": ["10.77.0.0-10.77.255.255"],
    }
    assert room.core.asked == [("create", "web", ("10.77.0.0/16",), 9000)]
    assert room.devices == [BRIDGE, TAP]
    assert list(room.rows.rows) == [(SPACE, b"web")]
    await room.desk.create("web", [], None)
    assert [type(verb) for verb in room.sent].count(AddNetwork) == 1


async def test_a_row_is_there_before_the_devices_and_gone_when_they_cannot_be_made(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    room.netlink.fail_next("ensure_bridge", refused("cannot make bridge", 1))
    with pytest.raises(MeshnetError, match="cannot make bridge"):
        await room.desk.serve("web")
    assert (room.rows.rows, room.desk.is_wanted(WEB)) == ({}, False)


@pytest.mark.parametrize(("subnets", "mtu"), [(["10.78.0.0/16"], None), ([], 1400)])
async def test_an_existing_network_with_other_settings_is_named(
    room: Room, subnets: list[str], mtu: int | None
) -> None:
    room.core.answer = WEB
    with pytest.raises(MeshnetError, match=r"10\.77\.0\.0/16 and MTU 9000"):
        await room.desk.create("web", subnets, mtu)
    assert room.devices == []


async def test_a_pool_that_a_host_route_overlaps_is_refused_before_anybody_is_asked(room: Room) -> None:
    room.netlink.host_routes = [("10.77.3.0/24", "eth1")]
    with pytest.raises(MeshnetError, match=r"10\.77\.3\.0/24 dev eth1"):
        await room.desk.create("web", ["10.77.0.0/16"], None)
    assert room.core.asked == []


async def test_our_own_bridges_routes_overlap_nothing(room: Room) -> None:
    room.core.answer = WEB
    room.netlink.host_routes = [("10.77.0.0/16", "mn000000aa")]
    await room.desk.create("web", ["10.77.0.0/16"], None)


async def test_a_derived_pool_that_overlaps_is_taken_back(room: Room) -> None:
    room.core.answer = WEB
    room.netlink.host_routes = [("10.77.0.0/16", "eth1")]
    with pytest.raises(MeshnetError, match="--subnet"):
        await room.desk.create("web", [], None)
    assert room.core.asked[1:] == [("remove", WEB.number)]
    assert room.rows.rows == {}


async def test_another_peers_network_that_overlaps_stays(room: Room) -> None:
    room.core.answer = room.core.known[WEB.number] = WEB
    room.netlink.host_routes = [("10.77.0.0/16", "eth1")]
    for call in (room.desk.create("web", [], None), room.desk.serve("web")):
        with pytest.raises(MeshnetError, match="overlaps a route"):
            await call
    assert WEB.number in room.core.known


async def test_an_unknown_network_is_not_found(room: Room) -> None:
    for call in (room.desk.serve("web"), room.desk.unserve("web"), room.desk.remove("web", True)):
        with pytest.raises(MeshnetError) as caught:
            await call
        assert caught.value.code is ExitCode.NOT_FOUND


async def test_the_default_network_stays(room: Room) -> None:
    for everywhere in (False, True):
        with pytest.raises(MeshnetError, match="default network stays"):
            await room.desk.remove("default", everywhere)


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_network_in_use_is_refused_naming_the_endpoint(room: Room, everywhere: bool) -> None:
    room.core.known[WEB.number] = WEB
    await room.desk.serve("web")
    room.desk.users.append(lambda number: [f"endpoint 0a (web, {number})"])
    with pytest.raises(MeshnetError, match=f"endpoint 0a .web, {WEB.number}."):
        await room.desk.remove("web", everywhere)
    assert room.devices == [BRIDGE, TAP] and ("remove", WEB.number) not in room.core.asked


async def test_a_lease_that_nobody_names_is_a_use_too(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    room.core.given = [Lease(WEB.number, "10.77.0.9/16", 1), Lease(1, "10.32.0.9/12", 1)]
    with pytest.raises(MeshnetError, match=r"address 10\.77\.0\.9/16"):
        await room.desk.unserve("web")


async def test_removing_here_takes_devices_and_row_and_leaves_the_network(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    await room.desk.serve("web")
    room.networks.set_endpoint(WEB.number, b"\2\0\0\0\0\1", b"p" * 32)
    answer = await room.desk.remove("web", False)
    assert answer["schema"] == "meshnet.removed/v1"
    assert (room.devices, room.rows.rows) == ([], {})
    assert room.sent[-1] == DropNetwork(number=WEB.number)
    await room.desk.serve("web")
    assert msgspec.structs.asdict(room.sent[-1])["endpoints"], "what gossip said meanwhile must not be lost"


async def test_removing_everywhere_asks_the_core_and_passes_its_refusal_on(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    await room.desk.serve("web")
    room.core.refusal = Refusal("network web stays", "host-b has endpoints in it", "detach them there", "in-use")
    with pytest.raises(MeshnetError, match="host-b"):
        await room.desk.remove("web", True)
    assert room.devices == [BRIDGE, TAP]
    room.core.refusal = None
    await room.desk.remove("web", True)
    assert room.devices == [] and WEB.number not in room.core.known


async def test_what_is_served_is_served_again_after_a_start_and_nothing_else(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    assert room.desk.is_wanted(DEFAULT) and not room.desk.is_wanted(WEB)
    await room.desk.seen(WEB)
    assert room.devices == []
    await room.desk.serve("web")
    again = room.anew()
    assert again.is_wanted(WEB)


async def test_a_route_that_came_later_is_a_notice_and_stops_nothing(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    await room.desk.serve("web")
    room.netlink.host_routes = [("10.77.0.0/24", "tun0")]
    await room.desk.seen(WEB)
    assert [what for what, _, _ in room.notices] == ["network web overlaps a route of this host"]


async def test_devices_that_cannot_be_made_after_a_start_are_a_notice_but_for_the_default_network(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    await room.desk.serve("web")
    await room.networks.unserve(WEB.number)
    room.netlink.fail_next("ensure_bridge", refused("cannot make bridge", 1))
    await room.desk.seen(WEB)
    assert room.notices[0][0] == "network web is not served"
    room.netlink.fail_next("ensure_bridge", refused("cannot make bridge", 1))
    with pytest.raises(Exception, match="cannot make bridge"):
        await room.desk.seen(DEFAULT)


async def test_a_network_that_went_from_the_mesh_goes_here(room: Room) -> None:
    room.core.known[WEB.number] = WEB
    await room.desk.serve("web")
    room.desk.users.append(lambda number: ["endpoint 0a"])
    del room.core.known[WEB.number]
    await room.desk.gone(WEB)
    assert (room.devices, room.rows.rows) == ([], {})
    assert "endpoint 0a" in room.notices[0][1]
    await room.desk.gone(WEB)


def test_clash_names_the_first_route_of_the_same_family() -> None:
    routes = [("fd00::/8", "eth0"), ("10.0.0.0/8", "eth1"), ("10.1.0.0/16", "eth2")]
    assert clash(["192.0.2.0/24", "10.1.2.0/24"], routes) == "10.0.0.0/8 dev eth1"
    assert clash(["fd12::/64"], routes) == "fd00::/8 dev eth0"
    assert clash(["192.0.2.0/24"], routes) is None


@pytest.mark.parametrize(
    ("pools", "said"),
    [
        (["10.77.0.0/16", "10.77.4.0/24"], "overlaps --subnet 10.77.0.0/16"),
        (["10.77.0.0/24", "10.77.0.0/24"], "overlaps --subnet 10.77.0.0/24"),
        (["10.77.0.0/31"], "/8 to /29"),
        (["10.77.0.4/32"], "/8 to /29"),
        (["fd00::/64"], "is not an IPv4 range"),
        (["fd00::/127"], "is not an IPv4 range"),
    ],
)
async def test_pools_that_no_network_can_have_are_refused_before_the_core_is_asked(
    room: Room, pools: list[str], said: str
) -> None:
    with pytest.raises(MeshnetError, match=said) as error:
        await room.desk.create("web", pools, None)
    assert error.value.code is ExitCode.USAGE and room.core.asked == []
