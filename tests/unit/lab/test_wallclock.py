"""The wall clock of another process that is set by a file."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.lab.artefacts import ROOT
from tests.lab.wallclock import Offset

SAYS = """
from pathlib import Path
from tests.lab.wallclock import install
install(Path(__import__("sys").argv[1]))
from datetime import UTC, datetime
from time import monotonic, time, time_ns
print(time(), time_ns(), datetime.now(UTC).timestamp(), monotonic())
"""


def test_the_wall_clock_alone_is_off(tmp_path: Path) -> None:
    file, before = tmp_path / "offset", time.monotonic()
    file.write_text("315360000\n")
    done = subprocess.run(
        [sys.executable, "-c", SAYS, str(file)], cwd=ROOT, check=True, capture_output=True, text=True, timeout=30
    )
    seconds, nanoseconds, date, monotonic = map(float, done.stdout.split())
    expected = datetime.now(UTC).timestamp() + 315_360_000
    for found in (seconds, nanoseconds / 1e9, date):
        assert abs(found - expected) < 60
    assert before <= monotonic < before + 60


def test_a_file_that_cannot_be_read_changes_nothing(tmp_path: Path) -> None:
    assert Offset(tmp_path / "none").seconds() == 0
    (tmp_path / "empty").touch()
    assert Offset(tmp_path / "empty").seconds() == 0
    (tmp_path / "good").write_text("-7")
    assert Offset(tmp_path / "good").seconds() == -7
