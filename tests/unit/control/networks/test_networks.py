"""Networks served here: devices made or adopted, the forwarder's table a copy that can be sent anew."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator

import pytest

from gossip.state.address_bodies import NetworkBody
from meshnet.boundary import AddNetwork, DropNetwork, EndpointRow, NetworkRow, SetEndpoints, Verb, encode
from meshnet.control.networks.networks import (
    ENDPOINTS_PER_VERB,
    GSO_MAX_BYTES,
    Networks,
    bridge_name,
    device_mac,
    tap_name,
)
from meshnet.host.errors import HostError, refused
from meshnet.host.memory import MemoryNetlink
from meshnet.host.tap import Tap

OWN, PEER, OTHER = b"o" * 32, b"p" * 32, b"q" * 32
BODY = NetworkBody(number=7, name="default", pools=["10.32.0.0/12"], mtu=1450)
BRIDGE, TAP = "mn00000007", "mt00000007"
MAC = b"\x02\0\0\0\0\1"


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class World:
    """Networks over a host in memory; `sent` is what the forwarder was told."""

    def __init__(self) -> None:
        self.netlink = MemoryNetlink()
        self.sent: list[tuple[Verb, tuple[int, ...]]] = []
        self.opened: dict[str, int] = {}
        self.features = 31
        self.notes: list[str] = []
        self._others: list[socket.socket] = []
        self.networks = Networks(OWN, self.netlink, self.send, self.open)

    def send(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        encode(verb)
        assert all(is_open(descriptor) for descriptor in descriptors)
        self.sent.append((verb, descriptors))

    def open(self, name: str) -> Tap:
        """As the kernel: one device of a name, gone with its last descriptor."""
        if name in self.opened and is_open(self.opened[name]):
            raise refused(f"cannot create TAP {name}", errno.EBUSY)
        self.netlink.links.pop(name, None)
        self.netlink.add_tap(name)
        ours, other = socket.socketpair()
        self._others.append(other)
        self.opened[name] = ours.detach()
        return Tap(self.opened[name], name, self.features, list(self.notes))

    def verbs(self) -> list[Verb]:
        found = [verb for verb, _ in self.sent]
        self.sent.clear()
        return found

    def close(self) -> None:
        self.networks.close()
        for other in self._others:
            other.close()


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    yield made
    made.close()


def test_names_are_those_of_the_number_and_macs_of_the_peer() -> None:
    assert (bridge_name(7), tap_name(7)) == (BRIDGE, TAP)
    assert max(len(bridge_name(0xFFFFFFFF)), len(tap_name(0xFFFFFFFF))) <= 15
    macs = {device_mac(peer, label) for peer in (OWN, PEER) for label in ("mn1", "mt1")}
    assert len(macs) == 4 and all(len(mac) == 6 and mac[0] == 2 for mac in macs)
    assert device_mac(OWN, "x") == device_mac(OWN, "x")


async def test_a_network_gets_its_devices_and_the_forwarder_its_tap(world: World) -> None:
    await world.networks.serve(BODY)
    bridge, tap = world.netlink.links[BRIDGE], world.netlink.links[TAP]
    assert (bridge.kind, bridge.mtu, bridge.up, bridge.mac) == ("bridge", 1450, True, device_mac(OWN, BRIDGE))
    assert (tap.master, tap.mtu, tap.up, tap.mac) == (BRIDGE, 1450, True, device_mac(OWN, TAP))
    assert world.netlink.gso_max[TAP] == GSO_MAX_BYTES
    (add, rights), (endpoints, none) = world.sent
    assert add == AddNetwork(number=7, device=TAP, mtu=1450, features=31) and rights == (world.opened[TAP],)
    assert endpoints == SetEndpoints(number=7, endpoints=[], replace=True) and none == ()
    assert world.networks.is_served(7) and not world.networks.is_served(8)


async def test_serving_again_makes_nothing_twice(world: World) -> None:
    await world.networks.serve(BODY)
    world.verbs()
    await world.networks.serve(BODY)
    assert world.verbs() == []


async def test_endpoints_known_before_the_network_are_installed_with_it(world: World) -> None:
    world.networks.set_endpoint(7, MAC, PEER)
    world.networks.set_endpoint(7, b"\x02" + bytes(5), OTHER)
    world.networks.drop_endpoint(7, b"\x02" + bytes(5), OTHER)
    assert world.verbs() == []
    await world.networks.serve(BODY)
    assert world.verbs()[-1] == SetEndpoints(number=7, endpoints=[EndpointRow(MAC, PEER)], replace=True)


async def test_endpoints_come_and_go(world: World) -> None:
    await world.networks.serve(BODY)
    world.verbs()
    world.networks.set_endpoint(7, MAC, PEER)
    world.networks.set_endpoint(7, MAC, b"")
    world.networks.drop_endpoint(7, MAC, PEER)
    world.networks.drop_endpoint(7, MAC, b"")
    world.networks.drop_endpoint(7, MAC, b"")
    assert world.verbs() == [
        SetEndpoints(number=7, endpoints=[EndpointRow(MAC, PEER)]),
        SetEndpoints(number=7, endpoints=[EndpointRow(MAC, b"")]),
        SetEndpoints(number=7, endpoints=[], gone=[MAC]),
    ]


async def test_a_fresh_forwarder_is_told_all_of_every_network(world: World) -> None:
    await world.networks.serve(BODY)
    await world.networks.serve(NetworkBody(number=8, name="other", pools=["10.0.0.0/24"], mtu=9000))
    owners = {b"\x02" + number.to_bytes(5): PEER for number in range(2 * ENDPOINTS_PER_VERB + 1)}
    for mac, owner in owners.items():
        world.networks.set_endpoint(7, mac, owner)
    world.sent.clear()
    world.networks.reinstall()
    told: dict[int, dict[bytes, bytes]] = {}
    for verb, rights in world.sent:
        if isinstance(verb, AddNetwork):
            assert rights == (world.opened[verb.device],) and verb.number not in told
        elif isinstance(verb, SetEndpoints):
            if verb.replace:
                told[verb.number] = {}
            told[verb.number].update({row.mac: row.peer for row in verb.endpoints})
    assert told == {7: owners, 8: {}}


async def test_a_table_is_told_again_without_its_device(world: World) -> None:
    await world.networks.serve(BODY)
    world.networks.set_endpoint(7, MAC, PEER)
    world.sent.clear()
    world.networks.refill()
    assert world.verbs() == [SetEndpoints(number=7, endpoints=[EndpointRow(MAC, PEER)], replace=True)]


async def test_the_device_of_a_running_forwarder_is_used_again(world: World) -> None:
    held, other = socket.socketpair()
    world.netlink.add_tap(TAP)
    world.networks.adopt([(NetworkRow(7, TAP, 1450, 3), held.fileno())])
    await world.networks.serve(BODY)
    add, rights = world.sent[0]
    assert add == AddNetwork(number=7, device=TAP, mtu=1450, features=3) and rights == (held.fileno(),)
    assert world.opened == {} and world.networks.features == 3
    held.detach()
    other.close()


async def test_features_are_what_every_tap_takes(world: World) -> None:
    assert world.networks.features == 31
    await world.networks.serve(BODY)
    world.features = 7
    world.notes = ["TAP: no UDP segmentation", "TAP: no UDP segmentation"]
    await world.networks.serve(NetworkBody(number=8, name="other", pools=["10.0.0.0/24"], mtu=1500))
    assert world.networks.features == 7
    assert list(world.networks.notes) == ["TAP: no UDP segmentation"]


@pytest.mark.parametrize("verb", ["ensure_bridge", "configure_tap"])
async def test_a_network_that_could_not_be_made_can_be_made_later(world: World, verb: str) -> None:
    world.netlink.fail_next(verb, refused("cannot make it", errno.EPERM))
    with pytest.raises(HostError):
        await world.networks.serve(BODY)
    assert not world.networks.is_served(7) and world.verbs() == []
    await world.networks.serve(BODY)
    assert world.networks.is_served(7) and len(world.verbs()) == 2


async def test_closing_closes_this_processs_descriptors_alone(world: World) -> None:
    await world.networks.serve(BODY)
    world.verbs()
    world.networks.close()
    assert not is_open(world.opened[TAP]) and TAP in world.netlink.links and world.verbs() == []


async def test_stopping_removes_every_device_of_ours_and_no_other(world: World) -> None:
    await world.networks.serve(BODY)
    await world.netlink.ensure_bridge("docker0", 1500, bytes(6))
    await world.netlink.ensure_bridge("mn000000ff", 1500, bytes(6))
    world.verbs()
    await world.networks.remove_all()
    assert sorted(world.netlink.links) == ["docker0"]
    assert world.verbs() == [DropNetwork(number=7)] and not is_open(world.opened[TAP])
