"""What a lab could leave behind on the machine, before and after.

Rule: nothing may be left: no named namespace, no link in the root namespace, no mount, no process. What
belongs to another live lab on the same machine is not ours and is left out of both pictures.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, fields
from pathlib import Path

from tests.lab.namespace import NETNS_DIR
from tests.lab.processes import marked
from tests.lab.sweep import NAME, directory_of, live, mark_of


@dataclass(frozen=True)
class Snapshot:
    """The machine's state as far as a lab could change it; each field is a set of printable names."""

    namespaces: frozenset[str]
    links: frozenset[str]
    mounts: frozenset[str]
    processes: frozenset[str]
    directories: frozenset[str]


def snapshot() -> Snapshot:
    """Look at the machine now."""
    listed = json.loads(subprocess.run(["ip", "-j", "link"], check=True, capture_output=True, timeout=10).stdout)
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    names = sorted(os.listdir(NETNS_DIR)) if NETNS_DIR.exists() else []
    directory = directory_of(os.getpid())
    return Snapshot(
        namespaces=frozenset(name for name in names if not _elsewhere(name)),
        links=frozenset(link["ifname"] for link in listed),
        mounts=frozenset(mount for mount in mounts if not _elsewhere(Path(mount).name)),
        processes=frozenset(str(process) for process in marked(mark_of(os.getpid()), [])),
        directories=frozenset([str(directory)] if directory.exists() else []),
    )


def left_behind(before: Snapshot, after: Snapshot) -> list[str]:
    """What `after` has and `before` had not, one line each; empty is what must be."""
    return [
        f"{field.name}: {name}"
        for field in fields(Snapshot)
        for name in sorted(getattr(after, field.name) - getattr(before, field.name))
    ]


def _elsewhere(name: str) -> bool:
    """Whether `name` belongs to the lab of another process that lives."""
    found = NAME.match(name)
    return found is not None and int(found.group(1)) != os.getpid() and live(int(found.group(1)))
