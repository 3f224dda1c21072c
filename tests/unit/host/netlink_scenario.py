"""One walk through `NetlinkPort`, run against the kernel and against its twin in memory.

The two must agree on what every verb leaves behind and on which errno each refusal carries, or tests that stand on
the twin prove nothing about the host.
"""

from __future__ import annotations

import errno
from collections.abc import Awaitable, Callable

import pytest

from meshnet.host.errors import HostError
from meshnet.host.ports import MAX_ALIAS_BYTES, NetlinkPort

BRIDGE, TAP, VETH, PEER = "mn00000001", "mt00000001", "mv0000000001", "mp0000000001"
BRIDGE_MAC, TAP_MAC, PEER_MAC = (bytes((0x02, 0, 0, 0, 0, n)) for n in (1, 2, 3))
MTU, GSO = 1400, 57_344
ALIAS = "meshnet/1 whose it is ".ljust(MAX_ALIAS_BYTES, "x")


async def refusal(call: Awaitable[object]) -> int:
    """The errno of the HostError that `call` must raise."""
    with pytest.raises(HostError) as caught:
        await call
    assert caught.value.what and caught.value.why and caught.value.fix
    return caught.value.errno


async def walk(port: NetlinkPort, open_tap: Callable[[str], None]) -> None:
    """Build a network with one endpoint, look at it, be refused what must be, and take it down."""
    await port.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    await port.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    open_tap(TAP)
    await port.configure_tap(TAP, mtu=MTU, mac=TAP_MAC, bridge=BRIDGE, gso_max_size=GSO)
    await port.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO, alias=ALIAS)

    links = {link.name: link for link in await port.list_links()}
    assert list(links) == [BRIDGE, PEER, TAP, VETH]
    assert {name: link.kind for name, link in links.items()} == {
        BRIDGE: "bridge",
        PEER: "veth",
        TAP: "tun",
        VETH: "veth",
    }
    assert [links[name].master for name in (BRIDGE, TAP, VETH, PEER)] == [None, BRIDGE, BRIDGE, None]
    assert [links[name].up for name in (BRIDGE, TAP, VETH, PEER)] == [True, True, True, False]
    assert [links[name].mac for name in (BRIDGE, TAP, PEER)] == [BRIDGE_MAC, TAP_MAC, PEER_MAC]
    assert {link.mtu for link in links.values()} == {MTU}
    assert len({link.index for link in links.values()}) == 4
    assert [links[name].alias for name in (BRIDGE, TAP, VETH, PEER)] == ["", "", ALIAS, ""]
    assert [link.name for link in await port.list_links(("mv",))] == [VETH]

    await port.set_gso_max(VETH, GSO // 2)
    await address(port)
    await refuse(port)
    await port.set_up(PEER)
    await port.delete_link(VETH)
    assert [link.name for link in await port.list_links()] == [BRIDGE, TAP]
    await port.delete_link(VETH)
    await port.delete_link(BRIDGE)
    tap = (await port.list_links())[0]
    assert (tap.name, tap.master) == (TAP, None)
    await port.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    await port.attach_to_bridge(TAP, BRIDGE)
    assert [link.master for link in await port.list_links(("mt",))] == [BRIDGE]


async def address(port: NetlinkPort) -> None:
    """The host's own address on a bridge brings its route, and goes with it; both verbs may come twice."""
    route = ("10.77.0.0/16", BRIDGE)
    for _ in range(2):
        await port.add_address(BRIDGE, "10.77.0.2/16")
        assert route in await port.routes()
    for _ in range(2):
        await port.remove_address(BRIDGE, "10.77.0.2/16")
        assert route not in await port.routes()
    await port.remove_address("mn0000dead", "10.77.0.2/16")
    assert await refusal(port.add_address("mn0000dead", "10.77.0.2/16")) == errno.ENODEV


async def refuse(port: NetlinkPort) -> None:
    """Every refusal that control can meet, by errno."""
    veth = {"mtu": MTU, "mac": PEER_MAC, "gso_max_size": GSO}
    absent = "mn0000dead"
    assert await refusal(port.create_veth(VETH, "mp0000000002", bridge=BRIDGE, **veth)) == errno.EEXIST  # type: ignore[arg-type]
    assert await refusal(port.create_veth("mv0000000002", PEER, bridge=BRIDGE, **veth)) == errno.EEXIST  # type: ignore[arg-type]
    assert await refusal(port.create_veth("mv0000000002", "mp0000000002", bridge=absent, **veth)) == errno.ENODEV  # type: ignore[arg-type]
    assert await refusal(port.ensure_bridge(TAP, MTU, BRIDGE_MAC)) == errno.EEXIST
    assert (
        await refusal(port.configure_tap(absent, mtu=MTU, mac=TAP_MAC, bridge=BRIDGE, gso_max_size=GSO)) == errno.ENODEV
    )
    assert await refusal(port.attach_to_bridge(absent, BRIDGE)) == errno.ENODEV
    assert await refusal(port.attach_to_bridge(TAP, absent)) == errno.ENODEV
    assert await refusal(port.set_gso_max(absent, GSO)) == errno.ENODEV
    assert await refusal(port.set_up(absent)) == errno.ENODEV
    assert len(await port.list_links()) == 4
