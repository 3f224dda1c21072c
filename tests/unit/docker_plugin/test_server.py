"""The plugin's socket and what every call has in common, asked by a client that speaks as dockerd does."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from docker_plugin import messages
from docker_plugin.errors import Refused
from docker_plugin.server import BODY_BYTES, PluginServer, table
from tests.unit.docker_plugin.backend_double import BackendDouble, ask
from tests.unit.docker_plugin.conftest import Plugin

WITH_BODY = sorted(path for path, (kind, _) in table(BackendDouble()).items() if kind is not messages.Nothing)
WITHOUT_BODY = sorted(path for path, (kind, _) in table(BackendDouble()).items() if kind is messages.Nothing)
NOTHING_OF_OURS = {"NetworkID": "n" * 64, "EndpointID": "e" * 64, "PoolID": "gone", "Address": "10.0.0.1"}


async def test_activation_names_both_drivers(plugin: Plugin) -> None:
    assert await plugin.good("/Plugin.Activate") == {"Implements": ["NetworkDriver", "IpamDriver"]}


async def test_every_answer_closes_the_connection_and_is_json(plugin: Plugin) -> None:
    for method in ("/Plugin.Activate", "/NetworkDriver.DeleteNetwork", "/Nobody.Knows"):
        _, headers, answer = await ask(plugin.path, method, {"NetworkID": "x"})
        assert headers["connection"] == "close"
        assert headers["content-type"].startswith("application/vnd.docker.plugins")
        assert isinstance(answer, dict)


@pytest.mark.parametrize("path", WITH_BODY)
@pytest.mark.parametrize("raw", [b"", b"\n", b"{", b"[]", b"null", b"\xff\xfe", b"7", b"[" * 10_000])
async def test_a_body_that_means_nothing_is_400_and_changes_nothing(plugin: Plugin, path: str, raw: bytes) -> None:
    status, text = await plugin.bad(path, raw=raw)
    assert status == 400 and text
    assert plugin.backend.calls == []


@pytest.mark.parametrize("path", WITHOUT_BODY)
async def test_a_call_without_arguments_may_come_without_a_body(plugin: Plugin, path: str) -> None:
    assert await plugin.good(path) == await plugin.good(path, {})


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("POST", "/"),
        ("POST", "/NetworkDriver.Unknown"),
        ("POST", "/networkdriver.join"),
        ("POST", "/NetworkDriver.Join/../../etc/passwd"),
        ("POST", "/%2e%2e/NetworkDriver.Join"),
        ("POST", "//NetworkDriver.Join"),
        ("GET", "/Plugin.Activate"),
        ("DELETE", "/NetworkDriver.DeleteNetwork"),
    ],
)
async def test_an_unknown_path_is_404(plugin: Plugin, verb: str, path: str) -> None:
    status, _, answer = await ask(plugin.path, path, NOTHING_OF_OURS, verb=verb)
    assert status == 404 and answer["Err"]
    assert plugin.backend.calls == []


async def test_too_large_a_body_is_refused(plugin: Plugin) -> None:
    status, text = await plugin.bad("/NetworkDriver.Join", raw=b" " * (BODY_BYTES + 1))
    assert (status, str(BODY_BYTES) in text) == (413, True)
    assert await plugin.good("/Plugin.Activate")


async def test_a_refusal_is_500_with_its_text(plugin: Plugin) -> None:
    plugin.backend.refusal = Refused("10.77.0.9 is in use\non host b")
    assert await plugin.bad("/NetworkDriver.Join", NOTHING_OF_OURS) == (500, "10.77.0.9 is in use on host b")


async def test_a_fault_is_told_without_its_insides(plugin: Plugin) -> None:
    plugin.backend.refusal = RuntimeError("a secret")
    status, text = await plugin.bad("/NetworkDriver.Join", NOTHING_OF_OURS)
    assert status == 500 and "secret" not in text and "log" in text


async def test_docker_never_waits_long_and_what_it_asked_is_finished(plugin: Plugin) -> None:
    plugin.backend.gate = asyncio.Event()
    begun = time.monotonic()
    status, text = await plugin.bad("/NetworkDriver.CreateEndpoint", NOTHING_OF_OURS)
    assert status == 500 and "longer" in text and time.monotonic() - begun < 1
    plugin.backend.gate.set()
    plugin.backend.gate = None
    assert await plugin.good("/NetworkDriver.CreateEndpoint", NOTHING_OF_OURS)


async def test_many_calls_at_once_are_all_answered(plugin: Plugin) -> None:
    calls = [
        plugin.good("/NetworkDriver.DeleteEndpoint", {**NOTHING_OF_OURS, "EndpointID": str(n)}) for n in range(100)
    ]
    assert await asyncio.gather(*calls) == [{}] * 100


async def test_the_socket_is_for_root_alone(plugin: Plugin) -> None:
    mode = plugin.path.lstat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


async def test_a_stale_socket_is_replaced_and_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "plugins" / "meshnet.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    server = PluginServer(path.parent, BackendDouble())
    await server.start()
    assert (await ask(path, "/Plugin.Activate"))[0] == 200
    await server.close()
    assert not path.exists()


async def test_a_socket_that_answers_is_left_alone(plugin: Plugin) -> None:
    with pytest.raises(Refused, match="another process answers"):
        await PluginServer(plugin.path.parent, BackendDouble()).start()
    assert await plugin.good("/Plugin.Activate")


async def test_a_file_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "meshnet.sock").write_text("mine")
    with pytest.raises(Refused, match="no socket"):
        await PluginServer(tmp_path, BackendDouble()).start()
    assert (tmp_path / "meshnet.sock").read_text() == "mine"


async def test_the_socket_of_a_successor_is_not_removed(tmp_path: Path) -> None:
    first, second = PluginServer(tmp_path, BackendDouble()), PluginServer(tmp_path, BackendDouble())
    await first.start()
    first.path.unlink()
    await second.start()
    await first.close()
    assert (await ask(second.path, "/Plugin.Activate"))[0] == 200
    await second.close()
