"""How much memory a process holds."""

from __future__ import annotations

import re
from pathlib import Path

from tests.lab.errors import LabError

KIB = 1024


def resident(pid: int) -> int:
    """Bytes of `pid` in memory (VmRSS of proc(5)); `LabError` when it has none."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise LabError(f"process {pid} has no memory: it has ended")
    return int(found.group(1)) * KIB
