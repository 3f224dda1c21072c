"""Targets are found by pid, path and name; only a thread of its own may enter."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from meshnet.host import namespace
from meshnet.host.errors import HostError

OWN = "/proc/self/ns/net"


def key_of(path: str) -> str:
    status = os.stat(path)
    return f"{status.st_dev}:{status.st_ino}"


def test_a_pid_is_a_target() -> None:
    pid = str(os.getpid())
    found = namespace.resolve(pid)
    assert found == namespace.ResolvedTarget(f"/proc/{pid}/ns/net", key_of(OWN), pid)


def test_a_path_is_a_target_with_the_same_key() -> None:
    assert namespace.resolve(OWN).key == namespace.resolve(str(os.getpid())).key
    assert namespace.namespace_key(OWN) == key_of(OWN)


def test_a_name_is_looked_for_where_ip_netns_puts_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace, "NAMED_DIR", str(tmp_path))
    (tmp_path / "blue").symlink_to(f"/proc/{os.getpid()}/ns/net")
    assert namespace.resolve("blue").path == f"{tmp_path}/blue"
    (tmp_path / "4194305").symlink_to(f"/proc/{os.getpid()}/ns/net")  # above the largest pid
    assert namespace.resolve("4194305").path == f"{tmp_path}/4194305"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("no-such-namespace", errno.ENOENT),
        ("4194305", errno.ENOENT),
        ("/nonexistent/ns", errno.ENOENT),
        ("..", errno.ENOENT),
        ("/etc/hostname", errno.EINVAL),
        ("/proc/self/ns/uts", errno.EINVAL),
        ("/dev/null", errno.EINVAL),
        ("", 0),
        ("a\0b", 0),
    ],
)
def test_what_is_no_namespace_is_refused_in_three_lines(target: str, code: int) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError) as caught:
        namespace.resolve(target)
    assert caught.value.errno == code
    assert "no " in caught.value.what and caught.value.why
    assert "ip netns" in caught.value.fix and "pid" in caught.value.fix
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_main_thread_never_enters() -> None:
    with pytest.raises(HostError, match="main thread"):
        namespace.enter(OWN)


def test_work_runs_in_a_thread_of_its_own_and_its_failure_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[int] = []
    monkeypatch.setattr(namespace, "_setns", entered.append)
    assert namespace.run_in(OWN, threading.get_ident) != threading.get_ident()
    assert len(entered) == 1

    def fail() -> None:
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        namespace.run_in(OWN, fail)


def test_a_refused_setns_is_a_host_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_fd: int) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(namespace, "_setns", refuse)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(HostError, match="EPERM"):
        namespace.run_in(OWN, threading.get_ident)
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_system_call_for_python_3_11_reports_errno() -> None:
    with pytest.raises(OSError) as caught:
        namespace._setns_by_libc(-1)
    assert caught.value.errno == errno.EBADF
