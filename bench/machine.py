"""On what a figure was measured: the fingerprint that stands beside every result."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.lab.artefacts import ROOT

STEAL = 7  # position in the cpu line of /proc/stat, see proc(5)
GUEST = 8  # what follows is counted in user time already


@dataclass(frozen=True)
class Ticks:
    """CPU time of all processors since boot, in clock ticks."""

    total: int
    steal: int

    def percent_since(self, before: Ticks) -> float:
        """How much of the time since `before` the hypervisor gave to others, in percent."""
        passed = self.total - before.total
        return 100 * (self.steal - before.steal) / passed if passed > 0 else 0.0


def ticks_in(stat: str) -> Ticks:
    """Parse the text of /proc/stat."""
    values = [int(word) for word in stat.splitlines()[0].split()[1:]]
    return Ticks(sum(values[:GUEST]), values[STEAL])


def steal_ticks() -> Ticks:
    """The ticks now."""
    return ticks_in(Path("/proc/stat").read_text())


def fingerprint() -> dict[str, object]:
    """Kernel, processor, interpreter, versions and commit. No host name: results are shared."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "kernel": platform.release(),
        "cpu": model[0].partition(":")[2].strip() if model else platform.machine(),
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "iperf3": _said(["iperf3", "--version"]).partition("\n")[0],
        "cryptography": _said([*_python("cryptography")]),
        "uvloop": _said([*_python("uvloop")]),
        "commit": _said(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        "changed": bool(_said(["git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no"])),
        "load": os.getloadavg()[0],
    }


def _python(package: str) -> list[str]:
    import sys

    return [sys.executable, "-c", f"from importlib.metadata import version; print(version({package!r}))"]


def _said(argv: list[str]) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
