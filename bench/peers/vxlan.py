"""The kernel's VXLAN, unencrypted: what meshnet's speed is measured against.

Inner MTU 1450 on an underlay of 1500 (RFC 7348: 50 bytes of Ethernet, IPv4, UDP and VXLAN headers); two
hosts, each the other's remote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.peers.adapter import await_answers, bridge, plug
from tests.lab.hosts import Host, Workload

DEVICE, BRIDGE = "vx0", "bvxlan"
NUMBER, PORT = 4242, 4789
OVERHEAD = 50


class Vxlan:
    """Bridge to bridge through a vxlan device."""

    name = "vxlan"

    def __init__(self) -> None:
        self.settings: Mapping[str, object] = {}

    def up(self, hosts: Sequence[Host]) -> list[Workload]:
        one, other = hosts
        mtu = min(one.mtu, other.mtu) - OVERHEAD
        self.settings = {"mtu": mtu}
        workloads = []
        for number, (here, there) in enumerate(((one, other), (other, one)), 1):
            here.ip(
                f"link add {DEVICE} mtu {mtu} type vxlan id {NUMBER} local {here.ipv4} remote {there.ipv4} "
                f"dstport {PORT} dev eth0"
            )
            bridge(here, BRIDGE, DEVICE, mtu=mtu)
            workload = here.workload(self.name)
            plug(here, workload, BRIDGE, f"198.18.101.{number}/24", mtu=mtu)
            workloads.append(workload)
        await_answers(workloads)
        return workloads

    def down(self) -> None:
        pass
