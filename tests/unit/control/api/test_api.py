"""The API over a real socket: who may do what, every route, and everything a client can get wrong."""

import asyncio
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvloop
from aiohttp import web

from meshnet.cli.client import Client
from meshnet.control.api import api, reading
from meshnet.control.api.api import ApiServer
from meshnet.control.api.api_socket import bind, peer_uid
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.cli.fake import STATUS, FakeBackend, FakeDaemon

NETNS = "4:4026531840"
REQUEST = {"target": "web", "netns": NETNS}


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[FakeDaemon]:
    with FakeDaemon(tmp_path) as fake:
        yield fake


@pytest.fixture
def client(daemon: FakeDaemon) -> Client:
    return Client(daemon.path)


def raw(path: Path, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body of the answer to these very bytes."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        sock.connect(str(path))
        sock.sendall(request)
        answer = b""
        while part := sock.recv(65_536):
            answer += part
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return int(first.split()[1]), headers, body


def send(path: Path, method: str, target: str, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    head = f"{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
    return raw(path, head.encode() + body)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, 5),
        ("GET", "/v2/status", 404, 5),
        ("POST", "/v1/endpoints/XYZ/confirm", 404, 5),
        ("DELETE", "/v1/endpoints/" + "a" * 65, 404, 5),
        ("DELETE", "/v1/endpoints/ff", 404, 5),
        ("PUT", "/v1/status", 405, 2),
        ("GET", "/v1/stop", 405, 2),
        ("DELETE", "/v1/networks/web?everywhere=yes", 400, 2),
        ("DELETE", "/v1/networks/Web", 404, 5),
        ("DELETE", "/v1/networks/" + "a" * 64, 404, 5),
        ("DELETE", "/v1/expose/a/b", 404, 5),
        ("GET", "/v1/leave", 405, 2),
        ("GET", "/v1/endpoints", 400, 2),
        ("GET", "/v1/endpoints?netns=1:x", 400, 2),
        ("GET", "/v1/endpoints?netns=" + "1" * 30 + ":" + "1" * 30, 400, 2),
    ],
)
def test_what_does_not_exist_is_refused(daemon: FakeDaemon, method: str, path: str, status: int, code: int) -> None:
    answer = send(daemon.path, method, path)
    assert answer[0] == status
    assert json.loads(answer[2])["error"]["code"] == code
    assert answer[1]["content-type"].startswith("application/json")


def test_a_wrong_method_is_told_the_right_ones(daemon: FakeDaemon) -> None:
    assert send(daemon.path, "DELETE", "/v1/stop")[1]["allow"] == "POST"


def test_a_body_over_64_kib_is_413(daemon: FakeDaemon) -> None:
    status, _, answer = send(daemon.path, "POST", "/v1/tokens", b" " * (64 * 1024 + 1))
    assert (status, json.loads(answer)["error"]["code"]) == (413, 2)


@pytest.mark.parametrize("request_", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
def test_what_is_no_http_is_refused_and_harms_nobody(daemon: FakeDaemon, client: Client, request_: bytes) -> None:
    assert 400 <= raw(daemon.path, request_)[0] < 500
    assert client.request("GET", "/v1/status") == STATUS


def test_a_client_that_leaves_early_harms_nobody(daemon: FakeDaemon, client: Client) -> None:
    for part in (b"", b"POST /v1/tokens HTTP/1.1\r\n", b"POST /v1/tokens HTTP/1.1\r\nContent-Length: 9\r\n\r\n{"):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(daemon.path))
            sock.sendall(part)
    assert client.request("GET", "/v1/status") == STATUS


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (ExitCode.FAILED, 409),
        (ExitCode.USAGE, 400),
        (ExitCode.PERMISSION, 403),
        (ExitCode.NOT_FOUND, 404),
        (ExitCode.TIMED_OUT, 408),
    ],
)
def test_errors_of_the_backend_reach_the_client(
    daemon: FakeDaemon, client: Client, code: ExitCode, status: int
) -> None:
    daemon.backend.failures["status"] = MeshnetError("w", "y", "f", code)
    assert send(daemon.path, "GET", "/v1/status")[0] == status
    with pytest.raises(MeshnetError) as caught:
        client.request("GET", "/v1/status")
    assert caught.value.to_json() == {"what": "w", "why": "y", "fix": "f", "code": int(code)}


def test_a_fault_is_500_and_tells_no_detail(
    daemon: FakeDaemon, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    daemon.backend.failures["status"] = RuntimeError("private")
    status, _, answer = send(daemon.path, "GET", "/v1/status")
    assert (status, b"private" in answer) == (500, False)
    assert "GET /v1/status failed" in caplog.text
    del daemon.backend.failures["status"]
    assert client.request("GET", "/v1/status") == STATUS


def test_too_many_requests_at_once_are_refused(
    daemon: FakeDaemon, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REQUESTS_AT_ONCE", 1)
    daemon.backend.hold = asyncio.Event()
    first = threading.Thread(target=client.request, args=("GET", "/v1/status"))
    first.start()
    while not daemon.backend.calls:
        os.sched_yield()
    assert send(daemon.path, "GET", "/v1/peers")[0] == 503
    daemon.loop.call_soon_threadsafe(daemon.backend.hold.set)
    first.join(5)
    assert not first.is_alive()


def test_a_body_that_never_comes_is_given_up(daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "BODY_TIMEOUT_S", 0.05)
    request = b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9\r\n\r\n{"
    assert raw(daemon.path, request)[0] == 408


def serve(
    path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop], uid: int | None
) -> tuple[int, int, object]:
    """HTTP status of a GET and a POST; `uid` None asks the kernel, whose answer is returned too."""
    seen: list[object] = []

    async def work() -> tuple[int, int]:
        def uid_of(request: object) -> int | None:
            seen.append(peer_uid(request) if uid is None else uid)  # type: ignore[arg-type]
            return 0 if uid is None else uid

        runner = web.AppRunner(api.application(FakeBackend(), uid_of), access_log=None)
        await runner.setup()
        await web.SockSite(runner, bind(path, None)).start()
        get = await asyncio.to_thread(send, path, "GET", "/v1/status")
        post = await asyncio.to_thread(send, path, "POST", "/v1/stop")
        await runner.cleanup()
        return get[0], post[0]

    with asyncio.Runner(loop_factory=loop_factory) as runner:
        statuses = runner.run(work())
    return *statuses, seen[0] if seen else None


@pytest.mark.parametrize("uid", [1000, 65534])
def test_others_than_root_may_only_read(tmp_path: Path, uid: int) -> None:
    assert serve(tmp_path / "s", asyncio.new_event_loop, uid)[:2] == (200, 403)


@pytest.mark.parametrize("loop_factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_kernel_tells_who_asks(tmp_path: Path, loop_factory: Callable[[], asyncio.AbstractEventLoop]) -> None:
    assert serve(tmp_path / "s", loop_factory, None) == (200, 200, os.geteuid())


def test_a_second_daemon_is_refused_and_the_first_serves_on(daemon: FakeDaemon, client: Client) -> None:
    with pytest.raises(MeshnetError, match="runs already"):
        bind(daemon.path, None)
    assert client.request("GET", "/v1/status") == STATUS


async def test_closing_removes_only_its_own_socket(tmp_path: Path) -> None:
    path = tmp_path / "s"
    server = ApiServer(path, FakeBackend(), group=None)
    await server.start()
    path.unlink()
    path.write_text("another's")
    await server.close()
    assert path.exists()
    path.unlink()
    second = ApiServer(path, FakeBackend(), group=None)
    await second.start()
    await second.close()
    assert not path.exists()
