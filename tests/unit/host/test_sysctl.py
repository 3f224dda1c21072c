"""IPv6 is switched off where it exists, softly where it cannot be."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from meshnet.host import sysctl


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mn00000001").mkdir()
    monkeypatch.setattr(sysctl, "CONF_DIR", str(tmp_path))
    for key in ("accept_ra", "disable_ipv6"):
        (tmp_path / "mn00000001" / key).write_text("?")
    return tmp_path / "mn00000001"


def test_a_host_link_loses_ipv6_and_advertisements(conf: Path) -> None:
    assert sysctl.silence_ipv6("mn00000001") == []
    assert [(conf / key).read_text() for key in ("accept_ra", "disable_ipv6")] == ["0", "1"]


def test_a_workloads_link_keeps_ipv6(conf: Path) -> None:
    assert sysctl.refuse_router_advertisements("mn00000001") == []
    assert [(conf / key).read_text() for key in ("accept_ra", "disable_ipv6")] == ["0", "?"]


def test_a_kernel_without_ipv6_needs_nothing(conf: Path) -> None:
    assert sysctl.silence_ipv6("mn0000dead") == []


def test_a_refused_write_is_a_note(conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("builtins.open", read_only)
    notes = sysctl.silence_ipv6("mn00000001")
    assert [note.split(" ")[1] for note in notes] == ["accept_ra=0", "disable_ipv6=1"]
    assert all("EROFS" in note for note in notes)
