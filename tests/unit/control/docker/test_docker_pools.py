"""Docker's holds on pools and its leases: what is granted, refused, kept over a restart and taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from docker_plugin.backend import PoolRequest
from docker_plugin.errors import Refused
from gossip.events import Lease
from gossip.state.address_bodies import NetworkBody
from meshnet.control.docker.docker_pools import UNCLAIMED_S, UNUSED_S, PoolId, Pools, subnet_name
from meshnet.control.docker.docker_rows import Rows
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.pending import Pending
from meshnet.errors import MeshnetError
from tests.unit.control.fake_core import WEB, Bench

WEB_POOL = "meshnet-local/web/10.77.0.0/16"


class LeasesDouble:
    """Leases from .2 on; `foreign` addresses are another host's."""

    def __init__(self) -> None:
        self.held: dict[bytes, Lease] = {}
        self.foreign: set[str] = set()

    async def lease(self, network: str, key: bytes, address: str | None) -> Lease:
        taken = {lease.address for lease in self.held.values()}
        free = (f"10.77.0.{n}" for n in range(2, 250))
        chosen = address or next(each for each in free if f"{each}/16" not in taken)
        if chosen in self.foreign or f"{chosen}/16" in taken:
            raise MeshnetError("no address was leased", f"{chosen} belongs to peer host-b", "choose another")
        self.held[key] = Lease(WEB.number, f"{chosen}/16", len(self.held) + 1)
        return self.held[key]

    async def release(self, network: str, key: bytes) -> None:
        self.held.pop(key, None)


class PoolsBench(Bench):
    """Pools on a core in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.core.known[WEB.number] = WEB
        self.now = 1000.0
        self.leases = LeasesDouble()
        pending = Pending(self.runner)
        self.tell = pending.tell
        self.desk = NetworkDesk(self.node, self.runner, pending, self.store, self.netlink, self.networks)
        self.begin()

    def begin(self) -> None:
        """The daemon starts on the rows there are."""
        self.numbers: Iterator[int] = iter(range(1, 1000))
        self.kept = Rows(self.store)
        self.pools = Pools(
            self.kept,
            self.node,
            self.netlink,
            self.desk,
            self.leases,
            lambda size: next(self.numbers).to_bytes(size, "big"),
            lambda: self.now,
        )


@pytest.fixture
async def bench() -> AsyncIterator[PoolsBench]:
    bench = PoolsBench()
    yield bench
    await bench.close()


def wish(name: str | None = "web", pool: str | None = "10.77.0.0/16", sub: str | None = None) -> PoolRequest:
    return PoolRequest("meshnet-local", name, pool, sub, False)


async def test_a_known_network_gives_its_pool_by_name_and_by_subnet(bench: PoolsBench) -> None:
    for request in (wish(), wish()):
        granted = await bench.pools.request_pool(request)
        assert (granted.id, granted.cidr) == (WEB_POOL, "10.77.0.0/16")
    assert bench.kept.held.rows[WEB_POOL].holds == 2


async def test_an_unknown_network_is_founded_and_given_up_with_its_last_hold(bench: PoolsBench) -> None:
    bench.core.answer = NetworkBody(number=0xF00D, name="fresh", pools=["10.130.0.0/16"], mtu=1500)
    granted = await bench.pools.request_pool(wish("fresh", None))
    assert granted.cidr == "10.130.0.0/16" and bench.networks.is_served(0xF00D)
    await bench.pools.release_pool(granted.id)
    assert not bench.networks.is_served(0xF00D) and bench.kept.held.rows == {}


async def test_a_pool_without_a_subnet_is_never_given_twice(bench: PoolsBench) -> None:
    granted = await bench.pools.request_pool(wish("web", None))
    with pytest.raises(Refused, match=r"--ipam-opt meshnet\.network=NAME"):
        await bench.pools.request_pool(wish("web", None))
    await bench.pools.release_pool(granted.id)
    assert (await bench.pools.request_pool(wish("web", None))).id == granted.id


async def test_a_pool_without_a_subnet_never_overlaps_a_route(bench: PoolsBench) -> None:
    bench.netlink.host_routes = [("10.77.3.0/24", "eth9")]
    with pytest.raises(Refused, match="eth9"):
        await bench.pools.request_pool(wish("web", None))


@pytest.mark.parametrize("name", ["No_Name", "a/b", "../x", "x" * 64, "-a"])
async def test_a_wrong_name_is_refused(bench: PoolsBench, name: str) -> None:
    with pytest.raises(Refused):
        await bench.pools.request_pool(wish(name, "10.78.0.0/16"))


async def test_another_subnet_is_refused_with_the_one_there_is(bench: PoolsBench) -> None:
    with pytest.raises(Refused, match=r"10\.77\.0\.0/16"):
        await bench.pools.request_pool(wish("web", "10.78.0.0/16"))


async def test_a_gateway_is_the_reserved_address_and_no_lease(bench: PoolsBench) -> None:
    assert await bench.pools.request_address(WEB_POOL, None, True) == "10.77.0.1/16"
    assert await bench.pools.request_address(WEB_POOL, "10.77.0.1", True) == "10.77.0.1/16"
    await bench.pools.release_address(WEB_POOL, "10.77.0.1")
    assert bench.leases.held == {} and bench.kept.leases.rows == {}


async def test_addresses_are_leased_kept_over_a_restart_and_released(bench: PoolsBench) -> None:
    assert await bench.pools.request_address(WEB_POOL, None, False) == "10.77.0.2/16"
    assert await bench.pools.request_address(WEB_POOL, "10.77.0.9", False) == "10.77.0.9/16"
    bench.begin()
    with pytest.raises(Refused, match="in use on this host"):
        await bench.pools.request_address(WEB_POOL, "10.77.0.9", False)
    for _ in range(2):
        await bench.pools.release_address(WEB_POOL, "10.77.0.9")
    assert len(bench.leases.held) == 1
    assert await bench.pools.request_address(WEB_POOL, "10.77.0.9", False) == "10.77.0.9/16"


async def test_a_sub_pool_is_respected_and_the_length_is_the_pools(bench: PoolsBench) -> None:
    pool = f"{WEB_POOL}/10.77.4.0/24"
    assert await bench.pools.request_address(pool, None, False) == "10.77.4.0/16"
    assert await bench.pools.request_address(pool, None, False) == "10.77.4.1/16"
    assert await bench.pools.request_address(pool, "10.77.9.9", False) == "10.77.9.9/16"


async def test_a_foreign_address_is_refused_naming_its_holder(bench: PoolsBench) -> None:
    bench.leases.foreign = {"10.77.0.9"}
    with pytest.raises(Refused, match="host-b"):
        await bench.pools.request_address(WEB_POOL, "10.77.0.9", False)
    assert bench.kept.leases.rows == {}


@pytest.mark.parametrize("pool", ["", "x", "a/web/10.77.0.0", "a/web/10.77.0.1/16", "a/gone/10.77.0.0/16", "a/web/x/y"])
async def test_an_unknown_pool_is_refused_and_its_release_is_not(bench: PoolsBench, pool: str) -> None:
    with pytest.raises(Refused):
        await bench.pools.request_address(pool, None, False)
    await bench.pools.release_address(pool, "10.77.0.2")
    await bench.pools.release_pool(pool)


async def test_what_docker_never_used_is_taken_back(bench: PoolsBench) -> None:
    await bench.pools.request_pool(wish())
    await bench.pools.request_address(WEB_POOL, None, False)
    await bench.pools.request_address(WEB_POOL, "10.77.0.77", False)
    await bench.pools.keep(bench.kept.leases.rows["web 10.77.0.77"])
    await bench.pools.sweep()
    assert len(bench.leases.held) == 2
    bench.now += UNCLAIMED_S + 1
    await bench.pools.sweep()
    assert len(bench.leases.held) == 2 and bench.kept.held.rows == {}
    bench.now += UNUSED_S - UNCLAIMED_S
    await bench.pools.sweep()
    assert list(bench.kept.leases.rows) == ["web 10.77.0.77"], "what is auxiliary waits for no endpoint"
    assert len(bench.leases.held) == 1


async def test_a_claim_that_was_lost_on_its_way_can_be_made_again(bench: PoolsBench) -> None:
    await bench.pools.request_address(WEB_POOL, "10.77.0.9", False)
    bench.now += 60
    assert await bench.pools.request_address(WEB_POOL, "10.77.0.9", False) == "10.77.0.9/16"
    assert len(bench.leases.held) == 1


def test_a_pool_id_says_everything() -> None:
    for text in (WEB_POOL, f"{WEB_POOL}/10.77.4.0/24", "meshnet-local/six/fd00::/64"):
        assert str(PoolId.parse(text)) == text


def test_a_subnet_names_a_network() -> None:
    assert subnet_name("10.77.0.0/16") == "subnet-10-77-0-0-16"
    assert subnet_name("fd00::/64") == "subnet-fd00-64"
