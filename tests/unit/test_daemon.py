"""Becoming ready, or saying why not: on the ready pipe, with an exit code, and with nothing left behind.

A whole run needs TAP devices and is in tests/live; here the host's links and packet filter are in memory.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from meshnet import daemon as module
from meshnet.boundary import BoundaryError
from meshnet.cli.invocation import Action, Invocation
from meshnet.config import Options, Places
from meshnet.control import supervise
from meshnet.control.forwarder_link import ForwarderLink, connect
from meshnet.control.keys.keyfile import StateLock
from meshnet.control.start import lock_run_dir
from meshnet.control.supervise import Supervisor
from meshnet.daemon import main
from meshnet.errors import ExitCode
from meshnet.host.memory import MemoryFirewall, MemoryNetlink


class HostLinks(MemoryNetlink):
    """A host in memory; `hooks[n]` runs when the host is asked for its addresses the n-th time, which then lasts."""

    def __init__(self) -> None:
        super().__init__()
        self.own_addresses = ["127.0.0.1"]
        self.hooks: dict[int, Callable[[], None]] = {}
        self.asked = 0

    async def addresses(self) -> list[str]:
        self.asked += 1
        if self.asked in self.hooks:
            self.hooks[self.asked]()
            await asyncio.Event().wait()
        return await super().addresses()


class World:
    """Directories, a ready pipe, a host in memory, and what the daemons of a test made."""

    def __init__(self, directory: Path) -> None:
        self.places = Places(directory / "run", directory / "state")
        self.netlink = HostLinks()
        self.supervisors: list[Supervisor] = []
        self.forwarders: list[subprocess.Popen[bytes]] = []
        self.run_locks: list[int] = []
        self.state_locks: list[StateLock] = []
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]

    def argv(self, action: Action, ready_fd: int, **options: Any) -> list[str]:
        given = Options.parse(name="host-a", **options) if action != "start" else None
        return Invocation(self.places, action, given, ready_fd=ready_fd).argv()[1:]

    def run(self, action: Action, **options: Any) -> tuple[int, dict[str, Any]]:
        """Run one daemon to its end; its exit code and what it told on the ready pipe."""
        reading, writing = os.pipe()
        code = main(self.argv(action, writing, **options))
        with os.fdopen(reading, "rb") as pipe:
            told: dict[str, Any] = json.loads(pipe.read())
        return code, told

    def launch(self) -> tuple[int, dict[str, Any]]:
        return self.run("launch", listen=[f"127.0.0.1:{self.port}"])

    def end_by_signal(self) -> None:
        """SIGTERM to this very process, which the daemon handles; its forwarder, if there is one, is noted."""
        for supervisor in self.supervisors:
            if supervisor._process is not None:
                self.forwarders.append(supervisor._process)
        os.kill(os.getpid(), signal.SIGTERM)

    def state(self) -> list[str]:
        """Names in the state directory; the lock's file is no state."""
        return sorted(path.name for path in self.places.state_dir.iterdir() if path.name != "lock")

    def close(self) -> None:
        for forwarder in self.forwarders:
            if forwarder.poll() is None:
                forwarder.kill()
            forwarder.wait()
        for descriptor in self.run_locks:
            os.close(descriptor)
        for lock in self.state_locks:
            lock.release()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World(tmp_path)
    acquire = StateLock.acquire

    def keep_run_lock(run_dir: Path) -> int:
        made.run_locks.append(lock_run_dir(run_dir))
        return made.run_locks[-1]

    def keep_state_lock(directory: Path) -> StateLock:
        made.state_locks.append(acquire(directory))
        return made.state_locks[-1]

    def watched(path: Path, mesh: bytes, peer: bytes) -> Supervisor:
        made.supervisors.append(Supervisor(path, mesh, peer))
        return made.supervisors[-1]

    monkeypatch.setattr(module, "leave_no_core", lambda: None)  # this process still wants its own
    monkeypatch.setattr(module, "Netlink", lambda: made.netlink)
    monkeypatch.setattr(module, "Firewall", MemoryFirewall)
    monkeypatch.setattr(module, "Supervisor", watched)
    monkeypatch.setattr(module, "lock_run_dir", keep_run_lock)
    monkeypatch.setattr(StateLock, "acquire", keep_state_lock)
    yield made
    made.close()


# Refusals


@pytest.mark.parametrize("words", [[], ["dance"], ["start", "no JSON"], ["launch", "{}"], ["start", "{}", "more"]])
def test_a_bad_invocation_is_a_usage_error_and_touches_nothing(world: World, words: list[str]) -> None:
    places = ["--run-dir", str(world.places.run_dir), "--state-dir", str(world.places.state_dir)]
    assert main([*places, *words]) == ExitCode.USAGE
    assert not world.places.run_dir.exists()
    assert not world.places.state_dir.exists()


def test_a_bad_invocation_is_told_on_the_ready_pipe(world: World) -> None:
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        assert main(["--ready-fd", str(writing), "launch", "{}"]) == ExitCode.USAGE
        os.set_blocking(reading, False)
        line = pipe.read()
    assert line, "nothing was told"
    assert json.loads(line)["error"]["code"] == ExitCode.USAGE


def test_where_no_mesh_is_there_is_nothing_to_start(world: World) -> None:
    code, told = world.run("start")
    assert code == ExitCode.NOT_FOUND
    assert told["error"]["code"] == ExitCode.NOT_FOUND
    assert "there is no mesh" in told["error"]["what"]
    assert "meshnet launch" in told["error"]["fix"]
    assert world.netlink.closed
    assert not world.state()


def test_a_second_daemon_on_a_run_directory_is_refused(world: World) -> None:
    world.run_locks.append(lock_run_dir(world.places.run_dir))
    code, told = world.launch()
    assert code == ExitCode.FAILED
    assert "already runs" in told["error"]["what"]
    assert not world.places.state_dir.exists(), "the state is somebody else's"


def test_a_second_daemon_on_a_state_directory_is_refused(world: World) -> None:
    world.places.state_dir.mkdir()
    StateLock.acquire(world.places.state_dir)
    code, told = world.launch()
    assert code != ExitCode.OK
    assert told["error"]["fix"]
    assert not world.state()


def test_a_state_directory_that_cannot_be_made_is_said_in_three_lines(world: World) -> None:
    world.places.state_dir.write_text("a file is in the way")
    code, told = world.launch()
    assert code == ExitCode.FAILED
    assert str(world.places.state_dir) in told["error"]["what"]


def test_a_taken_port_founds_nothing(world: World) -> None:
    with socket.create_server(("127.0.0.1", world.port)):
        code, told = world.launch()
    assert code == ExitCode.FAILED
    assert str(world.port) in told["error"]["what"]
    assert not world.state()
    assert not world.supervisors


def test_a_host_without_an_address_to_advertise_founds_nothing(world: World) -> None:
    world.netlink.own_addresses = []
    code, told = world.run("launch", listen=[f"0.0.0.0:{world.port}"])
    assert code == ExitCode.FAILED
    assert "--advertise" in told["error"]["fix"]
    assert not world.state()
    assert not world.supervisors
    with socket.create_server(("127.0.0.1", world.port)):
        pass  # the port is free again


# Signals


def while_the_addresses_are_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.netlink.hooks[1] = world.end_by_signal


def while_the_forwarder_starts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async def slow(path: Path) -> ForwarderLink:
        if world.supervisors[0]._process is None:
            return await connect(path)
        world.end_by_signal()
        await asyncio.Event().wait()
        raise BoundaryError("not reached")

    monkeypatch.setattr(supervise, "connect", slow)


def while_the_parts_start(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.netlink.hooks[2] = world.end_by_signal


@pytest.mark.parametrize(
    ("when", "forwarders"),
    [(while_the_addresses_are_read, 0), (while_the_forwarder_starts, 1), (while_the_parts_start, 1)],
)
def test_a_signal_while_becoming_ready_leaves_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, when: Callable[[World, pytest.MonkeyPatch], None], forwarders: int
) -> None:
    when(world, monkeypatch)
    code, told = world.launch()
    assert code == ExitCode.FAILED
    assert "before it was ready" in told["error"]["what"]
    assert not world.state()
    assert len(world.forwarders) == forwarders
    assert [forwarder for forwarder in world.forwarders if forwarder.poll() is None] == []
    assert not world.places.forwarder_socket.exists()
    assert not world.netlink.links
    assert world.netlink.closed
    with socket.create_server(("127.0.0.1", world.port)):
        pass  # the port is free again
