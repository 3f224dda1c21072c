"""meshnet itself: real daemons, launched and joined by the command line, workloads attached by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench.peers.adapter import await_answers
from tests.lab.daemons import Daemon
from tests.lab.hosts import Host, Workload


class Meshnet:
    """One mesh over the bench's hosts. `options` go to `launch` (for example `--cipher ChaChaPoly`)."""

    name = "meshnet"

    def __init__(self, *options: str) -> None:
        self.settings: Mapping[str, object] = {}
        self._options = options
        self._daemons: list[Daemon] = []

    def up(self, hosts: Sequence[Host]) -> list[Workload]:
        token = ""
        workloads = []
        for host in hosts:
            if token:
                host.daemon.join(token)
            else:
                token = host.daemon.launch(*self._options)
            self._daemons.append(host.daemon)
            workload = host.workload(self.name)
            host.daemon.attach(workload)
            workloads.append(workload)
        await_answers(workloads)
        status = self._daemons[0].status()
        self.settings = {
            "mtu": status["networks"][0]["mtu"],
            "cipher": status["mesh"]["cipher"],
            "version": status["version"],
            "notes": status["forwarder"]["notes"],
        }
        return workloads

    def down(self) -> None:
        for daemon in self._daemons:
            daemon.stop()
