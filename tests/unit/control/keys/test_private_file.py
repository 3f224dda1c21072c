"""Private files: whole or not there, their owner's alone, and read only if they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from meshnet.control.keys import private_file
from meshnet.errors import ExitCode, MeshnetError


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_what_is_written_is_read_and_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "file"
    before = os.umask(umask)
    try:
        private_file.write(path, b"one")
        private_file.write(path, b"two")
    finally:
        os.umask(before)
    assert private_file.read(path, 3) == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "rename"])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "file"
    private_file.write(path, b"old")
    with monkeypatch.context() as patch:
        if step == "fsync":
            patch.setattr(os, "fsync", fail)
        else:
            patch.setattr(Path, "rename", fail)
        with pytest.raises(OSError, match="No space left"):
            private_file.write(path, b"new")
    assert private_file.read(path, 9) == b"old" and list(tmp_path.iterdir()) == [path]


def test_everything_is_synced_before_it_bears_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    fsync, rename = os.fsync, Path.rename

    def synced(descriptor: int) -> None:
        order.append("fsync")
        fsync(descriptor)

    def renamed(self: Path, target: Path) -> Path:
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    private_file.write(tmp_path / "file", b"x")
    assert order == ["fsync", "rename", "fsync"]


def test_what_a_crash_left_is_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "file"
    private_file.fresh_path(path).write_bytes(b"half")
    private_file.write(path, b"whole")
    assert private_file.read(path, 9) == b"whole" and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660, 0o601])
def test_what_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "file"
    private_file.write(path, b"x")
    path.chmod(mode)
    with pytest.raises(MeshnetError, match="not private") as caught:
        private_file.read(path, 9)
    assert caught.value.code is ExitCode.PERMISSION


def test_what_is_no_private_file_is_not_read(tmp_path: Path) -> None:
    private_file.write(tmp_path / "long", b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "long")
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ValueError, match="too long"):
        private_file.read(tmp_path / "long", 4)
    with pytest.raises(ValueError, match="not a regular file"):
        private_file.read(tmp_path / "pipe", 4)
    with pytest.raises(OSError, match="symbolic link"):
        private_file.read(tmp_path / "link", 9)
    with pytest.raises(FileNotFoundError):
        private_file.read(tmp_path / "none", 9)
