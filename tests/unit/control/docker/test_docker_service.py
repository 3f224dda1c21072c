"""Serving Docker is switched on and off, remembered, and told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from meshnet.control.docker.docker_service import DockerService
from meshnet.errors import MeshnetError
from tests.unit.control.docker.test_docker import DockerBench
from tests.unit.docker_plugin.backend_double import ask


@pytest.fixture
async def bench() -> AsyncIterator[DockerBench]:
    bench = DockerBench()
    yield bench
    await bench.close()


async def test_it_is_off_until_it_is_asked_for_and_then_on_after_every_start(
    bench: DockerBench, tmp_path: Path
) -> None:
    path = tmp_path / "meshnet.sock"
    service = DockerService(bench.docker, bench.store)
    await service.start()
    assert (service.status()["enabled"], path.exists()) == (False, False)
    for _ in range(2):
        assert (await service.enable(str(tmp_path)))["serving"] is True
    assert (await ask(path, "/Plugin.Activate"))[0] == 200
    await service.close()
    assert not path.exists()
    again = DockerService(bench.docker, bench.store)
    await again.start()
    assert (await ask(path, "/Plugin.Activate"))[0] == 200
    assert (await again.disable())["enabled"] is False
    await again.close()
    assert not path.exists()
    assert DockerService(bench.docker, bench.store).status()["enabled"] is False


async def test_it_moves_to_another_directory(bench: DockerBench, tmp_path: Path) -> None:
    service = DockerService(bench.docker, bench.store)
    await service.enable(str(tmp_path / "one"))
    await service.enable(str(tmp_path / "two"))
    assert not (tmp_path / "one/meshnet.sock").exists() and (tmp_path / "two/meshnet.sock").exists()
    await service.close()


async def test_it_is_not_switched_off_under_networks_of_docker(bench: DockerBench, tmp_path: Path) -> None:
    service = DockerService(bench.docker, bench.store)
    await service.enable(str(tmp_path))
    await bench.web()
    with pytest.raises(MeshnetError, match="Docker still uses"):
        await service.disable()
    assert (await ask(tmp_path / "meshnet.sock", "/Plugin.Activate"))[0] == 200
    await service.close()


async def test_a_place_that_cannot_be_used_is_told(bench: DockerBench, tmp_path: Path) -> None:
    (tmp_path / "meshnet.sock").write_text("mine")
    service = DockerService(bench.docker, bench.store)
    with pytest.raises(MeshnetError, match="cannot be served"):
        await service.enable(str(tmp_path))
    with pytest.raises(MeshnetError, match="too long"):
        await service.enable("/" + "x" * 120)
    assert service.status()["enabled"] is False
