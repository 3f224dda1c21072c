"""The wheel, installed in a fresh virtual environment outside the checkout, launches a mesh."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

ROOT = Path(__file__).resolve().parent.parent.parent


def run(*argv: str | Path, cwd: Path) -> None:
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_wheel_in_a_fresh_environment_launches_a_mesh(tmp_path: Path) -> None:
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist", cwd=ROOT)
    (wheel,) = (tmp_path / "dist").glob("meshnet-*.whl")
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    run(tmp_path / "venv/bin/python", "-m", "pip", "install", "-q", "--no-deps", wheel, cwd=tmp_path)
    lock = ROOT / "requirements" / "lock.txt"
    run(tmp_path / "venv/bin/python", "-m", "pip", "install", "-q", "-r", lock, cwd=tmp_path)
    meshnet = str(tmp_path / "venv/bin/meshnet")
    places = ["--run-dir", str(tmp_path / "run")]
    with Lab(Wire.OFFLOAD) as lab:
        host = lab.host("h1")
        workload = host.workload("w1")
        launched = host.run([meshnet, *places, "launch", "--name", "h1", "--state-dir", str(tmp_path / "state")])
        try:
            assert launched.stdout.startswith("meshnet join mesh1-")
            attached = host.run([meshnet, *places, "attach", workload.full_name])
            assert "10.32.0.2/12" in attached.stdout
            status = host.run([meshnet, *places, "status"])
            assert "READY" in status.stdout
        finally:
            host.run([meshnet, *places, "stop"])
