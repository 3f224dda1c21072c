"""An identity made before its host joins: shown as often as wanted, used once, and refused when it is spoiled."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from crypto.primitives import Suite
from meshnet.control.keys import identity_file, keyfile
from meshnet.control.keys.keyfile import StateLock
from meshnet.control.keys.membership import found
from meshnet.errors import ExitCode, MeshnetError


def test_the_same_key_is_shown_until_it_is_used(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    shown = identity_file.public_key(directory, os.urandom)
    assert identity_file.public_key(directory, os.urandom) == shown and len(shown) == 32
    held = identity_file.load(directory)
    assert held is not None and held.public == shown
    assert (directory / "identity.json").stat().st_mode & 0o777 == 0o600 and directory.stat().st_mode & 0o077 == 0
    identity_file.remove(directory)
    identity_file.remove(directory)
    assert identity_file.load(directory) is None
    assert identity_file.public_key(directory, os.urandom) != shown


def test_where_nothing_is_nothing_is_loaded(tmp_path: Path) -> None:
    assert identity_file.load(tmp_path) is None and identity_file.load(tmp_path / "none") is None


def test_a_peers_own_key_is_the_key_files(tmp_path: Path) -> None:
    identity_file.public_key(tmp_path, os.urandom)
    membership = found("alpha", Suite.AESGCM, os.urandom)
    keyfile.create(tmp_path, membership)
    assert identity_file.public_key(tmp_path, os.urandom) == membership.identity.public


def test_while_a_daemon_makes_this_host_a_peer_no_key_is_made(tmp_path: Path) -> None:
    lock = StateLock.acquire(tmp_path)
    with pytest.raises(MeshnetError, match="in use"):
        identity_file.public_key(tmp_path, os.urandom)
    lock.release()
    identity_file.public_key(tmp_path, os.urandom)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "[" * 3000, '{"version": 1, "identity": 7, "public": ""}', "x" * 5000], ids=range(6)
)
def test_a_spoiled_file_is_refused_and_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "identity.json"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(MeshnetError, match="cannot be used"):
        identity_file.public_key(tmp_path, os.urandom)
    assert path.read_text() == text


@pytest.mark.parametrize("field", ["version", "public", "identity"])
def test_a_changed_field_is_noticed_and_no_key_is_told(tmp_path: Path, field: str) -> None:
    identity_file.public_key(tmp_path, os.urandom)
    path = tmp_path / "identity.json"
    body = json.loads(path.read_bytes())
    seed = body["identity"]
    body[field] = {"version": 2, "public": "00" * 32, "identity": "A" * 43 + "="}[field]
    path.write_text(json.dumps(body))
    with pytest.raises(MeshnetError) as caught:
        identity_file.load(tmp_path)
    assert seed not in str(caught.value)


def test_a_file_others_can_read_is_refused(tmp_path: Path) -> None:
    identity_file.public_key(tmp_path, os.urandom)
    (tmp_path / "identity.json").chmod(0o644)
    with pytest.raises(MeshnetError, match="not private") as caught:
        identity_file.load(tmp_path)
    assert caught.value.code is ExitCode.PERMISSION


def test_a_directory_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MeshnetError, match="cannot write"):
        identity_file.public_key(tmp_path / "file" / "state", os.urandom)
