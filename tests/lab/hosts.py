"""Hosts of the lab and the workloads that stand behind them.

Rule: a host is a namespace with eth0 on the underlay, addresses of its own, and directories of its own in the
place of /run/meshnet and /var/lib/meshnet. A workload is a namespace without any link: what it gets, it gets
by `meshnet attach` (or from a bench peer). Addresses follow from the order of creation: 198.18.0.N and
fd00:18::N, the benchmarking range of RFC 2544 and a unique local one; they never leave the lab's namespaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.lab.daemons import Daemon
from tests.lab.errors import LabError
from tests.lab.namespace import Namespace
from tests.lab.processes import Reaper
from tests.lab.wire import Switch

IPV4_NET, IPV6_NET = "198.18.0", "fd00:18:"


class Workload(Namespace):
    """A container's stand-in on `host`. `address` is set by whoever attaches it."""

    address: str = ""


class Host(Namespace):
    """One machine of the lab."""

    def __init__(
        self,
        name: str,
        number: int,
        switch: Switch,
        *,
        ipv4: bool,
        ipv6: bool,
        mtu: int,
        mark: str,
        directory: Path,
        environment: Mapping[str, str],
        reaper: Reaper,
    ) -> None:
        if not (ipv4 or ipv6):
            raise LabError(f"host {name} needs an address of at least one family")
        super().__init__(name, mark=mark, directory=directory, environment=environment, reaper=reaper)
        self.switch = switch
        self.mtu = mtu
        self.ipv4 = f"{IPV4_NET}.{number}" if ipv4 else None
        self.ipv6 = f"{IPV6_NET}:{number}" if ipv6 else None
        self.workloads: dict[str, Workload] = {}
        switch.connect(self, mtu=mtu)
        commands = [f"address add {self.ipv4}/24 dev eth0"] if self.ipv4 else []
        if self.ipv6:
            commands.append(f"address add {self.ipv6}/64 dev eth0 nodad")
        self.ip(*commands)
        self.daemon = Daemon(self, directory / "run", directory / "state")
        self.daemons = [self.daemon]

    @property
    def address(self) -> str:
        """Its underlay address, IPv4 where it has one."""
        return self.ipv4 or self.ipv6 or ""

    def workload(self, name: str) -> Workload:
        """A new workload namespace, full name <mark>-<host>-<name>."""
        workload = Workload(
            f"{self.name}-{name}",
            mark=self.mark,
            directory=self.directory / name,
            environment=self.environment,
            reaper=self.reaper,
        )
        self.workloads[name] = workload
        return workload

    def second_daemon(self, run: str, state: str) -> Daemon:
        """A handle on a daemon with other directories on this host: by name, under the host's own
        directory."""
        self.daemons.append(Daemon(self, self.directory / run, self.directory / state))
        return self.daemons[-1]

    def route_over(self, other: Host) -> None:
        """Tell the kernel that the way to `other` carries no more than the smaller MTU of the two."""
        if other.mtu < self.mtu:
            for address, length in ((other.ipv4, 32), (other.ipv6, 128)):
                family = self.ipv4 if length == 32 else self.ipv6
                if address and family:
                    self.ip(f"route replace {address}/{length} dev eth0 src {family} mtu {other.mtu}")
