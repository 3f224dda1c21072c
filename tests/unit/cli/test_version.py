"""version: of the command, and of the daemon where one answers."""

import json

from meshnet import __version__
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import FakeDaemon


def test_version(run: Run, daemon: FakeDaemon) -> None:
    assert run("version").out == f"meshnet {__version__}\nmeshnetd {__version__}\n"
    assert run("version", "--run-dir", "/nonexistent").out == f"meshnet {__version__}\nmeshnetd -\n"
    assert json.loads(run("version", "--json").out) == {
        "schema": "meshnet.version/v1",
        "client": __version__,
        "daemon": __version__,
    }
    assert run("--version").out == f"meshnet {__version__}\n"
