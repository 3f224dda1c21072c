"""Tables, ages and amounts as an operator reads them, and what other peers may not do to a terminal."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from meshnet.cli import output

ROOT = Path(__file__).resolve().parents[3]


def test_columns_are_aligned_and_empty_is_a_dash() -> None:
    lines = output.table(("A", "LONG"), [("word", None), ("x", "")])
    assert lines == ["A     LONG", "word  -", "x     -"]


def test_colour_keeps_the_columns() -> None:
    assert output.table(("S", "X"), [("up", 1)], colour=True) == ["S   X", "\x1b[32mup\x1b[0m  1"]


def test_foreign_text_cannot_move_the_cursor() -> None:
    assert output.clean("a\x1b[2Jb\nc\u202e") == "a?[2Jb?c?"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        ("x", "-"),
        (-1, "0s"),
        (59.9, "59s"),
        (60, "1m00s"),
        (3_599, "59m59s"),
        (18_420, "5h07m"),
        (273_700, "3d4h"),
    ],
)
def test_ages(seconds: object, text: str) -> None:
    assert output.age(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (1_000, "1.0K"),
        (9_949, "9.9K"),
        (9_960, "10K"),
        (999_600, "1.0M"),
        (1_234_567, "1.2M"),
        (45_000_000, "45M"),
        (10**20, "100000P"),
    ],
)
def test_amounts(count: object, text: str) -> None:
    assert output.amount(count) == text


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert output.coloured(False)
    assert not output.coloured(True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not output.coloured(False)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not output.coloured(False)


def test_a_closed_pipe_ends_a_command_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    ended = subprocess.run(
        [sys.executable, "-m", "meshnet", "version", "--run-dir", "/nonexistent"],
        stdout=writer,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        check=False,
    )
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (141, b"")
