"""expose and hide: golden text, JSON exactly as the API answers, and what is refused before it is asked."""

import json

import pytest

from meshnet.control.api.requests import ExposeRequest
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import EXPOSED, FakeDaemon


def test_expose_prints_the_address(run: Run, daemon: FakeDaemon) -> None:
    ended = run("expose", "--network", "web", "--ip", "10.77.0.2")
    assert (ended.code, ended.out) == (0, "10.77.0.2/16\n")
    assert ended.err == "this host is on network web: mndeadbeef has 10.77.0.2/16\n"
    assert json.loads(run("--json", "expose").out) == EXPOSED
    assert daemon.backend.calls == [
        ("expose", ExposeRequest("web", False, "10.77.0.2")),
        ("expose", ExposeRequest("default", False, None)),
    ]


def test_masquerading_names_what_a_workload_needs(run: Run, daemon: FakeDaemon) -> None:
    ended = run("expose", "--masquerade")
    assert (ended.code, ended.out) == (0, "10.77.0.2/16\n")
    assert "ip route add default via 10.77.0.2\n" in ended.err


def test_hide(run: Run, daemon: FakeDaemon) -> None:
    ended = run("hide", "--network", "web")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "this host is off network web; 10.77.0.2/16 is free again\n"
    assert json.loads(run("--json", "hide").out) == {**EXPOSED, "schema": "meshnet.hidden/v1"}


@pytest.mark.parametrize("words", [["--ip", "10.0.0.300"], ["--ip", "10.0.0.1/8"], ["--network", "A b"]])
def test_what_is_wrong_is_named_before_the_daemon_is_asked(run: Run, daemon: FakeDaemon, words: list[str]) -> None:
    ended = run("expose", *words)
    assert (ended.code, ended.out) == (2, "")
    assert words[1] in ended.err
    assert daemon.backend.calls == []
