"""Finding the token in what `launch` printed, and a daemon's two processes by argv."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab.daemons import Daemon, token_in
from tests.lab.errors import LabError
from tests.lab.processes import Process


def test_the_token_is_one_shell_word() -> None:
    assert token_in("On other hosts:\n  meshnet join mesh1-AZ_09-x --name h2\n") == "mesh1-AZ_09-x"
    with pytest.raises(LabError, match="no join token"):
        token_in("mesh2-abc")


def daemon(*argvs: tuple[str, ...]) -> Daemon:
    running = [Process(number, argv) for number, argv in enumerate(argvs, 1)]
    host: Any = SimpleNamespace(name="h1", processes=lambda: running)
    return Daemon(host, Path("/lab/h1/run"), Path("/lab/h1/state"))


def test_its_processes_are_told_from_commands_and_other_daemons() -> None:
    ours = daemon(
        ("python", "-m", "meshnet", "meshnetd", "--run-dir", "/lab/h1/run", "start"),
        ("python", "-m", "meshnet", "meshnetd", "--run-dir", "/lab/h1/other", "start"),
        ("python", "-m", "meshnet.forwarder"),
        ("python", "-m", "meshnet", "--run-dir", "/lab/h1/run", "status"),
        ("iperf3", "-s"),
    )
    assert ours.meshnetd().pid == 1
    assert ours.forwarder().pid == 3
    assert [process.pid for process in ours.processes()] == [1, 3]


def test_none_or_two_is_an_error() -> None:
    with pytest.raises(LabError, match="0 processes are the meshnetd of h1"):
        daemon().meshnetd()
    with pytest.raises(LabError, match="2 processes are the forwarder"):
        daemon(("python", "-m", "meshnet.forwarder"), ("python", "-m", "meshnet.forwarder")).forwarder()
