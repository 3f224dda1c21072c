"""The API's socket: narrow from the start, taken over from the dead alone, and of nobody's kind but ours."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest

from meshnet.control.api import api_socket
from meshnet.errors import MeshnetError


def test_the_socket_is_narrow_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    monkeypatch.setattr(os, "chown", lambda path, *_: seen.append(stat.S_IMODE(os.stat(path).st_mode)))
    monkeypatch.setattr("grp.getgrnam", lambda _: type("Group", (), {"gr_gid": 12}))
    before = os.umask(0)
    try:
        api_socket.bind(tmp_path / "s").close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert seen == [0o660]


def test_without_the_group_it_is_roots_alone(tmp_path: Path) -> None:
    api_socket.bind(tmp_path / "s", "no-such-group-here").close()
    assert os.stat(tmp_path / "s").st_gid == os.getegid()


def test_a_group_that_cannot_be_given_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    monkeypatch.setattr("grp.getgrnam", lambda _: type("Group", (), {"gr_gid": 12}))
    with pytest.raises(MeshnetError, match="group"):
        api_socket.bind(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    api_socket.bind(path, None).close()


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "s").write_text("mine")
    with pytest.raises(MeshnetError, match="in the way"):
        api_socket.bind(tmp_path / "s")
    assert (tmp_path / "s").read_text() == "mine"


def test_a_missing_run_dir_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(MeshnetError, match="cannot listen"):
        api_socket.bind(tmp_path / "none" / "s")


def test_a_socket_that_answers_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with api_socket.bind(path, None) as first:
        first.listen(1)
        with pytest.raises(MeshnetError, match="runs already"):
            api_socket.bind(path, None)
    assert path.exists()
