"""One forwarder, always: started, adopted, replaced on the same descriptors, restarted when it dies. Real processes."""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from meshnet.boundary import (
    VERSION,
    AddNetwork,
    AddSocket,
    Configure,
    Counters,
    Fact,
    Hello,
    NetworkRow,
    ReadCounters,
    SocketRow,
    Stop,
    decode_verb,
    encode,
)
from meshnet.control import supervise as module
from meshnet.control.supervise import Found, Supervisor
from meshnet.errors import MeshnetError
from meshnet.host.udp import open_udp

MESH, PEER = b"m" * 16, b"p" * 32
CONFIGURE = Configure(mesh=MESH, peer=PEER, suite="AESGCM")
RESTART_S = 2.0


async def soon(condition: Callable[[], bool], deadline_s: float = 5.0) -> None:
    end = asyncio.get_running_loop().time() + deadline_s
    while asyncio.get_running_loop().time() < end:
        if condition():
            return
        await asyncio.sleep(0.005)
    raise AssertionError(f"not within {deadline_s} s")


def runs(pid: int, *, even_as_zombie: bool = False) -> bool:
    """Whether the process exists; one that only waits to be reaped does not count unless asked for."""
    try:
        return status_of(pid)["State"][0] != "Z" or even_as_zombie
    except FileNotFoundError:
        return False


def status_of(pid: int) -> dict[str, list[str]]:
    """/proc/PID/status as words by field; raises FileNotFoundError."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: line.split()[1:] for line in lines}


class World:
    """A run directory and every supervisor a test made on it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "forwarder.sock"
        self._made: list[Supervisor] = []
        self._children: list[int] = []

    def supervisor(self, peer: bytes = PEER) -> Supervisor:
        made = Supervisor(self.path, MESH, peer)
        self._made.append(made)
        return made

    async def started(self, peer: bytes = PEER) -> tuple[Supervisor, Found]:
        made = self.supervisor(peer)
        return made, await made.start()

    async def close(self) -> None:
        for made in reversed(self._made):
            process = made._process
            await made.stop()
            if process is not None and process.returncode is None:
                process.kill()
                process.wait()
            assert not runs(process.pid) if process is not None else True


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    await made.close()


def pid_of(supervisor: Supervisor) -> int:
    assert supervisor.link is not None
    return supervisor.link.hello.pid


def connected(supervisor: Supervisor) -> bool:
    return supervisor.link is not None


async def answers(supervisor: Supervisor) -> bool:
    """The forwarder applies verbs: it has answered every earlier one."""
    got: list[Fact] = []
    supervisor.on_fact = got.append
    supervisor.send(ReadCounters(request=9))
    await soon(lambda: any(isinstance(fact, Counters) for fact in got))
    return True


def give(supervisor: Supervisor) -> tuple[int, int]:
    """Configure it with a socket and a network; return the inodes of their descriptors."""
    data = open_udp("127.0.0.1", 0)
    tap, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    inodes = os.fstat(data.sock.fileno()).st_ino, os.fstat(tap.fileno()).st_ino
    supervisor.send(CONFIGURE)
    supervisor.send(AddSocket(family=2, port=7, gso=data.gso, gro=data.gro), (data.sock.fileno(),))
    supervisor.send(AddNetwork(number=5, device="mt5", mtu=1400, features=3), (tap.fileno(),))
    for sock in (data.sock, tap, other):
        sock.close()
    return inodes


def close(found: Found) -> None:
    for _, descriptor in [*found.sockets, *found.networks]:
        os.close(descriptor)


async def test_a_forwarder_is_started_where_none_runs(world: World) -> None:
    supervisor, found = await world.started()
    assert (found.adopted, found.sockets, found.networks) == (False, [], [])
    assert runs(pid_of(supervisor)) and await answers(supervisor)
    assert world.path.stat().st_mode & 0o777 == 0o600


async def test_the_process_it_started_is_unprivileged(world: World) -> None:
    supervisor, _ = await world.started()
    status = status_of(pid_of(supervisor))
    assert status["CapEff"] == status["CapPrm"] == ["0" * 16] and status["NoNewPrivs"] == ["1"]
    if os.geteuid() == 0:
        assert "0" not in status["Uid"] and "0" not in status["Gid"] and status["CapBnd"] == ["0" * 16]


async def test_it_inherits_nothing_but_its_listener(world: World) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    supervisor, _ = await world.started()
    directory = f"/proc/{pid_of(supervisor)}/fd"
    links = [os.readlink(f"{directory}/{name}") for name in os.listdir(directory)]
    assert f"pipe:[{os.fstat(writer).st_ino}]" not in links
    os.close(reader)
    os.close(writer)


async def test_a_running_forwarder_is_adopted_with_what_it_holds(world: World) -> None:
    first, _ = await world.started()
    inodes = give(first)
    assert await answers(first)
    pid = pid_of(first)
    assert first.link is not None
    boot = first.link.hello.boot
    first.leave()
    assert runs(pid) and not connected(first)
    second, found = await world.started()
    assert found.adopted and pid_of(second) == pid and second.link is not None and second.link.hello.boot == boot
    ((row, data),) = found.sockets
    ((network, tap),) = found.networks
    assert (row.port, network.number, network.device, network.features) == (7, 5, "mt5", 3)
    assert (os.fstat(data).st_ino, os.fstat(tap).st_ino) == inodes
    close(found)
    assert await answers(second)


@pytest.mark.parametrize("changes", [dict(peer=b"q" * 32), dict(mesh=b"n" * 16), None], ids=str)
async def test_a_strangers_forwarder_is_ended_and_nothing_of_it_kept(
    world: World, changes: dict[str, bytes] | None
) -> None:
    first, _ = await world.started()
    if changes is not None:
        give(first)
        first.send(Configure(suite="AESGCM", **{"mesh": MESH, "peer": PEER, **changes}))
    assert await answers(first)
    pid = pid_of(first)
    first.leave()
    before = len(os.listdir("/proc/self/fd"))
    second, found = await world.started()
    assert (found.adopted, found.sockets, found.networks) == (False, [], [])
    assert pid_of(second) != pid
    await soon(lambda: not runs(pid))
    assert len(os.listdir("/proc/self/fd")) <= before + 3, "its descriptors were closed"


class OldForwarder:
    """Something at the listener that says hello with another version."""

    def __init__(self, path: Path, *, obeys: bool = True) -> None:
        self.stopped = False
        self._obeys = obeys
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self.pair = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._sock: socket.socket | None = None
        asyncio.get_running_loop().add_reader(self._listener.fileno(), self._accept)

    def _accept(self) -> None:
        self._sock, _ = self._listener.accept()
        hello = Hello(
            version=VERSION + 1,
            mesh=MESH,
            peer=PEER,
            boot=bytes(8),
            pid=1 << 22,
            sockets=[SocketRow(2, 7, True, True)],
            networks=[NetworkRow(5, "mt5", 1400, 3)],
            sessions=[],
        )
        rights = array.array("i", [end.fileno() for end in self.pair])
        self._sock.sendmsg([encode(hello)], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        asyncio.get_running_loop().add_reader(self._sock.fileno(), self._readable)

    def _readable(self) -> None:
        assert self._sock is not None
        data = self._sock.recv(1 << 16)
        if not data or isinstance(decode_verb(data), Stop):
            self.stopped = self.stopped or bool(data)
            if self._obeys or not data:
                self.close()

    def close(self) -> None:
        loop = asyncio.get_running_loop()
        for sock in (self._listener, self._sock):
            if sock is not None and sock.fileno() >= 0:
                loop.remove_reader(sock.fileno())
                sock.close()


@pytest.mark.parametrize("obeys", [True, False])
async def test_another_version_is_replaced_on_the_same_descriptors(
    world: World, monkeypatch: pytest.MonkeyPatch, obeys: bool
) -> None:
    monkeypatch.setattr(module, "END_S", 5.0 if obeys else 0.1)
    old = OldForwarder(world.path, obeys=obeys)
    supervisor, found = await world.started()
    assert old.stopped and not found.adopted
    assert (found.sockets[0][0].port, found.networks[0][0].number) == (7, 5)
    held = [found.sockets[0][1], found.networks[0][1]]
    assert [os.fstat(fd).st_ino for fd in held] == [os.fstat(end.fileno()).st_ino for end in old.pair]
    assert supervisor.link is not None and supervisor.link.hello.version == VERSION
    assert await answers(supervisor)
    close(found)
    old.close()
    for end in old.pair:
        end.close()


async def test_a_killed_forwarder_is_restarted_and_told_everything_anew(world: World) -> None:
    supervisor, _ = await world.started()
    fresh: list[int] = []
    supervisor.on_fresh = lambda: fresh.append(pid_of(supervisor))
    for _ in range(3):
        pid = pid_of(supervisor)
        seen = len(fresh)
        os.kill(pid, signal.SIGKILL)
        await soon(lambda seen=seen: len(fresh) > seen, RESTART_S)  # type: ignore[misc]
        assert not runs(pid) and pid_of(supervisor) == fresh[-1] != pid
        assert await answers(supervisor)


async def test_verbs_sent_while_none_runs_are_dropped(world: World) -> None:
    supervisor = world.supervisor()
    supervisor.send(CONFIGURE)
    assert supervisor.link is None
    await supervisor.start()
    os.kill(pid_of(supervisor), signal.SIGKILL)
    await soon(lambda: supervisor.link is None)
    supervisor.send(CONFIGURE)
    await soon(lambda: supervisor.link is not None, RESTART_S)


async def test_stopping_ends_the_process_and_reaps_it(world: World) -> None:
    supervisor, _ = await world.started()
    pid = pid_of(supervisor)
    await supervisor.stop()
    assert not runs(pid, even_as_zombie=True) and not world.path.exists()
    await supervisor.stop()


async def test_an_adopted_forwarder_is_stopped_too(world: World) -> None:
    first, _ = await world.started()
    first.send(CONFIGURE)
    assert await answers(first)
    pid = pid_of(first)
    first.leave()
    second, found = await world.started()
    assert found.adopted
    await second.stop()
    await soon(lambda: not runs(pid))


async def test_leaving_restarts_nothing(world: World) -> None:
    supervisor, _ = await world.started()
    process = supervisor._process
    assert process is not None
    supervisor.leave()
    process.kill()
    process.wait()
    assert supervisor._restarting is None and supervisor.link is None


async def test_a_forwarder_that_dies_again_and_again_is_restarted_ever_more_slowly(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = world.supervisor()
    attempts = 0
    pauses: list[float] = []

    async def spawn() -> None:
        nonlocal attempts
        attempts += 1
        raise MeshnetError("the forwarder did not start", "it crashed", "read the log")

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        supervisor._closing = len(pauses) >= 40

    monkeypatch.setattr(supervisor, "_spawn", spawn)
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await supervisor._restart()
    assert attempts == module.RESTARTS_PER_MINUTE and pauses[-1] >= 1.0


async def test_what_cannot_be_started_is_an_error_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(MeshnetError, match="cannot be started") as caught:
        await Supervisor(tmp_path / "missing" / "f", MESH, PEER).start()
    assert caught.value.fix
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(MeshnetError, match="did not start"):
        await Supervisor(tmp_path / "f", MESH, PEER).start()


@pytest.mark.parametrize("what", ["a stale socket", "a file"])
async def test_what_a_crash_left_in_the_run_directory_is_no_obstacle(world: World, what: str) -> None:
    if what == "a file":
        world.path.write_text("junk")
    else:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stale:
            stale.bind(str(world.path))
    supervisor, found = await world.started()
    assert not found.adopted and await answers(supervisor)
