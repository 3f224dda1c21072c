"""The key file of a peer, STATE/keys.json, and the lock on its state directory.

Purpose: what makes this host this peer, written once and whole.
Rule: only its owner may read it; it appears under its name complete and synced, or not at all; whatever is
wrong with it refuses the start and leaves it as it is. Secrets never reach a message or a repr.
Flow: launch and join call ``create``; every start calls ``load`` while it holds ``StateLock``.
Reference: design §3 (keys live in 0600 files), §6 (keys and database carry one state id).
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from base64 import b64decode, b64encode
from pathlib import Path

from crypto.certificate import verify_chain
from crypto.errors import CryptoError
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import Suite, blake2s
from crypto.secret import MeshSecret
from meshnet.control.membership import STATE_ID_SIZE, Membership
from meshnet.errors import ExitCode, MeshnetError

KEY_FILE = "keys.json"
LOCK_FILE = "lock"
FORMAT_VERSION = 1
MAX_SIZE = 64 * 1024  # a chain of 8 certificates needs about 6 kB
_FIELDS = ("version", "state_id", "mesh", "identity", "static", "secret", "epoch", "suite", "name", "chain")


def exists(directory: Path) -> bool:
    """Whether the state directory already makes this host a peer."""
    return os.path.lexists(directory / KEY_FILE)


def create(directory: Path, membership: Membership) -> None:
    """Write the key file for the first time, durable on return; MeshnetError if there is one already."""
    path = directory / KEY_FILE
    if exists(directory):
        raise MeshnetError(
            f"{path} exists already",
            "this state directory belongs to a mesh",
            "run `meshnet start`, or choose another --state-dir",
            ExitCode.FAILED,
        )
    fresh = directory / (KEY_FILE + ".new")
    try:
        fresh.unlink(missing_ok=True)
        descriptor = os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(_encode(membership))
            file.flush()
            os.fsync(file.fileno())
        fresh.rename(path)
        _sync_directory(directory)
    except OSError as error:
        raise MeshnetError(
            f"cannot write {path}",
            str(error),
            "make the state directory writable, with free space, or choose another --state-dir",
            ExitCode.FAILED,
        ) from error


def load(directory: Path) -> Membership:
    """Read the key file; MeshnetError when missing, readable by others, damaged or of another version."""
    path = directory / KEY_FILE
    return _decode(path, _read(path))


class StateLock:
    """Holds a state directory for one daemon until ``release`` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @classmethod
    def acquire(cls, directory: Path) -> StateLock:
        """Take the lock at once, or raise MeshnetError naming who has it."""
        path = directory / LOCK_FILE
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise MeshnetError(
                f"cannot lock {directory}",
                str(error),
                "create the state directory, make it writable, or choose another --state-dir",
                ExitCode.FAILED,
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise MeshnetError(
                f"{directory} is in use",
                f"another meshnetd (pid {holder})" if holder.isdigit() else str(error),
                "stop it with `meshnet stop`, or choose another --state-dir and --run-dir",
                ExitCode.FAILED,
            ) from error
        return cls(descriptor)

    def release(self) -> None:
        """Let the directory go; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode(membership: Membership) -> bytes:
    body: dict[str, object] = {
        "version": FORMAT_VERSION,
        "state_id": membership.state_id.hex(),
        "mesh": membership.mesh.hex(),
        "identity": _text(membership.identity.seed),
        "static": _text(membership.static.private),
        "secret": _text(membership.secret.key),
        "epoch": membership.secret.epoch,
        "suite": membership.suite.value,
        "name": membership.name,
        "chain": [_text(certificate) for certificate in membership.chain],
    }
    body["check"] = _check(body)
    return json.dumps(body, indent=1).encode() + b"\n"


def _check(body: dict[str, object]) -> str:
    """A checksum over the fields: a flipped bit in a key would otherwise be a valid, different key."""
    return blake2s(json.dumps([body[name] for name in _FIELDS]).encode(), size=16).hex()


def _read(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise MeshnetError(
            f"{path} is missing",
            "this state directory does not make the host a peer of a mesh",
            "run `meshnet launch`, or `meshnet join TOKEN`",
            ExitCode.NOT_FOUND,
        ) from error
    except OSError as error:
        raise _damaged(path, str(error)) from error
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise _damaged(path, "it is not a regular file")
        if state.st_uid != os.geteuid() or state.st_mode & 0o077:
            raise MeshnetError(
                f"{path} is not private",
                f"owner {state.st_uid}, mode {stat.S_IMODE(state.st_mode):04o}: others could read the keys",
                f"chown {os.geteuid()} and chmod 600 {path}; if others may have read it, leave and join anew",
                ExitCode.PERMISSION,
            )
        raw = _read_up_to(descriptor, MAX_SIZE + 1)
    finally:
        os.close(descriptor)
    if len(raw) > MAX_SIZE:
        raise _damaged(path, "it is too long")
    return raw


def _read_up_to(descriptor: int, size: int) -> bytes:
    raw = b""
    while len(raw) < size and (part := os.read(descriptor, size - len(raw))):
        raw += part
    return raw


def _decode(path: Path, raw: bytes) -> Membership:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not whole JSON") from error
    if not isinstance(body, dict):
        raise _damaged(path, "it is not whole JSON")
    if body.get("version") != FORMAT_VERSION:
        raise MeshnetError(
            f"{path} has version {str(body.get('version'))[:16]}",
            f"this meshnet reads version {FORMAT_VERSION}",
            "run the meshnet release that wrote it, or remove the state directory and join anew",
            ExitCode.FAILED,
        )
    try:
        if body["check"] != _check(body):
            raise _damaged(path, "its checksum is wrong")
        membership = Membership(
            state_id=bytes.fromhex(body["state_id"]),
            mesh=bytes.fromhex(body["mesh"]),
            identity=IdentityKey.from_bytes(_bytes(body["identity"])),
            static=StaticKey.from_bytes(_bytes(body["static"])),
            secret=MeshSecret(body["epoch"], _bytes(body["secret"])),
            suite=Suite(body["suite"]),
            name=body["name"],
            chain=tuple(_bytes(text) for text in body["chain"]),
        )
        if len(membership.state_id) != STATE_ID_SIZE or not isinstance(membership.name, str):
            raise _damaged(path, "a field has the wrong length")
        verify_chain(membership.mesh, membership.identity.public, membership.chain)
    except (KeyError, TypeError, ValueError, CryptoError) as error:
        # The cause is named by its type alone: a message of a decoder may quote what it was given.
        raise _damaged(path, f"a field is missing or wrong ({type(error).__name__})") from None
    return membership


def _text(value: bytes) -> str:
    return b64encode(value).decode("ascii")


def _bytes(text: str) -> bytes:
    return b64decode(text, validate=True)


def _damaged(path: Path, why: str) -> MeshnetError:
    return MeshnetError(
        f"{path} cannot be used",
        why,
        "restore it and the database from one moment, or remove the state directory and join anew",
        ExitCode.FAILED,
    )
