"""A mesh of many hosts on one machine: how it is started a few at a time, asked often, and how hosts of it die.

Rule: a figure begins at the end of the last command, so `meshnet join` and `meshnet start` themselves are not in it.
Daemons are asked over their own sockets: twenty commands for every question would be the load that is measured.
A host dies in one of two ways: both its processes are killed, and its kernel then tells whoever had a connection; or
its cable is out, and nobody is told anything.

Flow: `crowd = Crowd(lab, 20)`, `crowd.join()`, `settled(…)`, `kill(…)` or `cut(…)`, `settled(…)`.
"""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Sequence

from meshnet.cli.client import Client
from meshnet.errors import MeshnetError
from tests.lab.daemons import token_in
from tests.lab.errors import LabError
from tests.lab.hosts import Host
from tests.lab.lab import Lab
from tests.lab.namespace import Child
from tests.lab.poll import poll
from tests.lab.processes import end

AT_ONCE = 4  # commands; each starts two processes, and the machine may have two processors
START_S = 180.0  # for all of them


def run_all(commands: Sequence[Callable[[], Child]]) -> None:
    """Run them, AT_ONCE at a time, to their ends; `LabError` with the words of the first that failed."""
    waiting, running = list(commands), list[Child]()

    def all_ended() -> bool:
        for child in [child for child in running if child.process.poll() is not None]:
            running.remove(child)
            if child.process.returncode:
                raise LabError(f"{child.command} failed: {child.errors()[-2000:]}")
        while waiting and len(running) < AT_ONCE:
            running.append(waiting.pop(0)())
        return not running

    try:
        poll(all_ended, START_S, f"the end of {len(commands)} commands")
    finally:
        for child in running:
            child.stop(signal.SIGKILL)


class Crowd:
    """`count` hosts h1, h2, … of a lab, whose first founds the mesh."""

    def __init__(self, lab: Lab, count: int) -> None:
        self.hosts = [lab.host(f"h{number}") for number in range(1, count + 1)]
        self._lab = lab

    def join(self) -> float:
        """Found the mesh and join all others to it; seconds it took until the last was READY."""
        begun = time.monotonic()
        first, *others = self.hosts
        first.daemon.launch()
        token = token_in(first.daemon.cli("token", "create", "--uses", str(len(others))).stdout)
        run_all([self._command(host, "join", token, "--name", host.name) for host in others])
        return time.monotonic() - begun

    def start(self, hosts: Sequence[Host]) -> float:
        """`meshnet start` on each; seconds it took until the last was READY."""
        begun = time.monotonic()
        run_all([self._command(host, "start") for host in hosts])
        return time.monotonic() - begun

    def kill(self, hosts: Sequence[Host]) -> None:
        """SIGKILL for both processes of each of them at one time."""
        end([process.pid for host in hosts for process in host.daemon.processes()], signal.SIGKILL)

    def cut(self, hosts: Sequence[Host]) -> None:
        """Take their cables out: they fall silent and are not heard of again."""
        for host in hosts:
            self._lab.switch.unplug(host)

    def plug(self, hosts: Sequence[Host]) -> None:
        """Put their cables back."""
        for host in hosts:
            self._lab.switch.plug(host)

    def settled(self, hosts: Sequence[Host], deadline: float) -> float:
        """Seconds until each of `hosts` reaches all the others of them and nobody else; `LabError` if in vain."""
        begun, wanted = time.monotonic(), {host.name for host in hosts}
        wrong: list[str] = []

        def all_see() -> bool:
            wrong[:] = [said for host in hosts if (said := difference(reached(host), wanted - {host.name}, host))]
            return not wrong

        try:
            poll(all_see, deadline, f"{len(hosts)} hosts that reach each other and nobody else")
        except LabError as error:
            raise LabError(f"{error}: {'; '.join(wrong)}") from None
        return time.monotonic() - begun

    def _command(self, host: Host, *words: str) -> Callable[[], Child]:
        daemon = host.daemon
        argv = [sys.executable, "-m", "meshnet", "--run-dir", str(daemon.run_dir), *words]
        return lambda: host.spawn([*argv, "--state-dir", str(daemon.state_dir)], name=words[0])


def reached(host: Host) -> set[str]:
    """Names of the peers that gossip reaches from the host; empty when its daemon does not answer."""
    try:
        answer = Client(host.daemon.run_dir / "meshnet.sock").request("GET", "/v1/peers")
    except MeshnetError:
        return set()
    return {str(peer["name"]) for peer in answer["peers"] if peer["reachable"]}


def difference(found: set[str], wanted: set[str], host: Host) -> str:
    """What is wrong with the peers that a host reaches; nothing: the empty text."""
    missing, surplus = sorted(wanted - found), sorted(found - wanted)
    if not (missing or surplus):
        return ""
    return f"{host.name} misses {', '.join(missing) or 'nobody'}, still reaches {', '.join(surplus) or 'nobody else'}"
