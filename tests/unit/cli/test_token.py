"""token create: the token alone on stdout, JSON as the API answers, and what is refused before asking."""

import json

import pytest

from meshnet.cli.token import parse_duration
from meshnet.errors import MeshnetError
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import TOKEN, FakeDaemon


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
