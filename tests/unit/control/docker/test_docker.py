"""Docker's networks and endpoints: repeated and unknown ids, failures half way, restarts, and what Docker forgot."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator

import pytest

from docker_plugin.backend import Claim, NetworkPool, NetworkRequest, PoolRequest
from docker_plugin.errors import Refused
from meshnet.control.docker.docker import PENDING_S, Docker
from meshnet.host.errors import refused
from tests.unit.control.docker.test_docker_pools import WEB_POOL, PoolsBench
from tests.unit.control.fake_core import WEB

NET, END, SECOND = "9c" * 32, "1f" * 32, "2e" * 32
OURS = (NetworkPool("meshnet-local", "10.77.0.0/16", ()),)
DOCKERS = (NetworkPool("LocalDefault", "10.77.0.0/16", ()),)
ALONE = (NetworkPool("LocalDefault", "172.18.0.0/16", ()),)
CLAIM = Claim(("10.77.0.2/16",), None, {})


class DockerBench(PoolsBench):
    """Docker's backend on a core and a kernel in memory."""

    def begin(self) -> None:
        super().begin()
        self.docker = Docker(
            self.node,
            self.runner,
            self.store,
            self.netlink,
            self.networks,
            self.desk,
            self.leases,
            lambda size: next(self.numbers).to_bytes(size, "big"),
            lambda: self.now,
            bytes(16),
        )

    async def web(self) -> None:
        """The recommended form, as dockerd asks for it."""
        await self.docker.request_pool(PoolRequest("meshnet-local", "web", "10.77.0.0/16", None, False))
        await self.docker.create_network(NetworkRequest(NET, None, OURS, None, False))

    async def container(self, endpoint: str = END) -> str:
        """A container starts; returns its link, which is in it then."""
        address = await self.docker.request_address(WEB_POOL, None, False)
        await self.docker.create_endpoint(NET, endpoint, Claim((address,), None, {}))
        link = await self.docker.join(NET, endpoint)
        self.netlink.take_away(link)
        self.now += 2
        return link

    def veths(self) -> list[str]:
        return [name for name in self.netlink.links if name.startswith(("mv", "mp"))]


@pytest.fixture
async def bench() -> AsyncIterator[DockerBench]:
    bench = DockerBench()
    yield bench
    await bench.close()


async def test_a_containers_whole_life_leaves_nothing(bench: DockerBench) -> None:
    await bench.web()
    await bench.container()
    assert bench.networks.is_served(WEB.number)
    [said] = bench.core.said
    assert said.addresses == [("10.77.0.2/16", 1)]
    for _ in range(2):
        await bench.docker.leave(NET, END)
        await bench.docker.delete_endpoint(NET, END)
        await bench.docker.release_address(WEB_POOL, "10.77.0.2")
    assert (bench.veths(), bench.core.said, bench.leases.held) == ([], [], {})
    for _ in range(2):
        await bench.docker.release_pool(WEB_POOL)
        await bench.docker.delete_network(NET)
    assert not bench.networks.is_served(WEB.number)
    assert bench.docker.described() == {"networks": [], "endpoints": [], "leases": []}
    assert not [key for space, key in bench.rows.rows if space == "docker"]


async def test_every_call_may_come_twice(bench: DockerBench) -> None:
    await bench.web()
    await bench.docker.create_network(NetworkRequest(NET, None, OURS, None, False))
    await bench.docker.request_address(WEB_POOL, None, False)
    first = await bench.docker.create_endpoint(NET, END, CLAIM)
    assert await bench.docker.create_endpoint(NET, END, CLAIM) == first
    assert await bench.docker.join(NET, END) == await bench.docker.join(NET, END)
    assert len(bench.veths()) == 2


async def test_another_thing_under_a_known_id_is_refused(bench: DockerBench) -> None:
    await bench.web()
    await bench.container()
    with pytest.raises(Refused, match="exists"):
        await bench.docker.create_network(NetworkRequest(NET, None, ALONE, None, False))
    with pytest.raises(Refused, match="exists"):
        await bench.docker.create_endpoint(NET, END, Claim(("10.77.0.9/16",), None, {}))
    with pytest.raises(Refused, match="in use"):
        await bench.docker.create_endpoint(NET, SECOND, CLAIM)


async def test_unknown_ids_are_refused_where_something_is_made_and_taken_where_it_ends(bench: DockerBench) -> None:
    with pytest.raises(Refused, match="does not know network"):
        await bench.docker.create_endpoint(NET, END, CLAIM)
    with pytest.raises(Refused, match="does not know endpoint"):
        await bench.docker.join(NET, END)
    await bench.docker.leave(NET, END)
    await bench.docker.delete_endpoint(NET, END)
    await bench.docker.delete_network(NET)
    with pytest.raises(Refused, match="no pool"):
        await bench.docker.create_network(NetworkRequest(NET, None, OURS, None, False))


async def test_a_link_that_cannot_be_made_leaves_nothing(bench: DockerBench) -> None:
    await bench.docker.create_network(NetworkRequest(NET, "web", DOCKERS, None, False))
    bench.netlink.fail_next("create_veth", refused("cannot make veth", errno.ENOSPC))
    with pytest.raises(Refused):
        await bench.docker.create_endpoint(NET, END, CLAIM)
    assert (bench.veths(), bench.leases.held, bench.docker.described()["endpoints"]) == ([], {}, [])


async def test_the_plain_form_claims_in_the_mesh_and_names_the_holder(bench: DockerBench) -> None:
    await bench.docker.create_network(NetworkRequest(NET, "web", DOCKERS, None, False))
    await bench.docker.create_endpoint(NET, END, CLAIM)
    assert len(bench.leases.held) == 1
    bench.leases.foreign = {"10.77.0.9"}
    with pytest.raises(Refused, match=r"host-b.*--ip-range.*--ipam-driver meshnet"):
        await bench.docker.create_endpoint(NET, SECOND, Claim(("10.77.0.9/16",), None, {}))
    await bench.docker.delete_endpoint(NET, END)
    assert bench.leases.held == {}


async def test_a_network_of_this_host_alone_is_a_bridge_and_tells_nobody(bench: DockerBench) -> None:
    await bench.docker.create_network(NetworkRequest(NET, None, ALONE, 1400, False))
    [bridge] = bench.docker.own_bridges()
    assert bench.netlink.links[bridge].mtu == 1400
    await bench.docker.create_endpoint(NET, END, Claim(("172.18.0.2/16",), None, {}))
    await bench.docker.join(NET, END)
    assert (bench.core.said, bench.leases.held) == ([], {})
    await bench.docker.delete_network(NET)
    assert bridge not in bench.netlink.links and bench.veths() == []


async def test_a_larger_mtu_than_the_networks_is_refused_with_the_command(bench: DockerBench) -> None:
    with pytest.raises(Refused, match="meshnet network create"):
        await bench.docker.create_network(NetworkRequest(NET, "web", DOCKERS, 9001, False))
    assert bench.docker.described()["networks"] == []


async def test_an_option_that_differs_from_the_ipams_is_refused(bench: DockerBench) -> None:
    await bench.docker.request_pool(PoolRequest("meshnet-local", "web", "10.77.0.0/16", None, False))
    with pytest.raises(Refused, match="differs"):
        await bench.docker.create_network(NetworkRequest(NET, "other", OURS, None, False))


async def test_a_network_in_use_here_is_named_to_who_would_remove_it(bench: DockerBench) -> None:
    await bench.web()
    assert bench.desk.used_by(WEB.number) == [f"docker network {NET[:12]}"]


async def test_a_restart_adopts_what_runs_and_announces_it_again(bench: DockerBench) -> None:
    await bench.web()
    await bench.container()
    bench.core.said.clear()
    bench.begin()
    await bench.docker.reconcile()
    assert len(bench.core.said) == 1 and len(bench.docker.own_links()) == 1
    assert await bench.docker.request_address(WEB_POOL, None, False) == "10.77.0.3/16"


async def test_what_went_while_nobody_looked_is_swept(bench: DockerBench) -> None:
    await bench.web()
    link = await bench.container()
    await bench.netlink.delete_link(link.replace("mp", "mv"))
    bench.begin()
    await bench.docker.reconcile()
    assert (bench.docker.own_links(), bench.leases.held, bench.core.said) == ([], {}, [])


async def test_an_endpoint_that_never_joined_is_swept(bench: DockerBench) -> None:
    await bench.web()
    await bench.docker.request_address(WEB_POOL, None, False)
    await bench.docker.create_endpoint(NET, END, CLAIM)
    bench.now += PENDING_S / 2
    await bench.docker.sweep()
    assert len(bench.veths()) == 2
    bench.now += PENDING_S
    await bench.docker.sweep()
    assert (bench.veths(), bench.leases.held) == ([], {})


async def test_an_address_released_early_stays_until_its_endpoint_goes(bench: DockerBench) -> None:
    await bench.web()
    await bench.container()
    await bench.docker.release_address(WEB_POOL, "10.77.0.2")
    assert len(bench.leases.held) == 1
    await bench.docker.delete_endpoint(NET, END)
    assert bench.leases.held == {}
