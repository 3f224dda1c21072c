"""A plugin server before a backend double."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from docker_plugin.server import PluginServer
from tests.unit.docker_plugin.backend_double import BackendDouble, ask


@dataclass
class Plugin:
    """A server that runs, and what it asks."""

    path: Path
    backend: BackendDouble

    async def good(self, method: str, body: object = None) -> dict[str, Any]:
        """The answer of a call that succeeds."""
        status, _, answer = await ask(self.path, method, body)
        assert status == 200, answer
        return answer

    async def bad(self, method: str, body: object = None, *, raw: bytes | None = None) -> tuple[int, str]:
        """Status and text of a call that is refused, under both names Docker looks for."""
        status, _, answer = await ask(self.path, method, body, raw=raw)
        assert status != 200 and answer["Err"] == answer["Error"]
        return status, answer["Err"]


@pytest.fixture
async def plugin(tmp_path: Path) -> AsyncIterator[Plugin]:
    backend = BackendDouble()
    server = PluginServer(tmp_path, backend, answer_s=0.3)
    await server.start()
    yield Plugin(server.path, backend)
    await server.close()
