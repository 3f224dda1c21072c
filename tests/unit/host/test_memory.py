"""The twin in memory walks the scenario the kernel walks, and does what tests ask of it."""

from __future__ import annotations

import pytest

from meshnet.host.errors import HostError
from meshnet.host.memory import MemoryFirewall, MemoryNetlink
from meshnet.host.ports import FirewallPort, NetlinkPort

from .netlink_scenario import BRIDGE, BRIDGE_MAC, GSO, MTU, PEER, PEER_MAC, VETH, walk


async def test_memory_walks_the_scenario() -> None:
    memory = MemoryNetlink()
    port: NetlinkPort = memory
    await walk(port, memory.add_tap)


async def test_memory_loses_a_link_that_was_moved_away_and_the_rest_with_its_other_end() -> None:
    memory = MemoryNetlink()
    await memory.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    await memory.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO)
    memory.take_away(PEER)
    assert [link.name for link in await memory.list_links()] == [BRIDGE, VETH]
    await memory.delete_link(VETH)
    assert [link.name for link in await memory.list_links()] == [BRIDGE]
    await memory.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO)


async def test_memory_fails_when_told_and_once() -> None:
    memory = MemoryNetlink()
    memory.fail_next("set_up", HostError("no", "told so", "wait", code=1))
    memory.add_tap("mt00000001")
    with pytest.raises(HostError, match="told so"):
        await memory.set_up("mt00000001")
    await memory.set_up("mt00000001")
    assert memory.links["mt00000001"].up


async def test_memory_answers_what_the_test_put_in_and_nothing_once_closed() -> None:
    memory = MemoryNetlink()
    memory.host_routes = [("10.2.0.0/16", "eth1"), ("10.1.0.0/16", "eth0")]
    memory.own_addresses = ["192.0.2.1"]
    memory.mtus = {"192.0.2.9": 1280}
    memory.found_lacking = ["no gso"]
    assert await memory.routes() == [("10.1.0.0/16", "eth0"), ("10.2.0.0/16", "eth1")]
    assert await memory.addresses() == ["192.0.2.1"]
    assert [await memory.route_mtu(a) for a in ("192.0.2.9", "192.0.2.8")] == [1280, 1500]
    assert memory.notes() == ["no gso"]
    memory.close()
    with pytest.raises(HostError, match="closed"):
        await memory.routes()


async def test_the_firewall_in_memory_says_what_was_missing_and_what_is_in_force() -> None:
    memory = MemoryFirewall()
    firewall: FirewallPort = memory
    assert await firewall.pass_frames(False) and not await firewall.pass_frames(False)
    assert await firewall.pass_frames(True)
    await firewall.masquerade(["10.78.0.0/16", "10.77.0.0/16", "10.77.0.0/16"])
    assert (memory.passing, memory.masked) == ("bridged and routed", ["10.77.0.0/16", "10.78.0.0/16"])
    await firewall.remove()
    assert (memory.passing, memory.masked, firewall.notes()) == (None, [], [])
    memory.error = HostError("no", "told so", "wait")
    with pytest.raises(HostError, match="told so"):
        await firewall.masquerade([])
