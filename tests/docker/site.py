"""Two hosts of one mesh with a Docker engine each, and what is asked of them again and again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from tests.lab.engine import PLUGIN_DIR, Engine
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.poll import poll

SUBNET = "10.77.0.0/16"
ANSWER_S = 10.0
SWEPT_S = 30.0


@dataclass
class Site:
    """Hosts and engines in the same order."""

    lab: Lab
    hosts: list[Host]
    engines: list[Engine]

    def create(self, name: str = "web", *options: str, subnet: str | None = SUBNET) -> None:
        """The recommended form, on every host: one network of the mesh."""
        for engine in self.engines:
            self.create_on(engine, name, *options, subnet=subnet)

    def create_on(self, engine: Engine, name: str = "web", *options: str, subnet: str | None = SUBNET) -> None:
        """The recommended form on one host."""
        given = ("--subnet", subnet) if subnet else ()
        ours = ("-d", "meshnet", "--ipam-driver", "meshnet", "--ipam-opt", f"meshnet.network={name}")
        engine.docker("network", "create", *ours, *given, *options, name)

    def reach(self, one: int, container: str, address: str) -> None:
        """Wait until a container on host `one` gets an answer from `address`."""
        engine = self.engines[one]
        poll(
            lambda: engine.answers(container, address), ANSWER_S, f"ping {container} on {engine.host.name} → {address}"
        )

    def status(self, index: int) -> dict[str, Any]:
        """`meshnet docker status` of one host."""
        return self.hosts[index].daemon.json("docker", "status")

    def veths(self, index: int) -> list[str]:
        """The links of endpoints on a host, either end."""
        listed = json.loads(self.hosts[index].run(["ip", "-j", "link"]).stdout)
        return [link["ifname"] for link in listed if link["ifname"].startswith(("mv", "mp"))]

    def leftovers(self, index: int) -> list[str]:
        """What meshnet still holds for Docker on a host; empty is what must be."""
        status = self.status(index)
        held = [f"{kind}: {entry}" for kind in ("networks", "endpoints", "leases") for entry in status[kind]]
        return held + [f"link: {name}" for name in self.veths(index)]

    def sockets(self, index: int) -> list[str]:
        """What lies in a host's plugin directory."""
        return self.hosts[index].run(["ls", str(PLUGIN_DIR)]).stdout.split()

    def mend(self) -> None:
        """Start again whatever a test ended."""
        for host, engine in zip(self.hosts, self.engines, strict=True):
            if not engine.running:
                engine.start()
            if len(host.daemon.processes()) < 2:
                host.daemon.start()

    def clear(self) -> None:
        """Remove every container and every network of meshnet's, and see that nothing is held any more."""
        for engine in self.engines:
            names = engine.docker("ps", "--all", "--quiet").stdout.split()
            if names:
                engine.docker("rm", "--force", *names)
            networks = engine.docker("network", "ls", "--quiet", "--filter", "driver=meshnet").stdout.split()
            if networks:
                engine.docker("network", "rm", *networks)
        for index in range(len(self.hosts)):
            self.wait_clean(index)

    def wait_clean(self, index: int) -> None:
        """Wait until a host holds nothing for Docker."""
        poll(lambda: not self.leftovers(index), SWEPT_S, f"{self.hosts[index].name} holds nothing for Docker")

    def wait_leases(self, index: int, count: int) -> None:
        """Wait until a host holds so many leases for Docker."""
        poll(lambda: len(self.status(index)["leases"]) == count, SWEPT_S, f"{count} leases on {self.hosts[index].name}")
