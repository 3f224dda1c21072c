"""What is kept of a lab when a test fails.

Rule: one directory per failed test, per host: meshnet's status and log, addresses, links, routes, forwarding
tables, nft rules, what its commands wrote, and the capture of its port. Keeping must not fail the test a
second time: a command that cannot answer leaves its error in the file.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.lab.errors import LabError
from tests.lab.namespace import Namespace

if TYPE_CHECKING:
    from tests.lab.lab import Lab

ROOT = Path(__file__).resolve().parents[2]
ARTEFACTS = ROOT / "artefacts"
LONGEST_NAME = 120
LONGEST_OUTPUT = 1_000_000
LOOKS = {
    "addresses": "ip -d address",
    "links": "ip -d -s link",
    "routes": "ip route show table all; ip -6 route show table all; ip neighbour",
    "bridge": "bridge fdb; bridge -d link",
    "nft": "nft list ruleset",
    "sockets": "ss -nape",
    "processes": "ps -eo pid,ppid,uid,stat,etime,args",
}


def directory_for(test: str) -> Path:
    """Where the artefacts of the test with this pytest name go."""
    return ARTEFACTS / re.sub(r"[^A-Za-z0-9._-]+", "-", test)[:LONGEST_NAME].strip("-")


def keep(lab: Lab, directory: Path) -> None:
    """Write everything about `lab` into `directory`, which is emptied first."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    _look(lab.switch.namespace, directory / "wire")
    for host in lab.hosts.values():
        place = directory / host.name
        _look(host, place)
        for daemon in host.daemons:
            mark = "" if daemon is host.daemon else f"-{daemon.run_dir.name}"
            run = [sys.executable, "-m", "meshnet", "--run-dir", str(daemon.run_dir), "--json", "status"]
            _answer(host, run, place / f"status{mark}.json")
            (place / f"meshnetd{mark}.log").write_text(daemon.log())
        for workload in host.workloads.values():
            _look(workload, place / workload.name)
    if lab.recorder is not None:
        lab.recorder.save(directory)


def _look(namespace: Namespace, place: Path) -> None:
    place.mkdir()
    for name, command in LOOKS.items():
        _answer(namespace, ["sh", "-c", command], place / f"{name}.txt")
    for written in [*sorted(namespace.directory.glob("*.out")), *sorted(namespace.directory.glob("*.err"))]:
        (place / written.name).write_bytes(written.read_bytes()[-LONGEST_OUTPUT:])


def _answer(namespace: Namespace, argv: list[str], file: Path) -> None:
    try:
        done = namespace.run(argv, check=False, timeout=10)
        file.write_text(done.stdout + done.stderr)
    except (LabError, OSError) as error:
        file.write_text(f"{error}\n")
