"""No overlay: the workloads' bridge has a second link to the underlay's switch as its port. The upper
bound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.peers.adapter import ETHERNET_MTU, await_answers, bridge, plug
from tests.lab.hosts import Host, Workload

UPLINK, BRIDGE = "eth1", "bnone"


class Direct:
    """Workloads on the underlay itself."""

    name = "none"
    settings: Mapping[str, object] = {"mtu": ETHERNET_MTU}

    def up(self, hosts: Sequence[Host]) -> list[Workload]:
        workloads = []
        for number, host in enumerate(hosts, 1):
            host.switch.connect(host, UPLINK, host.mtu)
            bridge(host, BRIDGE, UPLINK)
            workload = host.workload(self.name)
            plug(host, workload, BRIDGE, f"198.18.100.{number}/24", mtu=ETHERNET_MTU)
            workloads.append(workload)
        await_answers(workloads)
        return workloads

    def down(self) -> None:
        pass
