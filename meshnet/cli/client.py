"""Asks the daemon: one HTTP/1.1 request a connection over its unix socket, with the standard library alone.

Rule: an answer is read whole, at most ANSWER_BYTES and until one deadline; every way to not get one is an error
that says what to do, and the four ways to not even connect (no socket, a stale one, no permission, a daemon of
another version) are told apart.  Reference: RFC 9112 §2-§6; unix(7).
"""

import json
import os
import socket
import struct
import time
from pathlib import Path
from typing import Any, NoReturn

from meshnet import __version__
from meshnet.config import API_VERSION
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["TIMEOUT_S", "Client"]

ANSWER_BYTES = 32 * 1024 * 1024
TIMEOUT_S = 10.0


class Client:
    """One daemon.  After an answer `daemon_version` and `daemon_pid` tell whose it was."""

    def __init__(self, path: Path, timeout_s: float = TIMEOUT_S) -> None:
        self.path = path
        self.timeout_s = timeout_s
        self.daemon_version: str | None = None
        self.daemon_pid = 0

    def request(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """The JSON object the daemon answers; raises MeshnetError: the daemon's own, or why there is none."""
        data = b"" if body is None else json.dumps(body).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: meshnet\r\nConnection: close\r\n"
            f"User-Agent: meshnet/{__version__}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\n\r\n"
        )
        deadline = time.monotonic() + self.timeout_s
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(self.timeout_s)
            self._connect(sock)
            try:
                sock.sendall(head.encode() + data, socket.MSG_NOSIGNAL)
                answer = _receive(sock, deadline)
            except TimeoutError:
                self._late()
            except OSError as error:
                self._skewed(f"the connection broke: {error.strerror or error}")
        return self._read(answer)

    def running(self) -> bool:
        """Whether a daemon listens; raises MeshnetError only where that cannot be told."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(self.timeout_s)
            try:
                self._connect(sock)
            except MeshnetError as error:
                if error.code is ExitCode.NOT_RUNNING:
                    return False
                raise
        return True

    def _connect(self, sock: socket.socket) -> None:
        start = "run `meshnet start`; the first time `meshnet launch` or `meshnet join TOKEN`"
        try:
            sock.connect(os.fspath(self.path))
        except (FileNotFoundError, NotADirectoryError):
            raise MeshnetError(
                "meshnetd is not running",
                f"there is no socket {self.path}",
                f"{start}; for a daemon elsewhere give --run-dir",
                ExitCode.NOT_RUNNING,
            ) from None
        except ConnectionRefusedError:
            raise MeshnetError(
                "meshnetd is not running any more",
                f"it left the socket {self.path} behind, and nobody listens on it",
                f"run `meshnet start`; {self.path.with_name('meshnetd.log')} may say why it ended",
                ExitCode.NOT_RUNNING,
            ) from None
        except PermissionError:
            raise MeshnetError(
                "you may not talk to meshnetd",
                f"{self.path} belongs to root and the group `meshnet`",
                "run the command with sudo, or add yourself to the group `meshnet` and log in anew",
                ExitCode.PERMISSION,
            ) from None
        except (TimeoutError, BlockingIOError):
            self._late()
        except OSError as error:
            raise MeshnetError(
                "meshnetd cannot be reached",
                f"{self.path}: {error.strerror or error}",
                "check --run-dir",
                ExitCode.NOT_RUNNING,
            ) from None
        credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        self.daemon_pid = struct.unpack("iII", credentials)[0]

    def _read(self, answer: bytes) -> dict[str, Any]:
        """The body of an answer of this API's version; raises MeshnetError."""
        head, _, body = answer.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.daemon_version = headers.get("meshnet-version")
        if headers.get("meshnet-api") != str(API_VERSION):
            self._skewed(f"it speaks version {headers.get('meshnet-api', 'none')} of the interface")
        status = first.split(" ")[1:2]
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        whole = headers.get("content-length") == str(len(body)) and len(answer) <= ANSWER_BYTES
        if not whole or not isinstance(value, dict) or not status:
            self._skewed("its answer is not whole")
        if not status[0].startswith("2"):
            raise MeshnetError.from_json(value.get("error"))
        return value

    def _late(self) -> NoReturn:
        raise MeshnetError(
            "meshnetd did not answer",
            f"it is alive but {self.timeout_s:g} s went by",
            f"try again; {self.path.with_name('meshnetd.log')} may say what it does",
            ExitCode.TIMED_OUT,
        )

    def _skewed(self, why: str) -> NoReturn:
        raise MeshnetError(
            f"the daemon on {self.path} does not understand this command",
            f"{why}; this is meshnet {__version__} with version {API_VERSION} of the interface",
            "restart the daemon with this version: `meshnet stop`, `meshnet start`, each of its own version",
            ExitCode.NOT_RUNNING,
        )


def _receive(sock: socket.socket, deadline: float) -> bytes:
    """Everything until the daemon closes; raises TimeoutError at `deadline` (monotonic seconds)."""
    parts: list[bytes] = []
    size = 0
    while size <= ANSWER_BYTES:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        sock.settimeout(left)
        part = sock.recv(65_536)
        if not part:
            break
        parts.append(part)
        size += len(part)
    return b"".join(parts)
