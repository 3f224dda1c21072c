"""A wall clock that can be set: one host's, while its daemons run.

Rule: only the wall clock is wrong (`wallclock.py`); monotonic clocks stay true, as they do when an operator or NTP sets
a host's clock. A fake below the C library was tried: libfaketime's processes share a semaphore, and whoever is killed
while holding it stops all others for good.

Flow: `clock = WallClock(host)`, `clock.restart()`, `clock.jump(10 * YEAR_S)`, `clock.jump(0)`.
"""

from __future__ import annotations

import os
import sys
import time
from datetime import datetime

from tests.lab.hosts import Host
from tests.lab.poll import poll

SEEN_S = 10.0
NEAR_S = 60.0
YEAR_S = 365 * 24 * 3600
COMMAND_S = 60.0


class WallClock:
    """The wall clock of one host's daemons."""

    def __init__(self, host: Host) -> None:
        self.host = host
        place = host.directory / "clock"
        place.mkdir()
        self._file = place / "offset"
        self._file.write_text("0\n")
        (place / "sitecustomize.py").write_text(
            "from pathlib import Path\n\nfrom tests.lab.wallclock import install\n\n"
            f"install(Path({str(self._file)!r}))\n"
        )
        self.environment = {"PYTHONPATH": os.pathsep.join((str(place), host.environment["PYTHONPATH"]))}

    def cli(self, *words: str) -> str:
        """Run `meshnet --run-dir … WORDS` under this clock; a daemon it starts keeps it. Returns its stdout."""
        argv = [sys.executable, "-m", "meshnet", "--run-dir", str(self.host.daemon.run_dir), *words]
        return self.host.run(argv, env=self.environment, timeout=COMMAND_S).stdout

    def restart(self) -> None:
        """End both processes as a crash would and start them under this clock."""
        self.host.daemon.kill("meshnetd", "forwarder")
        self.cli("start", "--state-dir", str(self.host.daemon.state_dir))

    def jump(self, seconds: int) -> None:
        """Set the clock `seconds` away from the true time. Returns when the running daemon says so in its status."""
        draft = self._file.with_suffix(".new")
        draft.write_text(f"{seconds}\n")
        draft.rename(self._file)
        poll(lambda: abs(self.now() - seconds - time.time()) < NEAR_S, SEEN_S, f"a clock {seconds} s away")

    def now(self) -> float:
        """The daemon's wall clock, in seconds since 1970."""
        return datetime.fromisoformat(str(self.host.daemon.status()["generated_at"])).timestamp()
