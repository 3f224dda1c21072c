"""token create, ls, revoke, password: data alone on stdout, JSON as the API answers, what is refused before asking."""

import io
import json
import sys
from pathlib import Path

import pytest

from meshnet.cli.token import parse_duration
from meshnet.errors import MeshnetError
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import TOKEN, TOKENS, FakeDaemon


def test_token_create_prints_the_token_alone(run: Run, daemon: FakeDaemon) -> None:
    ended = run("token", "create", "--uses", "3", "--ttl", "1h30m", "--role", "invite", "--role", "admin")
    assert (ended.code, ended.out) == (0, "mesh1-abcDEF_123\n")
    assert ended.err == "good for 3 hosts until 2026-11-20T11:00:00Z; there run `meshnet join` with it:\n"
    assert daemon.backend.calls == [("create_token", (3, 5_400, ("admin", "invite")))]


def test_token_create_json(run: Run, daemon: FakeDaemon) -> None:
    assert json.loads(run("token", "create", "--json").out) == {**TOKEN, "uses": 1}
    assert daemon.backend.calls == [("create_token", (1, 3_600, ()))]


@pytest.mark.parametrize(
    "arguments", [("--uses", "0"), ("--uses", "x"), ("--ttl", "soon"), ("--ttl", "0s"), ("--role", "king")]
)
def test_token_create_refuses_before_it_asks(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...]) -> None:
    ended = run("token", "create", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert arguments[0] in ended.err
    assert daemon.backend.calls == []


def test_token_ls_shows_what_is_left_and_who_used_it(run: Run, daemon: FakeDaemon) -> None:
    ended = run("token", "ls")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["TOKEN", "LEFT", "USES", "ROLES", "EXPIRES", "USED", "BY"],
        ["0a" * 8, "2", "3", "invite", "2026-11-20T11:00:00Z", "b1" * 6],
    ]
    assert json.loads(run("token", "ls", "--json").out) == TOKENS


def test_token_ls_names_a_few_users_and_says_where_there_is_no_token(run: Run, daemon: FakeDaemon) -> None:
    row = {**TOKENS["tokens"][0], "roles": [], "redeemed": [f"{n:02x}" * 32 for n in range(6)]}
    daemon.backend.answers["list_tokens"] = {"schema": "meshnet.tokens/v1", "tokens": [row]}
    assert run("token", "ls").out.splitlines()[1].endswith("03" * 6 + " and 2 more")
    daemon.backend.answers["list_tokens"] = {"schema": "meshnet.tokens/v1", "tokens": []}
    ended = run("token", "ls")
    assert (ended.code, ended.out) == (0, "") and "token create" in ended.err


def test_token_revoke(run: Run, daemon: FakeDaemon) -> None:
    ended = run("token", "revoke", "0a" * 8)
    assert (ended.code, ended.out) == (0, "") and "admits nobody any more" in ended.err
    assert daemon.backend.calls == [("revoke_token", bytes.fromhex("0a" * 8))]


@pytest.mark.parametrize("text", ["", "0a", "0A" * 8, "mesh1-s3cret", "0a" * 8 + "\n", "../stop"])
def test_what_is_no_tokens_id_is_refused_unseen(run: Run, daemon: FakeDaemon, text: str) -> None:
    ended = run("token", "revoke", text)
    assert (ended.code, ended.out) == (2, "")
    assert "s3cret" not in ended.err and daemon.backend.calls == []


def test_token_password_is_read_from_a_file_or_stdin_and_never_shown(
    run: Run, daemon: FakeDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "password").write_text("s3cret words\n")
    monkeypatch.setattr(sys, "stdin", io.StringIO("s3cret words"))
    for source in (str(tmp_path / "password"), "-"):
        ended = run("token", "password", "--password-file", source)
        assert (ended.code, ended.out) == (0, "")
        assert "meshnet join HOST --password-file FILE" in ended.err and "s3cret" not in ended.err
    ended = run("token", "password", "--off", "--json")
    assert json.loads(ended.out) == {"schema": "meshnet.password/v1", "enabled": False}
    assert daemon.backend.calls == [("set_password", "s3cret words")] * 2 + [("set_password", None)]


@pytest.mark.parametrize("arguments", [(), ("--off", "--password-file", "-")])
def test_token_password_wants_one_of_two(run: Run, daemon: FakeDaemon, arguments: tuple[str, ...]) -> None:
    ended = run("token", "password", *arguments)
    assert (ended.code, ended.out) == (2, "") and daemon.backend.calls == []


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("15m", 900), ("1h30m", 5_400), ("2d", 172_800), ("1d1h1m1s", 90_061)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse_duration("--ttl", text) == seconds


@pytest.mark.parametrize("text", ["", "h", "1x", "-1", "1.5h", "1s1m", "0", " 1h", "1h\n", "٣"])
def test_no_durations(text: str) -> None:
    with pytest.raises(MeshnetError, match="--ttl"):
        parse_duration("--ttl", text)
