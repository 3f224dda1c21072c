"""leave: asked for, waited for, and what it says about the state."""

import io
import json
import os
import sys

import pytest

from meshnet.cli import lifecycle
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import FakeDaemon


@pytest.fixture(autouse=True)
def ended_daemon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake daemon is this process: a process that has ended stands in for it."""
    ended = os.open(os.devnull, os.O_RDONLY)  # always readable, as the pidfd of an ended process is
    monkeypatch.setattr(os, "pidfd_open", lambda pid: ended)


def test_leave_waits_for_the_end_and_tells_what_became_of_the_state(run: Run, daemon: FakeDaemon) -> None:
    ended = run("leave", "--yes")
    assert (ended.code, ended.out) == (0, "")
    assert "told: host-b" in ended.err and "2 workloads were detached" in ended.err and "*.left" in ended.err
    assert [call for call in daemon.backend.calls if call[0] == "leave"] == [("leave", False)]


def test_leave_may_wipe_and_speak_json(run: Run, daemon: FakeDaemon) -> None:
    assert json.loads(run("--json", "leave", "--yes", "--wipe").out)["wiped"] is True


def test_without_a_terminal_leaving_needs_a_yes(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    ended = run("leave")
    assert (ended.code, ended.out) == (2, "")
    assert "meshnet leave --yes" in ended.err
    assert daemon.backend.calls == []


def test_a_daemon_that_does_not_end_is_named(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "STOP_S", 0.01)
    reading, writing = os.pipe()
    monkeypatch.setattr(os, "pidfd_open", lambda pid: reading)
    ended = run("leave", "--yes")
    os.close(writing)
    assert ended.code == 6 and "has not ended" in ended.err
