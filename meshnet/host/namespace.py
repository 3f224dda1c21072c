"""Find a network namespace by what an operator calls it, and do one thing inside it.

Purpose: `meshnet attach TARGET` names a namespace, a path or a process; everyone else knows the namespace by
its key "device:inode", which stays the same whatever path leads to it.
Rule: only a short-lived thread ever enters another namespace, never the main one: a thread that failed to
come back would do all later work in the wrong place.
Reference: setns(2), namespaces(7), ioctl_ns(2), ip-netns(8); design §2, §8.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from meshnet.host.errors import HostError, os_refused, refused

NAMED_DIR = "/run/netns"
PROC_DIR = "/proc"
CLONE_NEWNET = 0x40000000
NS_GET_NSTYPE = 0xB703

Result = TypeVar("Result")


@dataclass(frozen=True)
class ResolvedTarget:
    """A network namespace: a path that opens it, its key "device:inode", and the operator's own word for
    it.
    """

    path: str
    key: str
    text: str


def resolve(target: str) -> ResolvedTarget:
    """Find the namespace meant by a path, a pid, or a name made by `ip netns`.

    A word of digits is a pid where such a process exists, else a name. Raises HostError when there is none.
    """
    if not target or "\0" in target:
        raise HostError("no such namespace", "the target is empty or holds a zero byte", _choices())
    path = _path_of(target)
    try:
        key = namespace_key(path)
    except HostError as error:
        raise HostError(f"no network namespace {target!r}", error.why, _choices(), code=error.errno) from error
    return ResolvedTarget(path, key, target)


def namespace_key(path: str) -> str:
    """Return "device:inode" of the network namespace at `path`; raises HostError when it is none."""
    fd = open_namespace(path)
    try:
        status = os.fstat(fd)
    finally:
        os.close(fd)
    return f"{status.st_dev}:{status.st_ino}"


def open_namespace(path: str) -> int:
    """Open the network namespace at `path` and return the descriptor, which keeps it alive; raises
    HostError.
    """
    what = f"cannot open network namespace {path}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise os_refused(what, error, fix=_choices()) from error
    try:
        kind = fcntl.ioctl(fd, NS_GET_NSTYPE)
    except OSError:
        kind = 0  # no namespace at all: a plain file, as a crashed `ip netns` leaves it
    if kind != CLONE_NEWNET:
        os.close(fd)
        raise HostError(what, "it is not a network namespace", _choices(), code=errno.EINVAL)
    return fd


def run_in(namespace: str | int, work: Callable[[], Result]) -> Result:
    """Run `work` in a new thread inside `namespace` (a path or an open descriptor) and return what it
    returns.

    What `work` raises is raised here; HostError when the namespace cannot be entered.
    """
    results: list[Result] = []
    failures: list[BaseException] = []

    def inside() -> None:
        try:
            enter(namespace)
            results.append(work())
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=inside, name="meshnet-namespace")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]


def enter(namespace: str | int) -> None:
    """Move the calling thread, which must not be the main one, into `namespace`; raises HostError."""
    if threading.current_thread() is threading.main_thread():
        raise HostError("refused to enter a namespace", "this is the main thread", "use a thread of its own")
    fd = open_namespace(namespace) if isinstance(namespace, str) else namespace
    try:
        _setns(fd)
    except OSError as error:
        raise os_refused("cannot enter the network namespace", error, fix="run as root") from error
    finally:
        if isinstance(namespace, str):
            os.close(fd)


def current_namespace() -> int:
    """Open the calling thread's own network namespace and return the descriptor; raises HostError."""
    return open_namespace(f"{PROC_DIR}/thread-self/ns/net")


def _path_of(target: str) -> str:
    if "/" in target:
        return target
    by_pid = f"{PROC_DIR}/{target}/ns/net"
    if target.isascii() and target.isdigit() and os.path.exists(by_pid):
        return by_pid
    if target in (".", ".."):
        raise refused(f"no network namespace {target!r}", errno.ENOENT, fix=_choices())
    return f"{NAMED_DIR}/{target}"


def _choices() -> str:
    return "give a name of `ip netns list`, a path like /run/netns/NAME, or the pid of a running process"


def _setns(fd: int) -> None:
    if sys.version_info >= (3, 12):
        os.setns(fd, CLONE_NEWNET)
    else:
        _setns_by_libc(fd)


def _setns_by_libc(fd: int) -> None:
    """The system call for Python 3.11, whose `os` lacks it; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, CLONE_NEWNET) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
