"""The unix socket of the HTTP interface: made narrow from the start, never taken from a daemon that lives.

Rule: root alone may change the mesh, the group `meshnet` may read; who asks is the kernel's word, not the client's.
Reference: SO_PEERCRED: unix(7); design §9.
"""

import errno
import grp
import os
import socket
import stat
import struct
from pathlib import Path
from typing import Final

from aiohttp import web

from meshnet.errors import ExitCode, MeshnetError

__all__ = ["GROUP", "bind", "peer_uid"]

GROUP: Final = "meshnet"
SOCKET_UMASK: Final = 0o117
_UCRED = struct.Struct("iII")


def peer_uid(request: web.Request) -> int | None:
    """The uid of the process at the other end of the request's socket; None when it is gone."""
    transport = request.transport
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None:
        return None
    try:
        credentials: bytes = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    except OSError:
        return None
    uid: int = _UCRED.unpack(credentials)[1]
    return uid


def _answers(path: Path) -> bool:
    """Whether a process listens on this socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except BlockingIOError:
            return True
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _clear(path: Path) -> None:
    """Remove the socket of a daemon that is gone; raises MeshnetError if it is alive or this is no socket."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise MeshnetError(
            f"{path} is in the way",
            "it is no socket, so meshnet did not make it",
            "move it away, then start again",
        )
    if _answers(path):
        raise MeshnetError(
            "meshnetd runs already",
            f"a daemon answers on {path}",
            "run `meshnet status`, or give the second one its own --run-dir and --state-dir",
        )
    path.unlink(missing_ok=True)


def bind(path: Path, group: str | None = GROUP) -> socket.socket:
    """A socket bound to `path`, 0660 from the start and of `group` where that exists; not listening yet.

    Raises MeshnetError when another daemon answers there or the path cannot be used.
    """
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    before = os.umask(SOCKET_UMASK)
    try:
        sock.bind(os.fspath(path))
    except OSError as error:
        sock.close()
        code = ExitCode.PERMISSION if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS) else ExitCode.FAILED
        raise MeshnetError(
            f"cannot listen on {path}", error.strerror or str(error), "make the run directory writable", code
        ) from error
    finally:
        os.umask(before)
    try:
        if group is not None:
            os.chown(path, -1, grp.getgrnam(group).gr_gid)
    except KeyError:
        pass  # without the group the socket is root's alone
    except OSError as error:
        sock.close()
        path.unlink(missing_ok=True)
        raise MeshnetError(
            f"cannot give {path} to the group {group}",
            error.strerror or str(error),
            "start meshnet as root",
            ExitCode.PERMISSION,
        ) from error
    return sock
