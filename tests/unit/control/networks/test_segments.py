"""Everything on the networks comes back together after a start, and goes together at a stop."""

from __future__ import annotations

import asyncio
import os

from gossip.events import Lease
from meshnet.control.networks.alias import Alias
from meshnet.control.networks.endpoint_rows import host_link
from meshnet.control.networks.segments import Segments
from meshnet.host.memory import MemoryFirewall
from tests.unit.control.fake_core import DEFAULT, WEB, Bench

OWN_DEVICES = ["mn00000001", "mn0000beef", "mt00000001", "mt0000beef"]


def segments(bench: Bench, firewall: MemoryFirewall) -> Segments:
    made = Segments(
        "host-a",
        bench.node,
        bench.runner,
        bench.store,
        bench.netlink,
        bench.networks,
        firewall,
        os.urandom,
        asyncio.get_running_loop().time,
        bytes(16),
    )
    bench.tell = made.pending.tell
    return made


async def test_a_start_brings_back_what_is_served_and_sweeps_the_rest() -> None:
    bench, firewall = Bench(), MemoryFirewall()
    bench.core.known[WEB.number] = WEB
    parts = segments(bench, firewall)
    await parts.desk.seen(DEFAULT)
    await parts.exposures.expose("web", None, True)
    for name in ("mn0000dead", "mn0000d0c0"):
        await bench.netlink.ensure_bridge(name, 1500, b"\2\0\0\0\0\1")
    parts = segments(bench, firewall)
    await parts.restore(bridges=["mn0000d0c0"])
    assert sorted(bench.netlink.links) == sorted([*OWN_DEVICES, "mn0000d0c0"])
    assert firewall.passing == "bridged and routed" and firewall.masked == WEB.pools
    assert len(bench.core.said) == 1
    await parts.end(stop=False)
    assert firewall.masked == WEB.pools and set(OWN_DEVICES) <= set(bench.netlink.links)
    await bench.close()


async def test_a_stop_takes_devices_and_rules_and_keeps_the_rows() -> None:
    bench, firewall = Bench(), MemoryFirewall()
    bench.core.known[WEB.number] = WEB
    parts = segments(bench, firewall)
    await parts.desk.seen(DEFAULT)
    await parts.exposures.expose("web", None, True)
    await parts.restore()
    await parts.end(stop=True)
    assert (bench.netlink.links, firewall.masked, firewall.passing) == ({}, [], None)
    again = segments(bench, firewall)
    assert again.desk.is_wanted(WEB) and again.exposures.masked() == WEB.pools
    await bench.close()


async def test_a_start_claims_addresses_in_use_before_it_is_through() -> None:
    bench = Bench()
    parts = segments(bench, MemoryFirewall())
    await parts.desk.seen(DEFAULT)
    mac, endpoint = b"\2\0\0\0\0\7", bytes.fromhex("0a1b2c3d4e")
    alias = Alias(bytes(16), "default", 1, ("10.32.0.7/12",), mac, endpoint, "4:1", "mesh0", "web").text()
    await bench.netlink.create_veth(
        host_link(endpoint), "mp0a1b2c3d4e", mtu=1500, mac=mac, bridge="mn00000001", gso_max_size=1, alias=alias
    )
    bench.core.lease_answer = Lease(1, "10.32.0.7/12", 3)
    await parts.restore()
    assert ("allocate", 1, endpoint, "10.32.0.7") in bench.core.asked
    (listed,) = parts.endpoints.listed()
    assert listed["claimed"] is True and listed["target"] == "web" and bench.core.said[0].mac == mac
    await parts.end(stop=True)
    await bench.close()
