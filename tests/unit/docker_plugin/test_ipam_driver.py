"""Every call of the IPAM driver."""

from __future__ import annotations

import pytest

from docker_plugin.backend import PoolRequest
from tests.unit.docker_plugin.conftest import Plugin

POOL = "meshnet-local/web/10.77.0.0/16"
GATEWAY = {"RequestAddressType": "com.docker.network.gateway"}


async def test_capabilities(plugin: Plugin) -> None:
    answer = await plugin.good("/IpamDriver.GetCapabilities")
    assert answer == {"RequiresMACAddress": False, "RequiresRequestReplay": False}


async def test_address_spaces(plugin: Plugin) -> None:
    answer = await plugin.good("/IpamDriver.GetDefaultAddressSpaces")
    assert answer == {"LocalDefaultAddressSpace": "meshnet-local", "GlobalDefaultAddressSpace": "meshnet-global"}


@pytest.mark.parametrize("options", [{"meshnet.network": "web"}, None])
async def test_request_pool(plugin: Plugin, options: dict[str, str] | None) -> None:
    body = {"AddressSpace": "meshnet-local", "Pool": "10.77.0.0/16", "SubPool": "10.77.1.0/24", "V6": False}
    answer = await plugin.good("/IpamDriver.RequestPool", {**body, "Options": options})
    assert answer == {"PoolID": POOL, "Pool": "10.77.0.0/16", "Data": {}}
    wanted = PoolRequest("meshnet-local", "web" if options else None, "10.77.0.0/16", "10.77.1.0/24", False)
    assert plugin.backend.calls == [("request_pool", wanted)]


@pytest.mark.parametrize("pool", ["", "0.0.0.0/24", None])
async def test_any_pool(plugin: Plugin, pool: str | None) -> None:
    body = {"AddressSpace": "meshnet-local", **({} if pool is None else {"Pool": pool})}
    assert (await plugin.good("/IpamDriver.RequestPool", body))["Pool"] == "10.77.0.0/16"
    [(_, request)] = plugin.backend.calls
    assert request.pool is None


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"Pool": "10.77.0.0/33"}, 400),
        ({"Pool": "x"}, 400),
        ({"Pool": "fd00::/64"}, 400),
        ({"Pool": "10.77.0.0/16", "V6": True}, 400),
        ({"SubPool": "10.77.1.0/24"}, 500),
        ({"Pool": "10.77.0.0/16", "SubPool": "10.78.0.0/24"}, 500),
        ({"Pool": "10.77.0.0/16", "SubPool": "fd00::/64"}, 500),
        ({"Pool": "10.77.0.0/16", "Options": {"meshnet.name": "web"}}, 500),
        ({"Pool": "10.77.0.0/16", "Options": {"meshnet.network": ""}}, 500),
        ({"Pool": "10.77.0.0/16", "Options": ["a"]}, 400),
        ({"Pool": 7}, 400),
        ({"V6": "no"}, 400),
    ],
)
async def test_a_wrong_pool_is_refused(plugin: Plugin, body: object, status: int) -> None:
    assert (await plugin.bad("/IpamDriver.RequestPool", body))[0] == status
    assert plugin.backend.calls == []


@pytest.mark.parametrize("options", [None, {}, {"com.docker.network.endpoint.name": "web1"}])
async def test_request_any_address(plugin: Plugin, options: object) -> None:
    answer = await plugin.good("/IpamDriver.RequestAddress", {"PoolID": POOL, "Address": "", "Options": options})
    assert answer == {"Address": "10.77.0.2/16", "Data": {}}
    assert plugin.backend.calls == [("request_address", (POOL, None, False))]


async def test_request_a_gateway_and_an_address(plugin: Plugin) -> None:
    await plugin.good("/IpamDriver.RequestAddress", {"PoolID": POOL, "Address": "", "Options": GATEWAY})
    answer = await plugin.good("/IpamDriver.RequestAddress", {"PoolID": POOL, "Address": "10.77.0.9"})
    assert answer["Address"] == "10.77.0.9/16"
    assert [call[1] for call in plugin.backend.calls] == [(POOL, None, True), (POOL, "10.77.0.9", False)]


async def test_a_wrong_address_is_400(plugin: Plugin) -> None:
    body = {"PoolID": POOL, "Address": "10.77.0.999"}
    assert (await plugin.bad("/IpamDriver.RequestAddress", body))[0] == 400


@pytest.mark.parametrize("address", ["10.77.0.9", "10.77.0.9/16", "", "nonsense"])
async def test_releases_succeed_for_anything(plugin: Plugin, address: str) -> None:
    for pool in (POOL, "", "gone"):
        assert await plugin.good("/IpamDriver.ReleaseAddress", {"PoolID": pool, "Address": address}) == {}
        assert await plugin.good("/IpamDriver.ReleasePool", {"PoolID": pool}) == {}
