"""A namespace for the live tests of the host side, and what another program sees in it.

`ip -d -j link` is the witness of what netlink did: the code under test never reads its own work back for a
test.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from meshnet.host.namespace import run_in
from meshnet.host.netlink import Netlink
from meshnet.host.rtnl import Rtnl
from meshnet.host.tap import Tap, open_tap
from tests.unit.host.netlink_scenario import BRIDGE, BRIDGE_MAC, GSO, MTU, PEER, PEER_MAC, TAP, VETH


@dataclass(frozen=True)
class Space:
    """One namespace of this test: commands run in it, and `show` is what another program sees of a link."""

    name: str

    @property
    def path(self) -> str:
        return f"/run/netns/{self.name}"

    def ip(self, *arguments: str) -> str:
        command = ["ip", "-n", self.name, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout

    def show(self, link: str) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self.ip("-d", "-j", "link", "show", "dev", link))
        return found[0]

    def links(self) -> list[str]:
        return sorted(link["ifname"] for link in json.loads(self.ip("-j", "link")))

    def sysctl(self, link: str, key: str) -> str:
        def read() -> str:
            with open(f"/proc/sys/net/ipv6/conf/{link}/{key}", encoding="ascii") as file:
                return file.read().strip()

        return run_in(self.path, read)

    def gso_ipv4(self, link: str) -> int:
        """The attribute `ip` of Debian 12 does not print."""

        def read() -> int:
            with Rtnl() as rtnl:
                message = rtnl.ipr.link("get", index=socket.if_nametoindex(link))[0]
                return int(message.get_attr("IFLA_GSO_IPV4_MAX_SIZE"))

        return run_in(self.path, read)


def made_space(role: str) -> Iterator[Space]:
    space = Space(f"mn-{os.getpid()}-{role}")
    subprocess.run(["ip", "netns", "add", space.name], check=True, timeout=20)
    try:
        yield space
    finally:
        subprocess.run(["ip", "netns", "del", space.name], check=True, timeout=20)


def made_netlink(space: Space) -> Iterator[Netlink]:
    netlink = Netlink(space.path)
    yield netlink
    netlink.close()


def made_taps() -> Iterator[list[Tap]]:
    """An empty list; whatever TAPs a test puts in are closed when it ends."""
    taps: list[Tap] = []
    yield taps
    for tap in taps:
        tap.close()


def open_in(space: Space, taps: list[Tap], name: str = TAP) -> Tap:
    taps.append(run_in(space.path, lambda: open_tap(name)))
    return taps[-1]


async def build(netlink: Netlink) -> None:
    await netlink.ensure_bridge(BRIDGE, MTU, BRIDGE_MAC)
    await netlink.create_veth(VETH, PEER, mtu=MTU, mac=PEER_MAC, bridge=BRIDGE, gso_max_size=GSO)
