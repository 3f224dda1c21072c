"""Why no lab can be built here: one line that says what to do."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.lab.errors import LabError
from tests.lab.lab import Lab, missing


def test_without_root_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    reason = missing()
    assert reason is not None
    assert "needs root" in reason
    assert "sudo" in reason
    assert "\n" not in reason
    with pytest.raises(LabError, match="needs root"), Lab():
        pass
    assert Lab.current is None


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(shutil, "which", lambda tool: None if tool in ("tcpdump", "iperf3") else tool)
    reason = missing()
    assert reason is not None
    assert reason.startswith("the lab needs tcpdump, iperf3.")
    assert "Debian packages" in reason
