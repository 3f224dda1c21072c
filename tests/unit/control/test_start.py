"""One daemon a run directory, one line to whoever started it, a log that stays short."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.control import start
from meshnet.errors import MeshnetError


def test_a_run_directory_has_one_daemon(tmp_path: Path) -> None:
    held = start.lock_run_dir(tmp_path / "run")
    with pytest.raises(MeshnetError, match="already runs"):
        start.lock_run_dir(tmp_path / "run")
    os.close(held)
    os.close(start.lock_run_dir(tmp_path / "run"))


def test_ready_is_one_line_and_a_reader_that_went_is_no_error() -> None:
    reading, writing = os.pipe()
    start.write_ready(writing, {"ready": True})
    with os.fdopen(reading, "rb") as pipe:
        assert json.loads(pipe.read()) == {"ready": True}
    reading, writing = os.pipe()
    os.close(reading)
    start.write_ready(writing, {"ready": True})
    with pytest.raises(OSError):
        os.fstat(writing)


def test_a_host_without_an_address_is_refused() -> None:
    start.refuse_unreachable(["192.0.2.1:6799"])
    with pytest.raises(MeshnetError, match="--advertise"):
        start.refuse_unreachable([])


async def test_a_log_that_grew_long_begins_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "LOG_BYTES", 10)
    path = tmp_path / "log"
    with path.open("a") as log:
        monkeypatch.setattr(sys, "stderr", log)
        log.write("short\n")
        log.flush()
        start.bound_log()
        assert path.read_text() == "short\n"
        log.write("no longer short\n")
        log.flush()
        start.bound_log()
        assert path.stat().st_size == 0
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    start.bound_log()


def test_the_clock_goes_on() -> None:
    assert start.boottime() <= start.boottime()


def test_no_core_is_left_and_nobody_reads_the_memory() -> None:
    """In a process of its own: this one still wants its limits."""
    code = """
import ctypes, resource
from meshnet.control.start import leave_no_core
leave_no_core()
print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "(0, 0) 0"
