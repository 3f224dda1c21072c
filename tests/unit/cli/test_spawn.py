"""Starting a daemon: its surroundings, its log, every way it may not become ready, and becoming it."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meshnet.cli import spawn
from meshnet.cli.invocation import Invocation
from meshnet.config import Places
from meshnet.errors import MeshnetError
from tests.unit.cli.conftest import Double, Run, seen
from tests.unit.cli.fake import TOKEN

ROOT = Path(__file__).resolve().parents[3]


def test_the_daemon_is_on_its_own(run: Run, places: Places, double: Double) -> None:
    double("ready")
    assert run("launch", "--state-dir", str(places.state_dir)).code == 0
    found = seen(places)
    assert found["session"] == found["pid"] != os.getsid(0)
    assert (found["stdin"], found["stderr"]) == ("/dev/null", str(places.log))
    assert Path(found["cwd"]) == ROOT
    os.kill(found["pid"], 0)
    assert "the daemon speaks" in places.log.read_text()
    assert places.run_dir.stat().st_mode & 0o027 == 0


def test_a_silent_death_shows_this_starts_log(run: Run, places: Places, double: Double) -> None:
    places.run_dir.mkdir()
    places.log.write_text("of long ago\n")
    double("die")
    ended = run("launch", "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (1, "")
    assert "log:   the daemon speaks" in ended.err
    assert "of long ago" not in ended.err
    assert "status 9" in ended.err and str(places.log) in ended.err


def test_a_daemon_that_says_nothing_is_ended(places: Places, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    children: list[Any] = []

    class Kept(subprocess.Popen):  # type: ignore[type-arg]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            children.append(self)

    monkeypatch.setattr(subprocess, "Popen", Kept)
    double("silent")
    with pytest.raises(MeshnetError) as caught:
        spawn.start(Invocation(places, "start"), ready_s=0.3)
    assert caught.value.code == 6
    assert [child.returncode for child in children] == [-signal.SIGTERM]


def test_nonsense_on_the_ready_pipe_is_an_error(run: Run, places: Places, double: Double) -> None:
    double("nonsense")
    assert run("launch", "--state-dir", str(places.state_dir)).code == 1


def test_a_secret_that_fits_no_pipe_is_refused_unseen(places: Places) -> None:
    with pytest.raises(MeshnetError, match="far too long") as caught:
        spawn.start(Invocation(places, "start"), "s3cret" * 5_000)
    assert caught.value.code == 2 and "s3cret" not in str(caught.value)


def test_a_long_log_is_set_aside(places: Places, double: Double, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spawn, "LOG_BYTES", 10)
    places.run_dir.mkdir()
    places.log.write_text("twenty characters...")
    double("fail")
    with pytest.raises(MeshnetError):
        spawn.start(Invocation(places, "start"))
    assert places.log.with_name("meshnetd.log.1").read_text() == "twenty characters..."
    assert "the daemon speaks" in places.log.read_text()


def test_a_run_dir_that_cannot_be_made(run: Run, places: Places, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run("launch", "--run-dir", str(tmp_path / "file" / "run"), "--state-dir", str(places.state_dir))
    assert (ended.code, ended.out) == (1, "")
    assert "--run-dir" in ended.err


FOREGROUND = """
import sys
from meshnet.cli import main, spawn
from tests.unit.cli.conftest import double_argv
spawn._argv = lambda invocation: double_argv(sys.argv[1], invocation)
sys.exit(main.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("behaviour", "code"), [("ready", 0), ("fail", 0), ("die", 9)])
def test_foreground_becomes_the_daemon(places: Places, behaviour: str, code: int) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", FOREGROUND, behaviour, "launch", "--foreground", "--state-dir", str(places.state_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    out, err = child.communicate(timeout=20)
    assert child.returncode == code
    found = seen(places)
    assert found["pid"] == child.pid
    assert found["stdin"] == "/dev/null"
    assert Invocation.parse(found["argv"][1:]).foreground
    assert "the daemon speaks" in err
    assert out == (TOKEN["join"] + "\n" if behaviour == "ready" else "")
    assert ("error: port in use" in err) == (behaviour == "fail")
