"""Everything on the networks comes back together after a start, and goes together at a stop."""

from __future__ import annotations

import os

from meshnet.control.networks.segments import Segments
from meshnet.host.memory import MemoryFirewall
from tests.unit.control.fake_core import DEFAULT, WEB, Bench

OWN_DEVICES = ["mn00000001", "mn0000beef", "mt00000001", "mt0000beef"]


def segments(bench: Bench, firewall: MemoryFirewall) -> Segments:
    made = Segments(
        "host-a", bench.node, bench.runner, bench.store, bench.netlink, bench.networks, firewall, os.urandom
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
