"""Removing a lab that its owner could not remove.

Rule: only labs whose process is dead are swept: names and directories `mn-<pid>-…` where <pid> is gone, or
was given to another process since (the start time in the lab's `owner` file tells). The sweep ends the
processes in the lab's namespaces or with its mark, unbinds the namespaces and removes the directory.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from tests.lab.namespace import NETNS_DIR, remove
from tests.lab.processes import end, marked, start_time

GROUPS = Path("/sys/fs/cgroup")
NAME = re.compile(r"mn-(\d+)-")


def mark_of(pid: int) -> str:
    """What the names of everything in the lab of process `pid` begin with."""
    return f"mn-{pid}"


def directory_of(pid: int) -> Path:
    """Where that lab keeps the hosts' directories, captures and outputs."""
    return Path(tempfile.gettempdir()) / f"{mark_of(pid)}-lab"


def namespaces_of(pid: int) -> list[Path]:
    """The named namespaces of that lab, sorted."""
    return sorted(NETNS_DIR.glob(f"{mark_of(pid)}-*"))


def live(pid: int) -> bool:
    """Whether the process that built the lab of `pid` still runs."""
    now = start_time(pid)
    try:
        then = int((directory_of(pid) / "owner").read_text())
    except (OSError, ValueError):
        return now is not None
    return now == then


def owners() -> list[int]:
    """The pids in the names of all labs found here, sorted."""
    names = [*NETNS_DIR.glob("mn-*"), *Path(tempfile.gettempdir()).glob("mn-*-lab")]
    return sorted({int(found.group(1)) for path in names if (found := NAME.match(path.name))})


def sweep(pid: int) -> None:
    """Remove the lab of `pid`, whatever is left of it. May be called twice."""
    places = namespaces_of(pid)
    inodes = [inode for path in places if (inode := _inode(path)) is not None]
    while found := marked(mark_of(pid), inodes):
        end([process.pid for process in found])
    for path in places:
        remove(path)
    remove_groups(f"{mark_of(pid)}-*")
    shutil.rmtree(directory_of(pid), ignore_errors=True)


def groups_of(pattern: str) -> list[Path]:
    """The control groups at the top of any hierarchy whose name fits, and those inside, deepest first."""
    tops = [*GROUPS.glob(pattern), *GROUPS.glob(f"*/{pattern}")]
    inner = [Path(folder) for top in tops for folder, _, _ in os.walk(top)]
    return sorted(inner, key=lambda path: -len(path.parts))


def remove_groups(pattern: str) -> bool:
    """Remove these control groups, which an engine's containers left empty; whether none is left."""
    for path in groups_of(pattern):
        try:
            path.rmdir()
        except OSError:
            pass  # a process in it is just ending
    return not groups_of(pattern)


def sweep_stale() -> list[int]:
    """Remove every lab whose process is dead; returns their pids."""
    stale = [pid for pid in owners() if pid != os.getpid() and not live(pid)]
    for pid in stale:
        sweep(pid)
    return stale


def _inode(path: Path) -> int | None:
    try:
        status = path.stat()
    except OSError:
        return None
    # A name left without its mount is an empty plain file: its inode would name nobody's namespace.
    return status.st_ino if status.st_dev == Path("/proc/self/ns/net").stat().st_dev else None
