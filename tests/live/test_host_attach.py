"""Namespaces are found and entered, and a workload's link is moved, configured and brought back, by a real
kernel."""

from __future__ import annotations

import errno
import json
import os
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from meshnet.host import attach, namespace
from meshnet.host.errors import HostError
from meshnet.host.namespace import run_in
from meshnet.host.netlink import Netlink, configure, move_link, namespace_key, resolve, restore_link
from meshnet.host.tap import HEADER_BYTES, Tap
from tests.live.host_space import Space, build, made_netlink, made_space, made_taps, open_in
from tests.unit.host.netlink_scenario import BRIDGE, GSO, MTU, PEER, PEER_MAC, TAP, TAP_MAC, VETH

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


@pytest.fixture
def workload() -> Iterator[Space]:
    yield from made_space("work")


def test_targets_lead_to_one_key(host: Space) -> None:
    by_name, by_path = resolve(host.name), resolve(host.path)
    assert by_name.key == by_path.key == namespace_key(host.path)
    assert by_name.key != resolve(str(os.getpid())).key
    with pytest.raises(HostError, match="ENOENT"):
        resolve(f"{host.name}-not")


def test_a_thread_enters_and_the_main_one_stays(host: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    own = namespace_key("/proc/thread-self/ns/net")

    def inside() -> str:
        return namespace_key("/proc/thread-self/ns/net")

    assert run_in(host.path, inside) == namespace_key(host.path) != own
    monkeypatch.setattr(namespace, "_setns", namespace._setns_by_libc)
    assert run_in(host.path, inside) == namespace_key(host.path)
    assert namespace_key("/proc/thread-self/ns/net") == own
    assert threading.current_thread() is threading.main_thread()


def attached(host: Space, workload: Space, name: str = "mesh0", **changes: Any) -> list[str]:
    """What the command line does, from inside the host's namespace."""
    settings: dict[str, Any] = {"addresses": ["10.32.0.2/12"], "routes": ["224.0.0.0/4"], "mtu": MTU}

    def inside() -> list[str]:
        move_link(PEER, workload.path)
        return configure(workload.path, PEER, name, **{**settings, **changes})

    return run_in(host.path, inside)


async def test_an_attached_link_is_named_addressed_and_keeps_its_caps(
    host: Space, workload: Space, netlink: Netlink
) -> None:
    await build(netlink)
    assert attached(host, workload, addresses=["10.32.0.2/12", "fd00::2/64"]) == []
    assert host.links() == sorted(["lo", BRIDGE, VETH])
    shown = workload.show("mesh0")
    assert (shown["address"], shown["mtu"], shown["gso_max_size"]) == (PEER_MAC.hex(":"), MTU, GSO)
    assert workload.gso_ipv4("mesh0") == GSO
    assert {"UP", "LOWER_UP"} <= set(shown["flags"])
    assert workload.sysctl("mesh0", "accept_ra") == "0"
    assert workload.sysctl("mesh0", "disable_ipv6") == "0"
    found = json.loads(workload.ip("-j", "addr", "show", "dev", "mesh0"))[0]["addr_info"]
    by_address = {entry["local"]: entry for entry in found}
    assert by_address["10.32.0.2"]["prefixlen"] == 12
    assert by_address["10.32.0.2"]["broadcast"] == "10.47.255.255"
    assert by_address["fd00::2"]["nodad"] is True and "tentative" not in by_address["fd00::2"]
    routes = {route["dst"]: route for route in json.loads(workload.ip("-j", "route"))}
    assert sorted(routes) == ["10.32.0.0/12", "224.0.0.0/4"]
    assert (routes["224.0.0.0/4"]["dev"], routes["224.0.0.0/4"]["scope"]) == ("mesh0", "link")
    assert [link.name for link in await netlink.list_links()] == [BRIDGE, VETH]
    await netlink.delete_link(VETH)
    assert workload.links() == ["lo"]


async def test_a_taken_interface_name_is_an_error_and_the_link_comes_back(
    host: Space, workload: Space, netlink: Netlink
) -> None:
    workload.ip("link", "add", "eth0", "type", "bridge")
    taken = workload.show("eth0")["ifindex"]
    await build(netlink)
    with pytest.raises(HostError) as caught:
        attached(host, workload, "eth0")
    assert caught.value.errno == errno.EEXIST
    assert "already has an interface eth0" in caught.value.why
    assert "--ifname" in caught.value.fix
    assert workload.links() == ["eth0", "lo"]
    assert workload.show("eth0")["ifindex"] == taken
    assert "UP" not in host.show(PEER)["flags"]
    assert attached(host, workload, "eth1") == []
    assert workload.links() == ["eth0", "eth1", "lo"]


async def test_a_name_taken_in_the_last_moment_is_refused_by_the_kernel(
    host: Space, workload: Space, netlink: Netlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload.ip("link", "add", "eth0", "type", "bridge")
    await build(netlink)
    monkeypatch.setattr(attach, "_exists", lambda _name: False)
    with pytest.raises(HostError) as caught:
        attached(host, workload, "eth0")
    assert caught.value.errno == errno.EEXIST
    assert workload.links() == ["eth0", "lo"] and PEER in host.links()


async def test_a_step_that_fails_late_brings_the_link_back(host: Space, workload: Space, netlink: Netlink) -> None:
    await build(netlink)
    with pytest.raises(HostError, match=r"cannot add address 10\.32\.0\.2/12"):
        attached(host, workload, addresses=["10.32.0.2/12", "10.32.0.2/12"])
    assert workload.links() == ["lo"]
    shown = host.show(PEER)
    assert "UP" not in shown["flags"] and shown["gso_max_size"] == GSO
    assert json.loads(host.ip("-j", "addr", "show", "dev", PEER))[0]["addr_info"] == []


async def test_a_link_that_never_arrived_moves_nothing_else(host: Space, workload: Space, netlink: Netlink) -> None:
    workload.ip("link", "add", "mesh0", "type", "bridge")
    await build(netlink)
    with pytest.raises(HostError, match="cannot find") as caught:
        run_in(host.path, lambda: configure(workload.path, "mp0000dead00", "mesh0", [], [], MTU))
    assert caught.value.errno == errno.ENODEV
    assert workload.links() == ["lo", "mesh0"]
    with pytest.raises(HostError, match="ENODEV"):
        run_in(host.path, lambda: move_link("mp0000dead00", workload.path))


async def test_a_second_attachment_shares_the_first_ones_multicast_route(
    host: Space, workload: Space, netlink: Netlink
) -> None:
    await build(netlink)
    assert attached(host, workload) == []
    other_mac = bytes((2, 0, 0, 0, 0, 9))
    await netlink.create_veth("mv0000000002", "mp0000000002", mtu=MTU, mac=other_mac, bridge=BRIDGE, gso_max_size=GSO)

    def second() -> list[str]:
        move_link("mp0000000002", workload.path)
        return configure(workload.path, "mp0000000002", "mesh1", ["10.32.0.3/12"], ["224.0.0.0/4"], MTU)

    notes = run_in(host.path, second)
    assert len(notes) == 1 and "224.0.0.0/4" in notes[0]
    assert workload.links() == ["lo", "mesh0", "mesh1"]


async def test_an_attachment_can_be_undone(host: Space, workload: Space, netlink: Netlink) -> None:
    await build(netlink)
    attached(host, workload)
    run_in(host.path, lambda: restore_link(workload.path, "mesh0", PEER))
    assert workload.links() == ["lo"] and PEER in host.links()
    assert attached(host, workload) == []


async def test_two_attached_workloads_talk_through_the_bridge(
    host: Space, workload: Space, netlink: Netlink, taps: list[Tap]
) -> None:
    await build(netlink)
    attached(host, workload)
    open_in(host, taps)
    await netlink.configure_tap(TAP, mtu=MTU, mac=TAP_MAC, bridge=BRIDGE, gso_max_size=GSO)

    def shout() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sock.sendto(b"to everyone", ("10.47.255.255", 9))

    run_in(workload.path, shout)
    seen: list[bytes] = []
    os.set_blocking(taps[0].fd, True)
    # Bounded by the test's own time limit; the kernel's multicast chatter may come first.
    while not seen or b"to everyone" not in seen[-1]:
        seen.append(os.read(taps[0].fd, 65_536))
    assert seen[-1][HEADER_BYTES : HEADER_BYTES + 12] == b"\xff" * 6 + PEER_MAC
