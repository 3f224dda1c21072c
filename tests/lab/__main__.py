"""A lab to play with: three hosts in one mesh, kept until Ctrl-C or `down`.

python -m tests.lab [up] [--hosts N] [--wire offload|plain|nic]     builds one and prints how to enter it
python -m tests.lab down                                            ends those, and sweeps labs of dead
processes
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from tests.lab.errors import LabError
from tests.lab.lab import Lab, missing
from tests.lab.mesh import found
from tests.lab.processes import end
from tests.lab.sweep import directory_of, live, owners, sweep_stale
from tests.lab.wire import Wire

KEPT = "kept"  # a file of this name in the lab's directory says that `down` may end it


def up(hosts: int, wire: Wire) -> None:
    with Lab(wire) as lab:
        built = [lab.host(f"h{number}") for number in range(1, hosts + 1)]
        for host, workload in zip(built, found(built, print), strict=True):
            space = " " * len(host.name)
            print(f"{host.name}  host      sudo nsenter --net={host.path}   underlay {host.address}")
            print(f"{space}  workload  sudo nsenter --net={workload.path}   overlay {workload.address}")
            print(f"{space}  daemon    meshnet --run-dir {host.daemon.run_dir} status")
        (lab.directory / KEPT).touch()
        print("kept until Ctrl-C, or `make lab-down` in another shell", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print()


def down() -> None:
    kept = [pid for pid in owners() if live(pid) and (directory_of(pid) / KEPT).exists() and pid != os.getpid()]
    end(kept, signal.SIGTERM)
    for pid in [*kept, *sweep_stale()]:
        print(f"removed the lab of process {pid}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.lab", description="a lab of namespaces to play with")
    parser.add_argument("verb", nargs="?", choices=("up", "down"), default="up")
    parser.add_argument("--hosts", type=int, default=3)
    parser.add_argument("--wire", type=Wire, choices=list(Wire), default=Wire.OFFLOAD)
    chosen = parser.parse_args()
    reason = missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    try:
        if chosen.verb == "down":
            down()
        else:
            up(chosen.hosts, chosen.wire)
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
