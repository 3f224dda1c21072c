"""The client's failures: each way to not get an answer is told apart, with its exit code and a remedy."""

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.cli.client import ANSWER_BYTES, Client
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.cli.fake import STATUS, FakeDaemon

NOBODY = 65534


class Scripted:
    """A listener that answers one connection with given bytes and closes."""

    def __init__(self, path: Path, answer: bytes, repeat: int = 1) -> None:
        self._sock = socket.socket(socket.AF_UNIX)
        self._sock.bind(str(path))
        self._sock.listen(1)
        self._answer, self._repeat = answer, repeat
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> "Scripted":
        self._thread.start()
        return self

    def _serve(self) -> None:
        with self._sock, self._sock.accept()[0] as connection:
            connection.recv(65_536)
            try:
                for _ in range(self._repeat):
                    connection.sendall(self._answer)
            except OSError:
                pass

    def __exit__(self, *_: object) -> None:
        self._thread.join(5)


def failure(client: Client) -> MeshnetError:
    with pytest.raises(MeshnetError) as caught:
        client.request("GET", "/v1/status")
    assert caught.value.what and caught.value.why and caught.value.fix
    return caught.value


def test_no_socket(tmp_path: Path) -> None:
    error = failure(Client(tmp_path / "meshnet.sock"))
    assert error.code is ExitCode.NOT_RUNNING
    assert "there is no socket" in error.why


def test_stale_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "meshnet.sock"))
    error = failure(Client(tmp_path / "meshnet.sock"))
    assert error.code is ExitCode.NOT_RUNNING
    assert "nobody listens" in error.why
    assert not Client(tmp_path / "meshnet.sock").running()


@pytest.mark.parametrize("denied", [PermissionError(13, "denied")])
def test_permission_denied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denied: OSError) -> None:
    class Refusing(socket.socket):
        def connect(self, _: object) -> None:
            raise denied

    monkeypatch.setattr(socket, "socket", Refusing)
    error = failure(Client(tmp_path / "meshnet.sock"))
    assert error.code is ExitCode.PERMISSION
    assert "sudo" in error.fix and "group `meshnet`" in error.fix
    with pytest.raises(MeshnetError):
        Client(tmp_path / "meshnet.sock").running()


@pytest.fixture
def unprivileged() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_the_kernel_denies_as_expected(unprivileged: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    with pytest.raises(MeshnetError) as caught:
        Client(Path("/proc/1/root/meshnet.sock")).request("GET", "/v1/status")
    assert caught.value.code is ExitCode.PERMISSION


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\xff" * 100,
        b"HTTP/1.1 200 OK\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nMeshnet-API: 2\r\nMeshnet-Version: 9.0\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nMeshnet-API: 1\r\nContent-Length: 3\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nMeshnet-API: 1\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nMeshnet-API: 1\r\nContent-Length: 1\r\n\r\n{",
        b"HTTP/1.1\r\nMeshnet-API: 1\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_version_skew_and_nonsense(tmp_path: Path, answer: bytes) -> None:
    with Scripted(tmp_path / "s", answer):
        error = failure(Client(tmp_path / "s"))
    assert error.code is ExitCode.NOT_RUNNING
    assert "does not understand" in error.what


def test_an_error_without_words_is_still_an_error(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s", b"HTTP/1.1 500 X\r\nMeshnet-API: 1\r\nContent-Length: 2\r\n\r\n{}"):
        assert failure(Client(tmp_path / "s")).code is ExitCode.FAILED


def test_an_endless_answer_is_cut(tmp_path: Path) -> None:
    with Scripted(tmp_path / "s", b"x" * 1_000_000, ANSWER_BYTES // 1_000_000 + 50):
        assert "does not understand" in failure(Client(tmp_path / "s")).what


def test_silence_times_out(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "s"))
        silent.listen(1)
        error = failure(Client(tmp_path / "s", timeout_s=0.05))
    assert error.code is ExitCode.TIMED_OUT


def test_a_full_backlog_is_no_dead_daemon(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as first:
        busy.bind(str(tmp_path / "s"))
        busy.listen(0)
        first.connect(str(tmp_path / "s"))
        assert failure(Client(tmp_path / "s", timeout_s=0.05)).code is ExitCode.TIMED_OUT


def test_an_answer_tells_who_gave_it(daemon: FakeDaemon) -> None:
    client = Client(daemon.path)
    assert client.running()
    assert client.request("GET", "/v1/status") == STATUS
    assert (client.daemon_version, client.daemon_pid) == ("0.1.0", os.getpid())
