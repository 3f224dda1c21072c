"""meshnet on a host of the lab: the command line as an operator types it, and the two processes behind it.

Rule: everything goes through the real CLI, run by the interpreter that runs the tests, with the host's own
--run-dir and --state-dir. Processes are found by namespace and argv and ended by pid.

Flow: `token = h1.daemon.launch()`, `h2.daemon.join(token)`, `h2.daemon.attach(workload)`, `status()`,
`stop()`.
"""

from __future__ import annotations

import ipaddress
import json
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.lab.errors import LabError
from tests.lab.poll import poll
from tests.lab.processes import Process, end

if TYPE_CHECKING:
    from tests.lab.hosts import Host, Workload

START_DEADLINE_S = 30.0
TOKEN = re.compile(r"\bmesh1-[A-Za-z0-9_-]+")


def token_in(text: str) -> str:
    """The join token in what a command printed; `LabError` when there is none."""
    found = TOKEN.search(text)
    if found is None:
        raise LabError(f"no join token in {text!r}")
    return found.group()


class Daemon:
    """The meshnet of one host, addressed by its run directory."""

    def __init__(self, host: Host, run_dir: Path, state_dir: Path) -> None:
        self.host = host
        self.run_dir = run_dir
        self.state_dir = state_dir

    def cli(
        self, *words: str, check: bool = True, timeout: float = START_DEADLINE_S, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `meshnet --run-dir … WORDS`."""
        argv = [sys.executable, "-m", "meshnet", "--run-dir", str(self.run_dir), *words]
        return self.host.run(argv, check=check, timeout=timeout, input=input)

    def json(self, *words: str, timeout: float = START_DEADLINE_S) -> dict[str, Any]:
        """Run a command with --json and return the object it printed."""
        answer = json.loads(self.cli("--json", *words, timeout=timeout).stdout)
        if not isinstance(answer, dict):
            raise LabError(f"meshnet --json {' '.join(words)} printed no object")
        return answer

    def launch(self, *options: str, name: str = "") -> str:
        """Found a mesh; returns the token from the `meshnet join …` line it printed."""
        words = ["launch", "--name", name or self.host.name, "--state-dir", str(self.state_dir), *options]
        return token_in(self.cli(*words).stdout)

    def join(self, token: str, *options: str, name: str = "") -> None:
        """Join the mesh of `token` (`-` and `@FILE` work as on the command line)."""
        self.cli("join", token, "--name", name or self.host.name, "--state-dir", str(self.state_dir), *options)

    def start(self) -> None:
        """Resume from the state directory."""
        self.cli("start", "--state-dir", str(self.state_dir))

    def stop(self) -> None:
        """End both processes; returns when they have ended."""
        self.cli("stop")
        poll(lambda: not self.processes(), START_DEADLINE_S, f"end of meshnet on {self.host.name}")

    def status(self) -> dict[str, Any]:
        return self.json("status")

    def attach(self, workload: Workload, *options: str) -> str:
        """Attach a workload by its namespace's name; sets and returns its IPv4 address (without the
        length)."""
        answer = self.json("attach", workload.full_name, *options)
        interfaces = [ipaddress.ip_interface(text) for text in answer["addresses"]]
        workload.address = str(next(interface.ip for interface in interfaces if interface.version == 4))
        return workload.address

    def detach(self, workload: Workload) -> None:
        self.cli("detach", workload.full_name)

    def processes(self) -> list[Process]:
        """meshnetd and its forwarder, without the commands an operator runs."""
        return [process for process in self.host.processes() if self._role(process.argv)]

    def meshnetd(self) -> Process:
        """The control process of this run directory."""
        return self._only("meshnetd")

    def forwarder(self) -> Process:
        """The data process. Its argv names no directory: with two daemons on one host, ask their status
        instead."""
        return self._only("forwarder")

    def kill(self, *roles: str, sign: signal.Signals = signal.SIGKILL) -> None:
        """Signal the processes of these roles (`meshnetd`, `forwarder`) by pid and wait for their end."""
        end([self._only(role).pid for role in roles], sign)

    def log(self) -> str:
        """What the daemon logged, or nothing."""
        path = self.run_dir / "meshnetd.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def peers_up(self) -> Sequence[str]:
        """Names of the other peers that gossip reaches now, sorted."""
        return sorted(peer["name"] for peer in self.status()["peers"] if peer["reachable"])

    def _role(self, argv: Sequence[str]) -> str | None:
        if any(word == "forwarder" or word.endswith(("meshnet.forwarder", "meshnet/forwarder")) for word in argv[:4]):
            return "forwarder"
        if "meshnetd" in argv[:4] and str(self.run_dir) in argv:
            return "meshnetd"
        return None

    def _only(self, role: str) -> Process:
        found = [process for process in self.processes() if self._role(process.argv) == role]
        if len(found) != 1:
            raise LabError(f"{len(found)} processes are the {role} of {self.host.name}: {', '.join(map(str, found))}")
        return found[0]
