"""What every command shares: global options anywhere, suggestions for unknown verbs, a note on version skew."""

import json

import pytest

from meshnet.cli.verbs import Settings
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import STATUS, FakeDaemon


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("staus",), "status"),
        (("lauch",), "launch"),
        (("peer", "lss"), "ls"),
        (("tokn", "create"), "token"),
        (("frobnicate",), "--help"),
    ],
)
def test_an_unknown_verb_is_answered_with_the_nearest(run: Run, arguments: tuple[str, ...], hint: str) -> None:
    ended = run(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert hint in ended.err.splitlines()[-1]


@pytest.mark.parametrize("order", [0, 1])
def test_global_options_stand_before_or_after_the_verb(run: Run, daemon: FakeDaemon, order: int) -> None:
    options = ("--json", "--run-dir", str(daemon.run_dir), "--no-color")
    ended = run(*options, "status") if order == 0 else run("status", *options)
    assert json.loads(ended.out) == STATUS
    nested = run(*options, "peer", "ls") if order == 0 else run("peer", *options, "ls")
    assert json.loads(nested.out)["schema"] == "meshnet.peers/v1"


def test_the_last_word_wins_and_a_flag_beats_the_environment(run: Run, daemon: FakeDaemon) -> None:
    right, wrong = str(daemon.run_dir), "/nonexistent"
    assert run("--run-dir", wrong, "status", "--run-dir", right).code == 0
    assert run("--run-dir", right, "status", "--run-dir", wrong).code == 3
    assert run("--run-dir", wrong, "status").code == 3
    assert run("status").code == 0  # MESHNET_RUN_DIR


def test_another_release_of_the_daemon_is_a_note(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meshnet.cli.verbs.__version__", "9.9")
    ended = run("--json", "status")
    assert json.loads(ended.out) == STATUS
    assert "meshnetd is version" in ended.err


def test_lines_to_type_name_the_daemon_only_where_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESHNET_RUN_DIR", raising=False)
    assert Settings().line("status") == "meshnet status"
    assert Settings(run_dir="/run/meshnet/").line("status") == "meshnet status"
    assert Settings(run_dir="/r").line("status") == "meshnet --run-dir /r status"
    monkeypatch.setenv("MESHNET_RUN_DIR", "/e")
    assert Settings().line("status") == "meshnet --run-dir /e status"
