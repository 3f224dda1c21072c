"""Rows of Docker's are what was written, on the disk and in memory."""

from __future__ import annotations

from typing import cast

from meshnet.control.docker.docker_rows import SPACE, Endpoint, Lease, Network, Rows, age, endpoint_key, link_id
from meshnet.control.store.store import Store
from tests.unit.control.fake_core import RowStore


async def test_rows_outlive_the_daemon_until_they_are_dropped() -> None:
    disk = RowStore()
    rows = Rows(cast("Store", disk))
    network = Network("web", 7, ["10.77.0.0/16"], 1500, True, True)
    endpoint = Endpoint("n", b"\x02abcde", ["10.77.0.2/16"], True, 5.0)
    await rows.networks.put("n", network)
    await rows.endpoints.put(endpoint_key("n", "e"), endpoint)
    await rows.leases.put("web 10.77.0.2", Lease("web", "10.77.0.2", b"k", 3, True, False, 5.0))
    again = Rows(cast("Store", disk))
    assert again.described() == rows.described()
    assert again.networks.get("n") == network and again.endpoints.get("n e") == endpoint
    assert again.user_of("web", "10.77.0.2") == "n e" and again.user_of("web", "10.77.0.3") is None
    assert again.in_use("web", "10.77.0.0/16") and not again.in_use("web", "10.78.0.0/16")
    for _ in range(2):
        await again.networks.drop("n")
    assert Rows(cast("Store", disk)).networks.rows == {}


async def test_what_the_mesh_knows_of_docker_is_told_by_network_number() -> None:
    rows = Rows(cast("Store", RowStore()))
    await rows.networks.put("n", Network("web", 7, ["10.77.0.0/16"], 1500, True, True))
    await rows.networks.put("alone", Network("", 9, ["172.18.0.0/16"], 1500, False, False))
    for network, mac in (("n", b"\x02abcde"), ("alone", b"\x02bcdef"), ("gone", b"\x02cdefg")):
        await rows.endpoints.put(endpoint_key(network, "e"), Endpoint(network, mac, [], True, 5.0))
    await rows.leases.put("web 10.77.0.2", Lease("web", "10.77.0.2", b"k", 3, True, False, 5.0))
    await rows.leases.put("db 10.78.0.2", Lease("db", "10.78.0.2", b"l", 3, True, False, 5.0))
    assert rows.said() == [(7, b"\x02abcde")]
    assert rows.held_in({"web": 7}) == [(7, b"k")]


async def test_rows_of_others_are_left_alone() -> None:
    disk = RowStore()
    disk.rows[SPACE, b"plugin"] = b"/run/docker/plugins"
    assert Rows(cast("Store", disk)).described() == {"networks": [], "endpoints": [], "leases": []}


def test_a_time_ahead_of_the_clock_is_of_an_earlier_boot() -> None:
    assert age(10.0, lambda: 12.5) == 2.5
    assert age(20.0, lambda: 12.5) == float("inf")


def test_links_are_named_after_the_endpoint_alone() -> None:
    assert link_id("n e") == link_id("n e") != link_id("n f")
    assert len(link_id("n e")) == 10
