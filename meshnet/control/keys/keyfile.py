"""The key file of a peer, STATE/keys.json, and the lock on its state directory.

Purpose: what makes this host this peer, always whole: the old content or the new.
Rule: only its owner may read it; whatever is wrong with it refuses the start and leaves it as it is. Secrets
never reach a message or a repr. Files of version 1, which had one mesh secret and no old key, are read too.
Flow: launch and join call ``create``; every start calls ``load`` while it holds ``StateLock``; ``hostkeys``
calls ``replace`` for every change.
Reference: design §3 (keys live in 0600 files), §6 (keys and database carry one state id).
"""

from __future__ import annotations

import fcntl
import json
import os
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from crypto.certificate import verify_chain
from crypto.errors import CryptoError
from crypto.keyring import Keyring
from crypto.keys import IdentityKey, StaticKey
from crypto.primitives import KEY_SIZE, Suite, blake2s
from crypto.secret import MeshSecret
from meshnet.control.keys import private_file
from meshnet.control.keys.membership import STATE_ID_SIZE, Membership
from meshnet.errors import ExitCode, MeshnetError

KEY_FILE = "keys.json"
LOCK_FILE = "lock"
FORMAT_VERSION = 2
MAX_SIZE = 64 * 1024  # a chain of 8 certificates needs about 6 kB
_FIELDS = {
    1: ("version", "state_id", "mesh", "identity", "static", "secret", "epoch", "suite", "name", "chain"),
    2: (
        *("version", "state_id", "mesh", "identity", "static", "old_static", "old_static_until"),
        *("secrets", "password", "suite", "name", "chain"),
    ),
}
_SECRETS = ("current", "next", "previous")


def exists(directory: Path) -> bool:
    """Whether the state directory already makes this host a peer."""
    return os.path.lexists(directory / KEY_FILE)


def create(directory: Path, membership: Membership) -> None:
    """Write the key file for the first time, durable on return; MeshnetError if there is one already."""
    if exists(directory):
        raise MeshnetError(
            f"{directory / KEY_FILE} exists already",
            "this state directory belongs to a mesh",
            "run `meshnet start`, or choose another --state-dir",
            ExitCode.FAILED,
        )
    _write(directory, membership)


def replace(directory: Path, membership: Membership) -> None:
    """Write the key file of the same peer anew, durable on return.

    Raises MeshnetError when it cannot be written, or is not this peer's any more: it then stays as it is.
    """
    held = load(directory)
    if (held.state_id, held.identity) != (membership.state_id, membership.identity):
        raise MeshnetError(
            f"{directory / KEY_FILE} is another peer's",
            "it was exchanged while the daemon ran",
            "stop the daemon, restore the file, and start again",
            ExitCode.FAILED,
        )
    _write(directory, membership)


def load(directory: Path) -> Membership:
    """Read the key file; MeshnetError when missing, readable by others, damaged or of another version."""
    path = directory / KEY_FILE
    try:
        raw = private_file.read(path, MAX_SIZE)
    except FileNotFoundError as error:
        raise MeshnetError(
            f"{path} is missing",
            "this state directory does not make the host a peer of a mesh",
            "run `meshnet launch`, or `meshnet join TOKEN`",
            ExitCode.NOT_FOUND,
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, str(error)) from error
    return _decode(path, raw)


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


def _write(directory: Path, membership: Membership) -> None:
    path = directory / KEY_FILE
    try:
        private_file.write(path, _encode(membership))
    except OSError as error:
        raise MeshnetError(
            f"cannot write {path}",
            str(error),
            "make the state directory writable, with free space, or choose another --state-dir",
            ExitCode.FAILED,
        ) from error


def _encode(membership: Membership) -> bytes:
    ring = membership.keyring
    held = zip(_SECRETS, (ring.current, ring.next, ring.previous), strict=True)
    body: dict[str, object] = {
        "version": FORMAT_VERSION,
        "state_id": membership.state_id.hex(),
        "mesh": membership.mesh.hex(),
        "identity": _text(membership.identity.seed),
        "static": _text(membership.static.private),
        "old_static": None if membership.old_static is None else _text(membership.old_static.private),
        "old_static_until": membership.old_static_until,
        "secrets": {name: [one.generation, _text(one.key)] for name, one in held if one is not None},
        "password": None if membership.password_key is None else _text(membership.password_key),
        "suite": membership.suite.value,
        "name": membership.name,
        "chain": [_text(certificate) for certificate in membership.chain],
    }
    body["check"] = _check(body)
    return json.dumps(body, indent=1).encode() + b"\n"


def _check(body: Mapping[str, object]) -> str:
    """A checksum over the fields: a flipped bit in a key would otherwise be a valid, different key."""
    fields = _FIELDS[1 if body["version"] == 1 else FORMAT_VERSION]
    return blake2s(json.dumps([body[name] for name in fields]).encode(), size=16).hex()


def _decode(path: Path, raw: bytes) -> Membership:
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, "it is not whole JSON") from error
    if not isinstance(body, dict):
        raise _damaged(path, "it is not whole JSON")
    if body.get("version") not in (1, FORMAT_VERSION):
        raise MeshnetError(
            f"{path} has version {str(body.get('version'))[:16]}",
            f"this meshnet reads versions 1 to {FORMAT_VERSION}",
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
            keyring=_keyring(body),
            suite=Suite(body["suite"]),
            name=body["name"],
            chain=tuple(_bytes(text) for text in body["chain"]),
            **_later(body),
        )
        if len(membership.state_id) != STATE_ID_SIZE or not isinstance(membership.name, str):
            raise _damaged(path, "a field has the wrong length")
        verify_chain(membership.mesh, membership.identity.public, membership.chain)
    except (LookupError, TypeError, ValueError, AttributeError, CryptoError) as error:
        # The cause is named by its type alone: a message of a decoder may quote what it was given.
        raise _damaged(path, f"a field is missing or wrong ({type(error).__name__})") from None
    return membership


def _keyring(body: Mapping[str, Any]) -> Keyring:
    if body["version"] == 1:
        return Keyring(MeshSecret(body["epoch"], _bytes(body["secret"])))
    held = {name: MeshSecret(int(pair[0]), _bytes(pair[1])) for name, pair in body["secrets"].items()}
    return Keyring(**held)


def _later(body: Mapping[str, Any]) -> dict[str, Any]:
    """What version 1 did not have."""
    if body["version"] == 1:
        return {}
    old, password = body["old_static"], body["password"]
    key = None if password is None else _bytes(password)
    if key is not None and len(key) != KEY_SIZE:
        raise ValueError("a key of another length")
    return {
        "old_static": None if old is None else StaticKey.from_bytes(_bytes(old)),
        "old_static_until": float(body["old_static_until"]),
        "password_key": key,
    }


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
