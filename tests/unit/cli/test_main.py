"""How commands end: exit codes, empty stdout on errors, suggestions, global options anywhere, and lean imports."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.cli import main as main_module
from meshnet.cli.client import Client
from meshnet.cli.main import COMMANDS, commands
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import FakeDaemon

ROOT = Path(__file__).resolve().parents[3]
HEAVY = ("asyncio", "aiohttp", "cryptography", "pyroute2", "rich", "nacl", "msgspec", "uvloop")


def test_every_listed_command_exists() -> None:
    import click

    context = click.Context(commands)
    for name in COMMANDS:
        command = commands.get_command(context, name)
        assert command is not None and command.name == name
        assert command.get_short_help_str()


@pytest.mark.parametrize("arguments", [("status", "--jsn"), ("status", "extra"), ("join",), ("launch", "--ran", "x")])
def test_usage_errors_exit_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")


def test_help_is_data_and_lists_every_command(run: Run) -> None:
    ended = run("--help")
    assert (ended.code, ended.err) == (0, "")
    assert all(f"  {name} " in ended.out for name in COMMANDS)


def test_a_refusal_is_three_lines_on_stderr(run: Run, tmp_path: Path) -> None:
    ended = run("status", "--run-dir", str(tmp_path))
    assert (ended.code, ended.out) == (3, "")
    assert [line.split(":")[0] for line in ended.err.splitlines()] == ["error", "why", "fix"]


def test_a_traceback_is_for_debug_only(run: Run, tmp_path: Path) -> None:
    plain = run("status", "--run-dir", str(tmp_path))
    detailed = run("status", "--run-dir", str(tmp_path), "-v")
    assert "Traceback" not in plain.err and "Traceback" in detailed.err
    assert plain.code == detailed.code


def test_a_fault_of_the_command_is_a_plain_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(Client, "request", broken)
    ended = run("status")
    assert (ended.code, ended.out) == (1, "")
    assert "RuntimeError: boom" in ended.err and "Traceback" not in ended.err
    with pytest.raises(RuntimeError):
        main_module.main(["--debug", "status"])


def test_interrupts_exit_with_130(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Client, "request", interrupted)
    assert run("status").code == 130


@pytest.mark.parametrize("code", [code for code in ExitCode if code is not ExitCode.OK])
def test_the_daemons_exit_code_is_the_commands(run: Run, daemon: FakeDaemon, code: ExitCode) -> None:
    daemon.backend.failures["status"] = MeshnetError("what", "why\x1b[2J", "fix", code)
    ended = run("status")
    assert (ended.code, ended.out) == (int(code), "")
    assert ended.err == "error: what\nwhy:   why?[2J\nfix:   fix\n"


IMPORTED = (
    "import sys; from meshnet.cli.main import main; code = main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["status"],
        ["attach", "--help"],
        ["join", "mesh1-x", "--state-dir", "/nonexistent", "--listen", "x"],
        ["token", "create"],
    ],
)
def test_no_command_pays_for_the_daemon(daemon: FakeDaemon, arguments: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", IMPORTED, *arguments], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = ended.stderr.split()
    assert "meshnet.cli.main" in loaded
    assert [name for name in loaded if name.split(".")[0] in HEAVY] == []
    assert [name for name in loaded if name.startswith(("meshnet.host", "meshnet.control", "crypto", "gossip"))] == []


def test_ctrl_c_is_quiet(daemon: FakeDaemon) -> None:
    daemon.backend.hold = asyncio.Event()
    child = subprocess.Popen(
        [sys.executable, "-m", "meshnet", "status"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    )
    while not daemon.backend.calls:
        os.sched_yield()
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=10)
    daemon.loop.call_soon_threadsafe(daemon.backend.hold.set)
    assert (child.returncode, out, err) == (130, b"", b"\ninterrupted\n")
