"""The host's own address on a network: leased, stored, on the bridge, announced; and back again."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

import pytest

from gossip.errors import Refusal
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.expose import ENDPOINT_ID, SPACE, Exposures, Parts
from meshnet.control.networks.networks import bridge_name, device_mac
from meshnet.control.networks.passage import Passage
from meshnet.control.pending import Pending
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host.errors import HostError, refused
from meshnet.host.memory import MemoryFirewall
from tests.unit.control.fake_core import OWN, WEB, Bench

BRIDGE = "mn0000beef"
ADDRESS = "10.77.0.2/16"


class Room(Bench):
    """Exposures on the bench, with the network `web` known."""

    def __init__(self) -> None:
        super().__init__()
        self.core.known[WEB.number] = WEB
        self.firewall = MemoryFirewall()
        self.anew()

    def anew(self) -> None:
        pending = Pending(self.runner)
        self.desk = NetworkDesk(self.node, self.runner, pending, self.store, self.netlink, self.networks)
        passage = Passage(self.firewall)
        parts = Parts(self.node, self.runner, pending, self.store, self.netlink, self.networks, self.desk, passage)
        self.exposures = Exposures("host-a", parts)

    @property
    def addresses(self) -> list[str]:
        return list(self.netlink.link_addresses.get(BRIDGE, {}))

    def is_bare(self) -> bool:
        rows = self.rows.load(SPACE)
        return not (self.addresses or rows or self.core.given or self.core.said or self.firewall.masked)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    made = Room()
    yield made
    await made.close()


async def test_exposing_serves_leases_stores_and_announces(room: Room) -> None:
    answer = await room.exposures.expose("web", None, False)
    assert answer == {
        "schema": "meshnet.exposed/v1",
        "network": "web",
        "address": ADDRESS,
        "masquerade": False,
        "device": BRIDGE,
    }
    assert room.core.asked == [("allocate", WEB.number, ENDPOINT_ID, None)]
    assert room.addresses == [ADDRESS] and len(room.rows.load(SPACE)) == 1
    [said] = room.core.said
    assert (said.mac, said.addresses, said.name) == (device_mac(OWN, BRIDGE), [(ADDRESS, 5)], "host host-a")
    assert room.exposures.address_on(WEB.number) == ADDRESS
    assert room.desk.used_by(WEB.number) == [f"this host itself ({ADDRESS})"]


async def test_once_more_changes_masquerading_alone(room: Room) -> None:
    await room.exposures.expose("web", "10.77.0.2", False)
    await room.exposures.expose("web", None, True)
    assert room.firewall.masked == WEB.pools
    assert (await room.exposures.expose("web", "10.77.0.2", False))["masquerade"] is False
    assert room.firewall.masked == [] and len(room.core.asked) == 1
    with pytest.raises(MeshnetError, match="hide --network web"):
        await room.exposures.expose("web", "10.77.0.3", False)


async def test_hiding_gives_everything_back(room: Room) -> None:
    await room.exposures.expose("web", None, True)
    answer = await room.exposures.hide("web")
    assert (answer["schema"], answer["address"]) == ("meshnet.hidden/v1", ADDRESS)
    assert room.is_bare() and room.desk.used_by(WEB.number) == []
    for name in ("web", "nothing"):
        with pytest.raises(MeshnetError) as caught:
            await room.exposures.hide(name)
        assert caught.value.code is ExitCode.NOT_FOUND


async def test_an_overlap_with_another_exposed_network_is_refused(room: Room) -> None:
    room.netlink.host_routes = [("10.77.0.0/20", "mn000000aa")]
    with pytest.raises(MeshnetError, match=r"10\.77\.0\.0/20 dev mn000000aa"):
        await room.exposures.expose("web", None, False)
    assert room.is_bare()


@pytest.mark.parametrize("verb", ["set_gso_max", "add_address"])
async def test_what_the_kernel_refuses_leaves_nothing(room: Room, verb: str) -> None:
    room.netlink.fail_next(verb, refused("the kernel says no", errno.EPERM))
    with pytest.raises(MeshnetError, match="the kernel says no"):
        await room.exposures.expose("web", None, True)
    assert room.is_bare()


async def test_a_refused_lease_or_masquerade_leaves_nothing(room: Room) -> None:
    room.firewall.error = HostError("cannot masquerade", "no nft", "install it")
    with pytest.raises(MeshnetError, match="cannot masquerade"):
        await room.exposures.expose("web", None, True)
    room.core.lease_answer = Refusal("no address was leased", "taken", "choose another", "taken")
    with pytest.raises(MeshnetError, match="no address was leased"):
        await room.exposures.expose("web", "10.77.0.9", False)
    room.firewall.error = None
    assert room.is_bare()


async def test_a_start_brings_the_address_back_and_the_rules_stay_known(room: Room) -> None:
    await room.exposures.expose("web", None, True)
    await room.networks.unserve(WEB.number)
    room.core.said.clear()
    room.anew()
    await room.desk.seen(WEB)
    await room.exposures.restore()
    assert room.addresses == [ADDRESS] and len(room.core.said) == 1
    assert room.exposures.masked() == WEB.pools


async def test_an_exposure_on_a_network_that_is_gone_ends_at_the_next_start(room: Room) -> None:
    await room.exposures.expose("web", None, True)
    del room.core.known[WEB.number]
    await room.networks.unserve(WEB.number)
    room.anew()
    await room.exposures.restore()
    assert room.is_bare() and room.exposures.address_on(WEB.number) is None


async def test_a_crash_before_the_lease_leaves_a_row_that_the_next_start_ends(room: Room) -> None:
    room.core.lease_answer = None  # nobody answers, and then the daemon dies
    begun = room.exposures._parts.store
    await room.exposures._save(WEB.number, room.exposures._blank())
    assert begun.load(SPACE)
    room.anew()
    await room.desk.serve("web")
    await room.exposures.restore()
    assert room.is_bare()


async def test_leaving_hides_all(room: Room) -> None:
    await room.exposures.expose("web", None, True)
    await room.exposures.hide_all()
    assert room.is_bare() and bridge_name(WEB.number) in room.netlink.links


async def test_what_it_holds_and_says_is_named_while_it_stands(room: Room) -> None:
    assert list(room.exposures.held()) == list(room.exposures.said()) == []
    await room.exposures.expose("web", None, False)
    assert list(room.exposures.held()) == [(WEB.number, ENDPOINT_ID)]
    assert list(room.exposures.said()) == [(WEB.number, room.core.said[0].mac)]


async def test_an_address_that_went_elsewhere_does_not_keep_the_daemon_from_starting(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    await room.exposures.expose("web", None, False)
    room.anew()

    def foreign(*_: object) -> object:
        raise Refusal("the endpoint was not announced", f"{ADDRESS} is not in a range of this peer", "x", "foreign")

    monkeypatch.setattr(room.core, "set_endpoint", foreign)
    await room.exposures.restore()
    assert room.exposures.address_on(WEB.number) == ADDRESS, "it is for the operator to take it back"
