"""Every call of the network driver, with libnetwork's own spelling and with what its engines really send."""

from __future__ import annotations

from typing import Any

import pytest

from docker_plugin.backend import Claim, NetworkPool, NetworkRequest
from tests.unit.docker_plugin.backend_double import LINK
from tests.unit.docker_plugin.conftest import Plugin

NET, END = "9c" * 32, "1f" * 32
IDS = {"NetworkID": NET, "EndpointID": END}
IPV4: dict[str, Any] = {
    "AddressSpace": "meshnet-local",
    "Pool": "10.77.0.0/16",
    "Gateway": "10.77.0.1/16",
    "AuxAddresses": {"router": "10.77.1.5/16", "none": "<nil>"},
}


def create(options: object = None, ipv4: object = None, ipv6: object = None) -> dict[str, object]:
    generic = {"com.docker.network.enable_ipv6": False, "com.docker.network.generic": options or {}}
    return {"NetworkID": NET, "Options": generic, "IPv4Data": [IPV4] if ipv4 is None else ipv4, "IPv6Data": ipv6}


async def test_capabilities(plugin: Plugin) -> None:
    answer = await plugin.good("/NetworkDriver.GetCapabilities")
    assert answer == {"Scope": "local", "ConnectivityScope": "global", "GwAllocChecker": True}


async def test_no_gateway_needs_an_address(plugin: Plugin) -> None:
    answer = await plugin.good("/NetworkDriver.GwAllocCheck", {"Options": {}})
    assert answer == {"SkipIPv4": True, "SkipIPv6": True}


async def test_create_network(plugin: Plugin) -> None:
    options = {"meshnet.network": "web", "com.docker.network.driver.mtu": "1400", "someone.else": "kept"}
    assert await plugin.good("/NetworkDriver.CreateNetwork", create(options)) == {}
    pool = NetworkPool("meshnet-local", "10.77.0.0/16", ("10.77.1.5",))
    assert plugin.backend.calls == [("create_network", NetworkRequest(NET, "web", (pool,), 1400, False))]


async def test_create_network_as_28_sends_it(plugin: Plugin) -> None:
    bare = {"AddressSpace": "LocalDefault", "Pool": "172.19.0.0/16"}
    body: dict[str, Any] = create(
        ipv4=[bare, {**bare, "Pool": "172.20.0.0/16"}], ipv6=[{"AddressSpace": "x", "Pool": "fd00::/64"}]
    )
    options = body["Options"]
    assert isinstance(options, dict)
    options |= {"com.docker.network.enable_ipv4": True, "com.docker.network.internal": True}
    assert await plugin.good("/NetworkDriver.CreateNetwork", body) == {}
    [(_, request)] = plugin.backend.calls
    assert [pool.cidr for pool in request.pools] == ["172.19.0.0/16", "172.20.0.0/16", "fd00::/64"]
    assert (request.internal, request.network, request.mtu) == (True, None, None)


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({"meshnet.netwrok": "web"}, "meshnet.netwrok"),
        ({"meshnet.network": ""}, "empty"),
        ({"com.docker.network.driver.mtu": "many"}, "mtu=many"),
        ({"com.docker.network.driver.mtu": "99999"}, "99999"),
        ({"com.docker.network.driver.mtu": "-5"}, "-5"),
    ],
)
async def test_a_wrong_option_is_refused_by_name(plugin: Plugin, options: object, names: str) -> None:
    status, text = await plugin.bad("/NetworkDriver.CreateNetwork", create(options))
    assert status == 500 and names in text and plugin.backend.calls == []


@pytest.mark.parametrize("ipv4", [[], [{"Pool": "0.0.0.0/0"}], [{"Pool": "<nil>"}], [{}]])
async def test_a_network_without_addresses_is_refused(plugin: Plugin, ipv4: object) -> None:
    status, text = await plugin.bad("/NetworkDriver.CreateNetwork", create(ipv4=ipv4))
    assert status == 500 and "--ipam-driver" in text


@pytest.mark.parametrize(
    "body",
    [
        create(ipv4=[{"Pool": "10.0.0.0/99"}]),
        create(ipv4=[{**IPV4, "AuxAddresses": {"a": "x"}}]),
        create(ipv4="10.0.0.0/8"),
        create(options={"meshnet.network": 7}),
        {**create(), "NetworkID": ""},
        {**create(), "NetworkID": "x" * 300},
        {**create(), "Options": []},
    ],
)
async def test_what_docker_never_sends_is_400(plugin: Plugin, body: object) -> None:
    assert (await plugin.bad("/NetworkDriver.CreateNetwork", body))[0] == 400
    assert plugin.backend.calls == []


async def test_a_swarms_manager_gets_its_options_back(plugin: Plugin) -> None:
    body: dict[str, object] = {
        "NetworkID": "abc",
        "Options": {"meshnet.network": "web"},
        "IPv4Data": [],
        "IPv6Data": None,
    }
    assert await plugin.good("/NetworkDriver.AllocateNetwork", body) == {"Options": {"meshnet.network": "web"}}
    assert await plugin.good("/NetworkDriver.FreeNetwork", {"NetworkID": "abc"}) == {}


@pytest.mark.parametrize("interface", [{"Address": "10.77.0.2/16"}, {"Address": "10.77.0.2/16", "MacAddress": ""}])
async def test_create_endpoint_answers_the_mac_alone(plugin: Plugin, interface: object) -> None:
    answer = await plugin.good("/NetworkDriver.CreateEndpoint", {**IDS, "Interface": interface, "Options": None})
    assert answer == {"Interface": {"MacAddress": "02:42:ac:13:00:02"}}
    assert plugin.backend.calls == [("create_endpoint", (NET, END, Claim(("10.77.0.2/16",), None, {})))]


async def test_create_endpoint_answers_nothing_that_docker_chose(plugin: Plugin) -> None:
    interface = {"Address": "10.77.0.2/16", "AddressIPv6": "fd00::2/64", "MacAddress": "02:42:0a:4d:00:09"}
    assert await plugin.good("/NetworkDriver.CreateEndpoint", {**IDS, "Interface": interface}) == {}
    [(_, (_, _, claim))] = plugin.backend.calls
    assert claim.addresses == ("10.77.0.2/16", "fd00::2/64")
    assert claim.mac == bytes.fromhex("02420a4d0009")


@pytest.mark.parametrize(
    ("interface", "status"),
    [
        ({"MacAddress": "02:42"}, 400),
        ({"MacAddress": "02:42:ac:13:00:0g"}, 400),
        ({"MacAddress": "02:42:ac:13:00:002"}, 400),
        ({"MacAddress": "03:42:ac:13:00:02"}, 500),
        ({"MacAddress": "00:00:00:00:00:00"}, 500),
        ({"Address": "not an address"}, 400),
        ({"AddressIPv6": "10.0.0.1/99"}, 400),
        (7, 400),
    ],
)
async def test_a_wrong_interface_is_refused(plugin: Plugin, interface: object, status: int) -> None:
    assert (await plugin.bad("/NetworkDriver.CreateEndpoint", {**IDS, "Interface": interface}))[0] == status
    assert plugin.backend.calls == []


async def test_join_names_the_link_and_no_gateway(plugin: Plugin) -> None:
    answer = await plugin.good("/NetworkDriver.Join", {**IDS, "SandboxKey": "/var/run/docker/netns/1", "Options": {}})
    assert answer == {"InterfaceName": {"SrcName": LINK, "DstPrefix": "eth"}, "DisableGatewayService": False}


async def test_joining_an_unknown_endpoint_is_500_not_404(plugin: Plugin) -> None:
    assert (await plugin.bad("/NetworkDriver.Join", {**IDS, "EndpointID": "unknown"}))[0] == 500


@pytest.mark.parametrize("method", ["DeleteEndpoint", "Leave", "ProgramExternalConnectivity"])
async def test_ending_calls_succeed_for_anything(plugin: Plugin, method: str) -> None:
    for _ in range(2):
        assert await plugin.good(f"/NetworkDriver.{method}", IDS) == {}
    assert await plugin.good("/NetworkDriver.RevokeExternalConnectivity", IDS) == {}
    assert await plugin.good("/NetworkDriver.DeleteNetwork", {"NetworkID": NET}) == {}


async def test_operational_information_is_empty(plugin: Plugin) -> None:
    assert await plugin.good("/NetworkDriver.EndpointOperInfo", IDS) == {"Value": {}}


async def test_discovery_is_taken_and_needs_nothing(plugin: Plugin) -> None:
    data = {"Address": "10.0.0.2", "BindAddress": "0.0.0.0", "Self": True}
    for method in ("DiscoverNew", "DiscoverDelete"):
        assert await plugin.good(f"/NetworkDriver.{method}", {"DiscoveryType": 1, "DiscoveryData": data}) == {}
