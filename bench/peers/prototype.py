"""A fast-path prototype given by `--prototype PATH`: a script `PATH LOCAL REMOTE TAP ADDRESS/LEN MTU` per
host.

It sets its TAP up with an address of its own; the address is flushed and the TAP becomes a port of the
workloads' bridge. The workload's veth is capped at 57,344 bytes of GSO, as in the measurements it is known
by: without the cap the kernel would cut what the TAP cannot take to single packets.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.peers.adapter import READY_DEADLINE_S, await_answers, bridge, plug
from tests.lab.errors import CommandFailed
from tests.lab.hosts import Host, Workload
from tests.lab.namespace import Child
from tests.lab.poll import poll

TAP, BRIDGE = "proto0", "bproto"
MTU = 1420
GSO_MAX = 57344


class Prototype:
    """The prototype's process on each of two hosts."""

    name = "prototype"

    def __init__(self, script: Path) -> None:
        self.settings: Mapping[str, object] = {"mtu": MTU, "gso_max_size": GSO_MAX}
        self._script = script.resolve()
        self._children: list[Child] = []

    def up(self, hosts: Sequence[Host]) -> list[Workload]:
        one, other = hosts
        for number, (here, there) in enumerate(((one, other), (other, one)), 1):
            argv = [sys.executable, str(self._script), here.address, there.address, TAP]
            self._children.append(here.spawn([*argv, f"198.18.102.{100 + number}/24", str(MTU)], name="prototype"))
        workloads = []
        for number, (here, child) in enumerate(zip(hosts, self._children, strict=True), 1):
            # The script's last act before it serves is the cap on its TAP: wait for that, not only for the
            # TAP.
            poll(lambda here=here, child=child: _ready(here, child), READY_DEADLINE_S, f"{TAP} on {here.name}")  # type: ignore[misc]
            here.ip(f"address flush dev {TAP}")
            bridge(here, BRIDGE, TAP, mtu=MTU)
            workload = here.workload(self.name)
            plug(here, workload, BRIDGE, f"198.18.102.{number}/24", mtu=MTU, gso_max=GSO_MAX)
            workloads.append(workload)
        await_answers(workloads)
        return workloads

    def down(self) -> None:
        for child in self._children:
            child.stop()


def _ready(host: Host, child: Child) -> bool:
    if child.process.poll() is not None:
        raise RuntimeError(f"the prototype ended: {child.errors()}")
    try:
        return "gso_max_size 61440" in host.run(["ip", "-d", "link", "show", "dev", TAP]).stdout
    except CommandFailed:
        return False
