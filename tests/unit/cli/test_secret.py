"""secret rotate, status, finish, accept: golden text, JSON as the API answers, and who is cut off is named."""

import json
from pathlib import Path

import pytest

from meshnet.cli.secret import secret_lines
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import SECRET, FakeDaemon

STATUS_TEXT = """\
this host uses mesh secret 1 and accepts 1, 0
secret 1, by host-a: in use; the one before is still accepted
lacking it: host-c
"""


def test_status(run: Run, daemon: FakeDaemon) -> None:
    ended = run("secret", "status")
    assert (ended.code, ended.out, ended.err) == (0, STATUS_TEXT, "")


@pytest.mark.parametrize(
    ("words", "call"),
    [
        (("status",), ("secret", None)),
        (("rotate",), ("rotate_secret", None)),
        (("finish",), ("finish_secret", False)),
        (("finish", "--force"), ("finish_secret", True)),
        (("accept", "mesh1-abc"), ("accept_secret", "mesh1-abc")),
    ],
)
def test_each_asks_the_daemon_and_json_is_the_apis(
    run: Run, daemon: FakeDaemon, words: tuple[str, ...], call: tuple[str, object]
) -> None:
    assert json.loads(run("--json", "secret", *words).out) == SECRET
    ended = run("secret", *words)
    assert ended.code == 0
    assert bool(ended.out) == (words == ("status",)), "only status is data"
    assert daemon.backend.calls == [call, call]


def test_who_is_cut_off_is_named(run: Run, daemon: FakeDaemon) -> None:
    daemon.backend.answers["finish_secret"] = {**SECRET, "cut_off": ["host-c", "host-d\x1b[2J"]}
    ended = run("secret", "finish", "--force")
    assert "cut off: host-c, host-d" in ended.err
    assert "\x1b" not in ended.err
    assert "secret accept TOKEN" in ended.err


def test_a_token_may_come_from_a_file(run: Run, daemon: FakeDaemon, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("mesh1-filed\n")
    (tmp_path / "token").chmod(0o600)
    assert run("secret", "accept", f"@{tmp_path / 'token'}").code == 0
    assert daemon.backend.calls == [("accept_secret", "mesh1-filed")]


def test_before_the_first_rotation_and_after_it() -> None:
    none = {**SECRET, "rotation": None, "held": [0], "generation": 0}
    assert secret_lines(none) == ["this host uses mesh secret 0 and accepts 0", "no rotation was ever begun"]
    done = {**SECRET, "rotation": {"generation": 1, "phase": "drop", "by": "host-a", "lacking": []}}
    assert secret_lines(done)[1:] == [
        "secret 1, by host-a: in use; the one before is accepted no more",
        "every member has it",
    ]
