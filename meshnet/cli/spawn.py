"""Starts the daemon: as a process of its own, or in this one's place.

Rule: a token or a password goes through a pipe, never through arguments or the environment; whoever starts a daemon
hears within a deadline that it is ready, or why not.  A daemon that did not become ready in time is ended again, so
that there is always one answer.
Flow: pipes -> process in a new session, stdin from /dev/null, output to the log -> one JSON line on the ready pipe:
{"ready": true, "state", "join"} or {"error": {what, why, fix, code}}.  Reference: design §2; pipe(7) for sizes.
"""

import grp
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import meshnet
from meshnet.cli import output
from meshnet.cli.invocation import Invocation
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["become", "start"]

READY_S = 45.0
LOG_BYTES = 5_000_000
"""A log beyond this is set aside as `.1` at a start, so that both together stay under 10 MB."""
LOG_LINES = 20
LOG_TAIL_BYTES = 16_384
READY_BYTES = 32 * 1024 * 1024
SECRET_BYTES = 16_384
END_S = 5.0

Ready = dict[str, Any]


def start(invocation: Invocation, secret: str | None = None, ready_s: float = READY_S) -> Ready:
    """Start a daemon that outlives this command and return its ready message; raises MeshnetError if it fails."""
    _make_run_dir(invocation.places.run_dir)
    log = _open_log(invocation.places.log)
    begin = os.fstat(log).st_size
    ready, invocation = _pipes(invocation, secret)
    ours = [log, *_inherited(invocation)]
    try:
        child = subprocess.Popen(
            _argv(invocation),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=_package_root(),
            start_new_session=True,
            pass_fds=_inherited(invocation),
            umask=0o077,
        )
    except OSError as error:
        os.close(ready)
        raise MeshnetError("meshnetd cannot be started", str(error), "reinstall meshnet") from None
    finally:
        for fd in ours:
            os.close(fd)
    try:
        line = _read_ready(ready, time.monotonic() + ready_s)
        if line is None:
            _show_log(invocation.places.log, begin)
            raise MeshnetError(
                "meshnetd did not become ready and was ended",
                f"{ready_s:g} s went by",
                f"look at {invocation.places.log}, then start it again",
                ExitCode.TIMED_OUT,
            )
        if not line:
            raise _died(child, invocation.places.log, begin)
        message = _understand(line)
    except BaseException:
        _end(child)
        raise
    finally:
        os.close(ready)
    child.returncode = 0  # it lives on as the daemon: not ours to wait for
    return message


def become(invocation: Invocation, secret: str | None, report: Callable[[Ready], None]) -> NoReturn:
    """Replace this process by the daemon; a process beside it calls `report` once the daemon is ready."""
    _make_run_dir(invocation.places.run_dir)
    ready, invocation = _pipes(invocation, secret)
    child = os.fork()
    if child == 0:
        # A grandchild reports: the daemon must not find a child it does not know.
        if os.fork() == 0:
            for fd in _inherited(invocation):
                os.close(fd)
            _report(ready, report)
        os._exit(0)
    os.waitpid(child, 0)
    os.close(ready)
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.close(null)
    for fd in _inherited(invocation):
        os.set_inheritable(fd, True)
    os.chdir(_package_root())
    os.umask(0o077)
    os.execv(sys.executable, _argv(invocation))


def _report(ready: int, report: Callable[[Ready], None]) -> NoReturn:
    """Wait for the ready message, report it and end; a daemon that dies has said why on the same terminal."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        line = _read_ready(ready, None)
        if line:
            report(_understand(line))
    except MeshnetError as error:
        output.complain(error)
    finally:
        os._exit(0)


def _argv(invocation: Invocation) -> list[str]:
    return [sys.executable, "-m", "meshnet", *invocation.argv()]


def _package_root() -> str:
    """The directory this code was loaded from.

    `python -m` looks into its working directory first: anywhere else a stranger's file could be run as root.
    """
    return str(Path(meshnet.__file__).resolve().parent.parent)


def _inherited(invocation: Invocation) -> list[int]:
    return [fd for fd in (invocation.ready_fd, invocation.secret_fd) if fd is not None]


def _pipes(invocation: Invocation, secret: str | None) -> tuple[int, Invocation]:
    """Our end of the ready pipe, and the invocation with the daemon's ends; the secret waits in its pipe."""
    secret_fd = None
    if secret is not None:
        content = secret.encode()
        if len(content) > SECRET_BYTES:
            raise MeshnetError(
                "this is no token and no password",
                "it is far too long",
                "paste the line `meshnet launch` printed",
                ExitCode.USAGE,
            )
        secret_fd, writer = os.pipe()
        os.write(writer, content)
        os.close(writer)
    ready, ready_fd = os.pipe()
    return ready, replace(invocation, ready_fd=ready_fd, secret_fd=secret_fd)


def _make_run_dir(path: Path) -> None:
    """Make the run directory: root's, and readable by the group `meshnet` where that exists."""
    if path.is_dir():
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir(mode=0o700)
        try:
            os.chown(path, -1, grp.getgrnam("meshnet").gr_gid)
            path.chmod(0o750)
        except KeyError:
            pass  # no such group: root's alone
    except OSError as error:
        raise _unwritable(path, error) from None


def _open_log(path: Path) -> int:
    """A descriptor that appends to the log, which is new where it had grown long."""
    try:
        if path.exists() and path.stat().st_size > LOG_BYTES:
            path.replace(path.with_name(path.name + ".1"))
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> MeshnetError:
    denied = isinstance(error, PermissionError)
    return MeshnetError(
        f"cannot create {path}",
        error.strerror or str(error),
        "run the command with sudo" if denied else "choose another --run-dir",
        ExitCode.PERMISSION if denied else ExitCode.FAILED,
    )


def _read_ready(fd: int, deadline: float | None) -> bytes | None:
    """The line on the ready pipe, b"" when its writer is gone without one, None at `deadline` (monotonic)."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    line = b""
    while b"\n" not in line and len(line) < READY_BYTES:
        left = None if deadline is None else (deadline - time.monotonic()) * 1000
        if (left is not None and left <= 0) or not poll.poll(left):
            return None
        part = os.read(fd, 65_536)
        if not part:
            return b""
        line += part
    return line.partition(b"\n")[0]


def _understand(line: bytes) -> Ready:
    """The ready message in a line; raises the MeshnetError it holds."""
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if isinstance(message, dict) and "error" in message:
        raise MeshnetError.from_json(message["error"])
    if not isinstance(message, dict) or message.get("ready") is not True:
        raise MeshnetError("meshnetd answered something unknown", "it is of another version", "reinstall meshnet")
    return message


def _died(child: "subprocess.Popen[bytes]", log: Path, begin: int) -> MeshnetError:
    """The error for a daemon that closed its ready pipe without a word; shows the end of its log."""
    try:
        status = child.wait(END_S)
    except subprocess.TimeoutExpired:
        status = None
    _show_log(log, begin)
    why = "it closed the ready pipe" if status is None else f"it ended with status {status}"
    if status is not None and status < 0:
        why = f"it was killed by {signal.Signals(-status).name}"
    return MeshnetError("meshnetd did not become ready", why, f"the whole log is {log}")


def _show_log(path: Path, begin: int) -> None:
    """Say the last lines this start wrote to the log."""
    try:
        with path.open("rb") as file:
            file.seek(max(begin, path.stat().st_size - LOG_TAIL_BYTES))
            lines = file.read(LOG_TAIL_BYTES).decode(errors="replace").splitlines()[-LOG_LINES:]
    except OSError:
        return
    for line in lines:
        output.say(f"log:   {output.clean(line)}")


def _end(child: "subprocess.Popen[bytes]") -> None:
    """End a daemon that will not serve: asked first, then killed."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
