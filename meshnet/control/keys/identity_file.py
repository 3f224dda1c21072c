"""The identity a host will join with, made before it joins: STATE/identity.json.

Purpose: an admin can put a host's key on the allow-list first; and a host that was refused keeps the key it was
refused with, so that allowing that key lets it in.
Rule: private as the key file is. There is one identity: the next launch or join uses it and, once the key file is
written, removes it here; where there is a key file, this one counts for nothing.
Flow: ``meshnet key show`` -> ``public_key``; ``opening`` -> ``load``, ``remove``.
Reference: design §3 (a peer's id is its identity public key).
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from crypto.errors import CryptoError
from crypto.keys import IdentityKey
from meshnet.control.keys import keyfile, private_file
from meshnet.errors import ExitCode, MeshnetError

FILE = "identity.json"
FORMAT_VERSION = 1
MAX_SIZE = 4096


def public_key(directory: Path, entropy: Callable[[int], bytes]) -> bytes:
    """The 32-byte identity of this state directory's peer, or of the peer it will be; made where there is none.

    Raises MeshnetError when it cannot be read or written, or a daemon is just making this host a peer.
    """
    if keyfile.exists(directory):
        return keyfile.load(directory).identity.public
    held = load(directory)
    if held is not None:
        return held.public
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise _unwritable(directory, error) from error
    lock = keyfile.StateLock.acquire(directory)
    try:
        return (load(directory) or _make(directory, entropy)).public
    finally:
        lock.release()


def load(directory: Path) -> IdentityKey | None:
    """The identity that was made beforehand, if any; MeshnetError when the file is damaged or not private."""
    path = directory / FILE
    try:
        raw = private_file.read(path, MAX_SIZE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise MeshnetError(
            f"cannot read {path}", error.strerror or str(error), "run the command with sudo", ExitCode.PERMISSION
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path) from error
    try:
        body = json.loads(raw)
        identity = IdentityKey.from_bytes(b64decode(body["identity"], validate=True))
        if body["version"] != FORMAT_VERSION or body["public"] != identity.public.hex():
            raise _damaged(path)
    except (ValueError, KeyError, TypeError, RecursionError, CryptoError):
        raise _damaged(path) from None
    return identity


def remove(directory: Path) -> None:
    """Forget the identity made beforehand; where it cannot be removed it stays, and counts for nothing."""
    with suppress(OSError):
        (directory / FILE).unlink()


def _make(directory: Path, entropy: Callable[[int], bytes]) -> IdentityKey:
    identity = IdentityKey.generate(entropy)
    body = {
        "version": FORMAT_VERSION,
        "public": identity.public.hex(),
        "identity": b64encode(identity.seed).decode("ascii"),
    }
    try:
        private_file.write(directory / FILE, json.dumps(body, indent=1).encode() + b"\n")
    except OSError as error:
        raise _unwritable(directory, error) from error
    return identity


def _unwritable(directory: Path, error: OSError) -> MeshnetError:
    denied = isinstance(error, PermissionError)
    return MeshnetError(
        f"cannot write in {directory}",
        error.strerror or str(error),
        "run the command with sudo" if denied else "make room, or choose another --state-dir",
        ExitCode.PERMISSION if denied else ExitCode.FAILED,
    )


def _damaged(path: Path) -> MeshnetError:
    fix = "remove it; `meshnet key show` makes another"
    return MeshnetError(f"{path} cannot be used", "it is damaged or of another release", fix)
