"""The daemon's command line: what the CLI writes the daemon reads, and nothing else is taken."""

from pathlib import Path

import pytest

from meshnet.cli.invocation import Invocation
from meshnet.config import Options, Places
from meshnet.errors import ExitCode, MeshnetError

PLACES = Places(Path("/r"), Path("/s"))


@pytest.mark.parametrize(
    "invocation",
    [
        Invocation(PLACES, "start"),
        Invocation(PLACES, "start", None, True, 3),
        Invocation(PLACES, "launch", Options.parse(name="a", listen=[":7000"], cipher="aes"), False, 3),
        Invocation(PLACES, "join", Options("b"), True, 3, 4),
    ],
)
def test_round_trip(invocation: Invocation) -> None:
    argv = invocation.argv()
    assert argv[0] == "meshnetd"
    assert Invocation.parse(argv[1:]) == invocation


def test_by_hand_the_defaults_hold() -> None:
    assert Invocation.parse(["start"]) == Invocation(Places.of(), "start")


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["stop"],
        ["start", "{}", "{}"],
        ["start", "{"],
        ["start", "[" * 100_000],
        ["start", "[]"],
        ["start", '{"foreground": 1}'],
        ["start", '{"colour": 1}'],
        ["start", '{"options": {"name": "a"}}'],
        ["launch"],
        ["launch", '{"options": {"name": "A"}}'],
        ["launch", '{"options": 5}'],
        ["--ready-fd"],
        ["--ready-fd", "x", "start"],
        ["--ready-fd", "-1", "start"],
        ["--token", "x", "start"],
    ],
)
def test_anything_else_is_a_usage_error(argv: list[str]) -> None:
    with pytest.raises(MeshnetError) as caught:
        Invocation.parse(argv)
    assert caught.value.code is ExitCode.USAGE
