"""Which labs are stale."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.lab import sweep
from tests.lab.processes import start_time


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "netns").mkdir()
    monkeypatch.setattr(sweep, "NETNS_DIR", tmp_path / "netns")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_owners_are_read_from_the_names(places: Path) -> None:
    for name in ("mn-12-h1", "mn-7-wire", "mn-12-h2", "mine", "mn-x-h1", "xmn-5-h1"):
        (places / "netns" / name).touch()
    (places / "mn-9-lab").mkdir()
    assert sweep.owners() == [7, 9, 12]
    assert [path.name for path in sweep.namespaces_of(12)] == ["mn-12-h1", "mn-12-h2"]
    assert sweep.namespaces_of(1) == []


def test_a_lab_lives_as_long_as_the_very_process_that_built_it(places: Path) -> None:
    me = os.getpid()
    assert sweep.live(me)
    sweep.directory_of(me).mkdir()
    owner = sweep.directory_of(me) / "owner"
    owner.write_text(str(start_time(me)))
    assert sweep.live(me)
    owner.write_text("1")  # the pid was given to another process since
    assert not sweep.live(me)
    gone = subprocess.Popen(["true"])
    gone.wait()
    assert not sweep.live(gone.pid)


def test_sweeping_removes_names_and_directory(places: Path) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    (places / "netns" / f"mn-{gone.pid}-h1").touch()
    sweep.directory_of(gone.pid).mkdir()
    (sweep.directory_of(gone.pid) / "file").touch()
    assert sweep.sweep_stale() == [gone.pid]
    assert list((places / "netns").iterdir()) == []
    assert not sweep.directory_of(gone.pid).exists()
    assert sweep.sweep_stale() == []
