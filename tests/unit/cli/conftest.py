"""A fake daemon, a double for the daemon's process, and the command line run in this process."""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meshnet.cli import spawn
from meshnet.cli.invocation import Invocation
from meshnet.cli.main import main
from meshnet.config import Places
from tests.unit.cli.fake import FakeDaemon


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]
Double = Callable[[str], None]


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDaemon]:
    """A daemon that MESHNET_RUN_DIR names."""
    monkeypatch.setenv("MESHNET_RUN_DIR", str(tmp_path))
    with FakeDaemon(tmp_path) as fake:
        yield fake


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run one command line; tells its exit code and what it wrote."""

    def run_it(*arguments: str) -> Ended:
        code = main(arguments)
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return run_it


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Places:
    monkeypatch.setenv("MESHNET_RUN_DIR", str(tmp_path / "run"))
    return Places(tmp_path / "run", tmp_path / "state")


def double_argv(behaviour: str, invocation: Invocation) -> list[str]:
    return [sys.executable, "-m", "tests.unit.cli.daemon_double", behaviour, *invocation.argv()]


@pytest.fixture
def double(places: Places, monkeypatch: pytest.MonkeyPatch) -> Iterator[Double]:
    """Make starts run the double with a behaviour; ends and reaps what still runs."""

    def use(behaviour: str) -> None:
        monkeypatch.setattr(spawn, "_argv", lambda invocation: double_argv(behaviour, invocation))

    yield use
    if (places.run_dir / "seen.json").exists():
        pid = seen(places)["pid"]
        try:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        except (ProcessLookupError, ChildProcessError):
            pass


def seen(places: Places) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((places.run_dir / "seen.json").read_text())
    return value
