"""Processes of a lab: which ones they are, how they end, who reaps them.

Rule: a lab ends only what it started. Two marks tell: the process runs in a network namespace the lab made,
or its environment carries MESHNET_LAB=<the lab's mark> (every command of the lab gets that, daemons inherit
it).

Flow: daemons detach from the command that started them. The lab's process is their subreaper, so they become
its children, and the `Reaper` thread collects them; otherwise "has it ended?" would be answered "no" for ever
where process 1 reaps nobody.

Reference: proc(5), prctl(2) PR_SET_CHILD_SUBREAPER, waitid(2) WNOWAIT.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.poll import poll

MARK_VARIABLE = "MESHNET_LAB"
REAPER_TURN_S = 0.1
STRANGER_TURNS = 5  # turns a zombie nobody registered is left to whoever may have started it
END_DEADLINE_S = 5.0
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Process:
    """A running process: its id and its argument vector."""

    pid: int
    argv: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.pid} {' '.join(self.argv)[:120]}"


def alive(pid: int) -> bool:
    """Whether `pid` exists and is not a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in ("Z", "X")


def start_time(pid: int) -> int | None:
    """The kernel's start time of `pid` in clock ticks, or None: with the pid it names a process for good."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return None


def marked(mark: str, inodes: Iterable[int]) -> list[Process]:
    """Every live process in a namespace of `inodes` or with the environment mark `mark`, by pid."""
    wanted = set(inodes)
    sign = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for entry in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
        if entry == os.getpid() or not alive(entry):
            continue
        proc = Path(f"/proc/{entry}")
        try:
            ours = (proc / "ns/net").stat().st_ino in wanted or sign in (proc / "environ").read_bytes().split(b"\0")
            if ours:
                argv = (proc / "cmdline").read_bytes().decode(errors="replace").split("\0")
                found.append(Process(entry, tuple(argv[:-1])))
        except OSError:
            continue  # it ended while we looked
    return found


def end(pids: Iterable[int], sign: signal.Signals = signal.SIGKILL) -> None:
    """Send `sign` to each pid and wait until all have ended (`NotInTime` after 5 s)."""
    targets = list(pids)
    for pid in targets:
        try:
            os.kill(pid, sign)
        except ProcessLookupError:
            pass
    poll(lambda: not any(alive(pid) for pid in targets), END_DEADLINE_S, f"end of processes {targets}")


class Reaper:
    """Collects the children of this process: those started by the lab and those it adopted as subreaper."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._children: dict[int, subprocess.Popen[str]] = {}
        self._stranger = (0, 0)  # pid and turns of the zombie nobody registered
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lab-reaper", daemon=True)

    def start(self) -> None:
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._thread.start()

    def stop(self) -> None:
        """Collect what has ended, then give up being the subreaper."""
        self._stop.set()
        self._thread.join()
        self._stranger = (self._stranger[0], STRANGER_TURNS)
        while self._turn():
            self._stranger = (self._zombie(), STRANGER_TURNS)
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)

    def register(self, child: subprocess.Popen[str]) -> None:
        """Tell of a child whose exit status belongs to `child`; call with the lock held since before the
        fork."""
        self._children[child.pid] = child

    def _run(self) -> None:
        while not self._stop.wait(REAPER_TURN_S):
            with self.lock:
                while self._turn():
                    pass

    @staticmethod
    def _zombie() -> int:
        """The pid of some child that has ended and was not waited for, or 0."""
        try:
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return 0
        return seen.si_pid if seen else 0

    def _turn(self) -> bool:
        """Reap one child if one may be reaped now; True when it did."""
        pid = self._zombie()
        if not pid:
            return False
        child = self._children.pop(pid, None)
        if child is not None:
            child.poll()
            return True
        turns = self._stranger[1] + 1 if self._stranger[0] == pid else 0
        self._stranger = (pid, turns)
        if turns < STRANGER_TURNS:
            return False
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass
        return True
