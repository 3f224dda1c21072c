"""Tokens and passwords as they are kept: words, lines, files, stdin; and nothing of them in an error."""

import io
import sys
from pathlib import Path

import pytest

from meshnet.cli.private_input import by_password, by_token, read_password, read_token
from meshnet.control.joining.opening import WayIn
from meshnet.errors import ExitCode, MeshnetError

SECRET = "mesh1-s3cret_word"


@pytest.mark.parametrize("content", [SECRET, f"  {SECRET}\n", f"meshnet join {SECRET}\n", f"\n{SECRET}\r\n"])
def test_a_token_is_read_from_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    (tmp_path / "token").write_text(content)
    monkeypatch.setattr(sys, "stdin", io.StringIO(content))
    assert read_token(content) == read_token(f"@{tmp_path / 'token'}") == read_token("-") == SECRET


@pytest.mark.parametrize("content", ["", " \n", f"{SECRET} {SECRET}", "meshnet join"])
def test_what_is_no_single_word_is_no_token(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    for text in (content, f"@{tmp_path / 'token'}"):
        with pytest.raises(MeshnetError, match="there is no token in") as caught:
            read_token(text)
        assert caught.value.code is ExitCode.USAGE and SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "password"),
    [("s3cret", "s3cret"), ("s3cret words \n", "s3cret words "), ("s3cret\r\n", "s3cret"), (" ü\n", " ü")],
)
def test_a_password_is_one_line_with_its_blanks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str, password: str
) -> None:
    (tmp_path / "password").write_text(content, newline="")
    monkeypatch.setattr(sys, "stdin", io.StringIO(content, newline=""))
    assert read_password(str(tmp_path / "password")) == read_password("-") == password


@pytest.mark.parametrize("content", ["", "\n", "s3cret\nwords\n", "s3cret\n\n"])
def test_no_line_and_two_lines_are_no_password(tmp_path: Path, content: str) -> None:
    (tmp_path / "password").write_text(content)
    with pytest.raises(MeshnetError, match="there is no password in") as caught:
        read_password(str(tmp_path / "password"))
    assert caught.value.code is ExitCode.USAGE and "s3cret" not in str(caught.value)


def test_a_file_that_others_can_read_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "password"
    file.write_text("s3cret")
    for mode, noted in ((0o600, False), (0o640, True), (0o604, True)):
        file.chmod(mode)
        read_password(str(file))
        err = capsys.readouterr().err
        assert ("chmod 600" in err) is noted and "s3cret" not in err


@pytest.mark.parametrize("name", ["none", "binary"])
def test_a_file_that_is_missing_or_no_text_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for read, text in ((read_token, f"@{tmp_path / name}"), (read_password, str(tmp_path / name))):
        with pytest.raises(MeshnetError, match=name) as caught:
            read(text)
        assert caught.value.code is ExitCode.USAGE


def test_the_daemon_reads_what_is_written_for_it() -> None:
    assert WayIn.decode(by_token(SECRET)) == WayIn(token=SECRET)
    assert WayIn.decode(by_password('ü s3cret\\"')) == WayIn(password='ü s3cret\\"')
    assert WayIn.decode(by_password("s3cret", "h:1")) == WayIn(password="s3cret", address="h:1")
