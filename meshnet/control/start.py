"""What surrounds a daemon's life: one daemon a run directory, the word that it is ready, a short log, no core file.

Rule: the lock is held for the life of the process, and whoever started the daemon gets one line or none.
Reference: flock(2); design §9.
"""

import asyncio
import ctypes
import fcntl
import json
import logging
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from meshnet.errors import MeshnetError

__all__ = ["LOG_CHECK_S", "boottime", "bound_log", "leave_no_core", "lock_run_dir", "refuse_unreachable", "write_ready"]

log = logging.getLogger("meshnet.daemon")

LOG_BYTES: Final = 5_000_000
LOG_CHECK_S: Final = 10.0
PR_SET_DUMPABLE: Final = 4


def boottime() -> float:
    """Seconds on CLOCK_BOOTTIME, the clock of every timer of both processes."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def leave_no_core() -> None:
    """No core file of this process, and no other process of its user reads its memory: it holds every key.

    Reference: prctl(2), PR_SET_DUMPABLE; setrlimit(2).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)


def lock_run_dir(run_dir: Path) -> int:
    """Hold RUN/meshnetd.lock for the life of the process; raises MeshnetError when another daemon has it."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(run_dir / "meshnetd.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise MeshnetError(
            f"cannot use {run_dir}", error.strerror or str(error), "make it a directory of root's, or choose another"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise MeshnetError(
            f"a daemon already runs on {run_dir}",
            "its lock is held",
            f"use it, or stop it: meshnet --run-dir {run_dir} stop",
        ) from None
    return descriptor


def refuse_unreachable(addresses: Sequence[str]) -> None:
    """A peer that no other can find would join in vain: raise MeshnetError when it has no address to tell."""
    if not addresses:
        raise MeshnetError(
            "this host has no address to tell the others",
            "no interface carries a global address of a family that is listened on",
            "bring the network up, or name an address with --advertise HOST[:PORT]",
        )


def write_ready(descriptor: int, message: dict[str, object]) -> None:
    """One JSON line for whoever started this daemon; its absence is no error."""
    try:
        os.write(descriptor, json.dumps(message).encode() + b"\n")
    except OSError:
        pass
    finally:
        os.close(descriptor)


def bound_log() -> None:
    """Every LOG_CHECK_S empty the log (stderr, opened for appending) when it has grown long; the CLI keeps the one
    before it.
    """
    asyncio.get_running_loop().call_later(LOG_CHECK_S, bound_log)
    try:
        if os.fstat(sys.stderr.fileno()).st_size > LOG_BYTES:
            os.ftruncate(sys.stderr.fileno(), 0)
            log.info("the log had reached %d bytes and begins anew", LOG_BYTES)
    except OSError:
        pass  # stderr is no file: whoever reads it bounds it
