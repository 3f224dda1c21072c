"""The host side against a real kernel, inside namespaces these tests make and remove.

`ip -d -j link` of another program is the witness of what netlink did, and the shared scenario shows that the
twin in memory tells the same story as the kernel.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
import sys
from collections.abc import Iterator

import pytest
import uvloop

from meshnet.host.errors import HostError
from meshnet.host.namespace import run_in
from meshnet.host.netlink import Netlink
from meshnet.host.rtnl import host_mac
from meshnet.host.tap import FEATURE_ECN, FEATURE_TSO4, FEATURE_TSO6, HEADER_BYTES, Tap
from meshnet.host.udp import BUFFER_BYTES, open_udp
from tests.live.host_space import Space, build, made_netlink, made_space, made_taps, open_in
from tests.unit.host.netlink_scenario import BRIDGE, BRIDGE_MAC, GSO, MTU, PEER, PEER_MAC, TAP, TAP_MAC, VETH, walk

pytestmark = pytest.mark.root


@pytest.fixture
def host() -> Iterator[Space]:
    yield from made_space("host")


@pytest.fixture
def netlink(host: Space) -> Iterator[Netlink]:
    yield from made_netlink(host)


@pytest.fixture
def taps() -> Iterator[list[Tap]]:
    yield from made_taps()


@pytest.fixture(params=["pytun", "ioctl"])
def maker(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways to make a TAP: with pytun where it is installed, and without it everywhere."""
    if request.param == "ioctl":
        monkeypatch.setitem(sys.modules, "pytun", None)
    else:
        pytest.importorskip("pytun")
    return str(request.param)


# TAP


def test_a_tap_is_made_with_offloads_and_goes_with_its_descriptor(host: Space, taps: list[Tap], maker: str) -> None:
    tap = open_in(host, taps)
    tcp = FEATURE_TSO4 | FEATURE_TSO6 | FEATURE_ECN
    assert tap.features & tcp == tcp
    assert tap.notes == [] or all("UDP segmentation" in note for note in tap.notes)
    shown = host.show(TAP)
    assert (shown["linkinfo"]["info_kind"], shown["linkinfo"]["info_data"]["type"]) == ("tun", "tap")
    assert shown["linkinfo"]["info_data"]["vnet_hdr"] is True
    assert shown["linkinfo"]["info_data"]["persist"] is False
    assert shown["txqlen"] == 1000
    with pytest.raises(BlockingIOError):
        os.read(tap.fd, 65_536)
    assert not os.get_inheritable(tap.fd)
    tap.close()
    assert TAP not in host.links()


def test_a_tap_carries_frames_behind_ten_byte_headers(host: Space, taps: list[Tap], maker: str) -> None:
    tap = open_in(host, taps)
    host.ip("link", "set", TAP, "up")
    frame = b"\xff" * 6 + TAP_MAC + struct.pack(">H", 0x88B5) + b"hello mesh" + bytes(40)

    def send() -> None:
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
            raw.bind((TAP, 0))
            raw.send(frame)

    run_in(host.path, send)
    # The kernel's own neighbour discovery shares the queue: look for ours among what waits.
    got = [os.read(tap.fd, 65_536)]
    while got[-1][HEADER_BYTES:] != frame:
        got.append(os.read(tap.fd, 65_536))
    assert got[-1][:HEADER_BYTES] == bytes(HEADER_BYTES)
    assert os.writev(tap.fd, [bytes(HEADER_BYTES), frame]) == HEADER_BYTES + len(frame)


def test_a_taken_name_is_refused_and_leaks_nothing(host: Space, taps: list[Tap], maker: str) -> None:
    open_in(host, taps)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError) as caught:
        open_in(host, taps)
    assert caught.value.errno == errno.EBUSY
    assert "taken" in caught.value.fix
    host.ip("link", "add", "mt00000002", "type", "bridge")
    with pytest.raises(HostError) as caught:
        open_in(host, taps, "mt00000002")
    assert caught.value.errno in (errno.EINVAL, errno.EBUSY)
    assert len(os.listdir("/proc/self/fd")) == before


# Links


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_the_kernel_walks_the_scenario_of_the_twin(host: Space, netlink: Netlink, taps: list[Tap], loop: str) -> None:
    factory = uvloop.new_event_loop if loop == "uvloop" else asyncio.SelectorEventLoop

    def open_one(name: str) -> None:
        open_in(host, taps, name)

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(walk(netlink, open_one))
    assert netlink.notes() == []


async def test_a_bridge_floods_and_forwards_at_once(host: Space, netlink: Netlink) -> None:
    await netlink.ensure_bridge(BRIDGE, 9000, BRIDGE_MAC)
    shown = host.show(BRIDGE)
    data = shown["linkinfo"]["info_data"]
    assert (data["stp_state"], data["forward_delay"], data["mcast_snooping"]) == (0, 0, 0)
    assert data["ageing_time"] == 30_000
    assert (shown["address"], shown["mtu"]) == (BRIDGE_MAC.hex(":"), 9000)
    assert "UP" in shown["flags"]
    assert (host.sysctl(BRIDGE, "disable_ipv6"), host.sysctl(BRIDGE, "accept_ra")) == ("1", "0")


async def test_a_bridge_that_drifted_is_adopted_and_put_right(host: Space, netlink: Netlink) -> None:
    host.ip("link", "add", BRIDGE, "type", "bridge", "stp_state", "1", "mcast_snooping", "1")
    index = host.show(BRIDGE)["ifindex"]
    await netlink.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    shown = host.show(BRIDGE)
    data = shown["linkinfo"]["info_data"]
    assert (shown["ifindex"], shown["address"], shown["mtu"]) == (index, BRIDGE_MAC.hex(":"), MTU)
    assert (data["stp_state"], data["mcast_snooping"]) == (0, 0)


async def test_a_veth_has_its_caps_on_both_ends_and_no_ipv6_on_the_hosts(host: Space, netlink: Netlink) -> None:
    await build(netlink)
    for end, mac in ((VETH, host_mac(VETH)), (PEER, PEER_MAC)):
        shown = host.show(end)
        assert (shown["address"], shown["mtu"], shown["gso_max_size"]) == (mac.hex(":"), MTU, GSO)
        assert host.gso_ipv4(end) == GSO
    port = host.show(VETH)
    assert port["master"] == BRIDGE
    assert port["linkinfo"]["info_slave_data"]["hairpin"] is False
    assert (host.sysctl(VETH, "disable_ipv6"), host.sysctl(VETH, "accept_ra")) == ("1", "0")
    assert host.sysctl(PEER, "disable_ipv6") == "0"
    await netlink.set_gso_max(VETH, 32_768)
    assert (host.show(VETH)["gso_max_size"], host.gso_ipv4(VETH)) == (32_768, 32_768)
    assert host.show(BRIDGE)["mtu"] == MTU


async def test_a_tap_gets_its_settings_before_it_comes_up(host: Space, netlink: Netlink, taps: list[Tap]) -> None:
    await netlink.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    open_in(host, taps)
    await netlink.configure_tap(TAP, mtu=MTU, mac=TAP_MAC, bridge=BRIDGE, gso_max_size=GSO)
    shown = host.show(TAP)
    assert (shown["address"], shown["mtu"], shown["master"]) == (TAP_MAC.hex(":"), MTU, BRIDGE)
    assert (shown["gso_max_size"], host.gso_ipv4(TAP)) == (GSO, GSO)
    assert {"UP", "LOWER_UP"} <= set(shown["flags"])
    assert (host.sysctl(TAP, "disable_ipv6"), host.sysctl(TAP, "accept_ra")) == ("1", "0")
    with pytest.raises(BlockingIOError):
        os.read(taps[0].fd, 65_536)  # not one router solicitation of the host reached the mesh


async def test_a_strangers_link_is_never_listed(host: Space, netlink: Netlink) -> None:
    host.ip("link", "add", "mnt0", "type", "bridge")
    assert await netlink.list_links() == []


async def test_a_refusal_carries_the_kernels_words(host: Space, netlink: Netlink) -> None:
    with pytest.raises(HostError) as caught:
        await netlink.ensure_bridge(BRIDGE, 10, BRIDGE_MAC)
    assert caught.value.why.startswith("EINVAL (22): ")
    assert "minimum" in caught.value.why


# Routing


async def test_route_mtu_is_the_routes_and_else_the_devices(host: Space, netlink: Netlink) -> None:
    host.ip("link", "add", "eth0", "mtu", "1450", "type", "veth", "peer", "name", "far0")
    host.ip("link", "set", "eth0", "up")
    host.ip("link", "set", "far0", "up")
    host.ip("addr", "add", "192.0.2.1/24", "dev", "eth0")
    host.ip("addr", "add", "2001:db8::1/64", "dev", "eth0", "nodad")
    host.ip("route", "add", "198.51.100.0/24", "via", "192.0.2.2", "mtu", "1300")
    host.ip("route", "add", "203.0.113.0/24", "via", "192.0.2.2", "mtu", "9000")
    host.ip("-6", "route", "add", "2001:db8:1::/48", "via", "2001:db8::2", "mtu", "1340")
    asked = ("192.0.2.7", "198.51.100.7", "203.0.113.7", "2001:db8::7", "2001:db8:1::7")
    assert [await netlink.route_mtu(a) for a in asked] == [1450, 1300, 1450, 1450, 1340]
    with pytest.raises(HostError) as caught:
        await netlink.route_mtu("10.99.0.1")
    assert caught.value.errno == errno.ENETUNREACH


async def test_routes_and_addresses_of_the_host(host: Space, netlink: Netlink) -> None:
    for name, address in (("eth0", "192.0.2.1/24"), ("eth1", "198.51.100.1/24"), ("eth1", "2001:db8::1/64")):
        if name not in host.links():
            host.ip("link", "add", name, "type", "veth", "peer", "name", f"far-{name}")
            host.ip("link", "set", name, "up")
            host.ip("link", "set", f"far-{name}", "up")
        host.ip("addr", "add", address, "dev", name, *(["nodad"] if ":" in address else []))
    host.ip("link", "add", "docker0", "type", "bridge")
    host.ip("addr", "add", "172.17.0.1/16", "dev", "docker0")
    host.ip("link", "set", "docker0", "up")
    await netlink.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    host.ip("addr", "add", "10.32.0.1/12", "dev", BRIDGE)
    host.ip("route", "add", "default", "via", "198.51.100.2")
    host.ip("route", "add", "10.50.0.0/16", "via", "198.51.100.2", "table", "52")
    assert await netlink.routes() == [
        ("10.32.0.0/12", BRIDGE),
        ("10.50.0.0/16", "eth1"),
        ("172.17.0.0/16", "docker0"),
        ("192.0.2.0/24", "eth0"),
        ("198.51.100.0/24", "eth1"),
        ("2001:db8::/64", "eth1"),
    ]
    assert await netlink.addresses() == ["198.51.100.1", "2001:db8::1", "192.0.2.1"]


def test_the_data_socket_has_its_buffers_though_the_limits_are_small(host: Space) -> None:
    host.ip("link", "set", "lo", "up")
    data = run_in(host.path, lambda: open_udp("127.0.0.1", 0))
    try:
        assert data.notes == []
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            assert data.sock.getsockopt(socket.SOL_SOCKET, option) == 2 * BUFFER_BYTES
    finally:
        data.close()
