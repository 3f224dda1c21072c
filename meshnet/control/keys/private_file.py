"""Files that hold keys: their owner's alone, whole or not there.

Rule: written beside its place with mode 0600, synced, then renamed; read only if it is a regular file of this
user that nobody else may open. What a file says never reaches an error of this module.
Reference: design §3 (keys live in 0600 files; a key readable by others refuses start); rename(2), fsync(2).
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from meshnet.errors import ExitCode, MeshnetError

FRESH = ".new"
"""Ends the name of a file that is being written."""


def write(path: Path, data: bytes) -> None:
    """Make `data` the content of `path`, durable on return; raises OSError.

    After an error the content is the old one or, where only the directory could not be synced, the new one.
    """
    fresh = fresh_path(path)
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # whatever the umask
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        fresh.rename(path)
    except OSError:
        fresh.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def read(path: Path, max_size: int) -> bytes:
    """The content of a private file of at most `max_size` bytes.

    Raises MeshnetError when others could read or change it, OSError (FileNotFoundError when it is missing) and
    ValueError when it is none or too long.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise ValueError("it is not a regular file")
        if state.st_uid != os.geteuid() or state.st_mode & 0o077:
            raise MeshnetError(
                f"{path} is not private",
                f"owner {state.st_uid}, mode {stat.S_IMODE(state.st_mode):04o}: others could read the keys",
                f"chown {os.geteuid()} and chmod 600 {path}; if others may have read it, leave and join anew",
                ExitCode.PERMISSION,
            )
        raw = b""
        while len(raw) <= max_size and (part := os.read(descriptor, max_size + 1 - len(raw))):
            raw += part
    finally:
        os.close(descriptor)
    if len(raw) > max_size:
        raise ValueError("it is too long")
    return raw


def fresh_path(path: Path) -> Path:
    """Where the next content of `path` is written; a crash may leave it, keys and all."""
    return path.with_name(path.name + FRESH)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
