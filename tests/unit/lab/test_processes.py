"""Processes: alive or not, found by their mark, ended by pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from tests.lab.poll import poll
from tests.lab.processes import MARK_VARIABLE, alive, end, marked, start_time


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen(["true"])
    try:
        poll(lambda: not alive(child.pid), 5, "end of true")
        assert os.path.exists(f"/proc/{child.pid}")
    finally:
        child.wait()
    assert not alive(child.pid)
    assert start_time(child.pid) is None


def test_a_process_is_found_by_its_mark_and_ended() -> None:
    mark = f"mn-{os.getpid()}-unit"
    argv = [sys.executable, "-c", "import time; print(flush=True); time.sleep(1000)"]
    child = subprocess.Popen(argv, env={**os.environ, MARK_VARIABLE: mark}, stdout=subprocess.PIPE)
    assert child.stdout is not None
    with child.stdout:
        child.stdout.readline()
    assert [(process.pid, list(process.argv)) for process in marked(mark, [])] == [(child.pid, argv)]
    assert marked(mark[:-1], []) == []
    assert start_time(child.pid) is not None
    end([child.pid])
    assert child.wait(5) == -signal.SIGKILL
    assert marked(mark, []) == []


def test_ending_what_is_gone_is_no_error() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    end([child.pid])
