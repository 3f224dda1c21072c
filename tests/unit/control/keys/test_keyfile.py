"""The key file: written whole and private, refused untouched when anything is wrong, locked by one daemon."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite, blake2s
from crypto.secret import MeshSecret
from meshnet.control.keys import keyfile
from meshnet.control.keys.keyfile import StateLock
from meshnet.control.keys.membership import Membership, found
from meshnet.errors import ExitCode, MeshnetError


@pytest.fixture
def membership() -> Membership:
    """One with every field set."""
    one, two, three = (MeshSecret(generation, os.urandom(32)) for generation in (300, 301, 299))
    return replace(
        found("alpha", Suite.CHACHAPOLY, os.urandom),
        keyring=Keyring(one, two, three),
        old_static=StaticKey.generate(os.urandom),
        old_static_until=1_800_000_000.25,
        password_key=os.urandom(32),
    )


def test_what_is_written_is_read_again(tmp_path: Path, membership: Membership) -> None:
    assert not keyfile.exists(tmp_path)
    keyfile.create(tmp_path, membership)
    assert keyfile.exists(tmp_path)
    assert keyfile.load(tmp_path) == membership
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


def test_what_is_not_there_is_not_made_up(tmp_path: Path) -> None:
    plain = found("alpha", Suite.AESGCM, os.urandom)
    keyfile.create(tmp_path, plain)
    assert keyfile.load(tmp_path) == plain


def version_1(membership: Membership, epoch: int) -> dict[str, object]:
    """The file as the release before wrote it."""

    def text(value: bytes) -> str:
        return b64encode(value).decode("ascii")

    body: dict[str, object] = {
        "version": 1,
        "state_id": membership.state_id.hex(),
        "mesh": membership.mesh.hex(),
        "identity": text(membership.identity.seed),
        "static": text(membership.static.private),
        "secret": text(membership.keyring.current.key),
        "epoch": epoch,
        "suite": membership.suite.value,
        "name": membership.name,
        "chain": [text(certificate) for certificate in membership.chain],
    }
    body["check"] = blake2s(json.dumps(list(body.values())).encode(), size=16).hex()
    return body


def test_a_file_of_the_release_before_is_read_and_replaced(tmp_path: Path) -> None:
    plain = found("alpha", Suite.AESGCM, os.urandom)
    path = tmp_path / "keys.json"
    path.write_text(json.dumps(version_1(plain, 7)))
    path.chmod(0o600)
    read = keyfile.load(tmp_path)
    assert read == replace(plain, keyring=Keyring(MeshSecret(7, plain.keyring.current.key)))
    keyfile.replace(tmp_path, read)
    assert json.loads(path.read_bytes())["version"] == 2 and keyfile.load(tmp_path) == read


def test_a_change_replaces_the_file_whole(tmp_path: Path, membership: Membership) -> None:
    keyfile.create(tmp_path, membership)
    changed = replace(membership, keyring=membership.keyring.switched(), old_static=None, password_key=None)
    keyfile.replace(tmp_path, changed)
    assert keyfile.load(tmp_path) == changed
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_a_change_that_cannot_be_written_leaves_the_file(
    tmp_path: Path, membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    keyfile.create(tmp_path, membership)
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MeshnetError, match="No space left"):
        keyfile.replace(tmp_path, replace(membership, password_key=None))
    assert keyfile.load(tmp_path) == membership


def test_only_the_same_peers_file_is_replaced(tmp_path: Path, membership: Membership) -> None:
    with pytest.raises(MeshnetError, match="is missing"):
        keyfile.replace(tmp_path, membership)
    other = found("beta", Suite.CHACHAPOLY, os.urandom)
    keyfile.create(tmp_path, other)
    with pytest.raises(MeshnetError, match="another peer's"):
        keyfile.replace(tmp_path, membership)
    assert keyfile.load(tmp_path) == other


def test_the_file_is_private_whatever_the_umask(tmp_path: Path, membership: Membership) -> None:
    before = os.umask(0)
    try:
        keyfile.create(tmp_path, membership)
    finally:
        os.umask(before)
    assert (tmp_path / "keys.json").stat().st_mode & 0o777 == 0o600


def test_an_existing_file_is_never_replaced(tmp_path: Path, membership: Membership) -> None:
    keyfile.create(tmp_path, membership)
    other = found("beta", Suite.CHACHAPOLY, os.urandom)
    with pytest.raises(MeshnetError, match="exists already"):
        keyfile.create(tmp_path, other)
    assert keyfile.load(tmp_path) == membership


def test_what_a_crash_left_is_replaced(tmp_path: Path, membership: Membership) -> None:
    (tmp_path / "keys.json.new").write_bytes(b"half")
    keyfile.create(tmp_path, membership)
    assert keyfile.load(tmp_path) == membership


def test_a_crash_before_the_rename_leaves_no_key_file(
    tmp_path: Path, membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(MeshnetError, match="No space left"):
        keyfile.create(tmp_path, membership)
    assert not keyfile.exists(tmp_path)


def test_no_file_names_launch_and_join(tmp_path: Path) -> None:
    with pytest.raises(MeshnetError) as caught:
        keyfile.load(tmp_path)
    assert caught.value.code is ExitCode.NOT_FOUND
    assert "meshnet launch" in caught.value.fix and "meshnet join" in caught.value.fix


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o660])
def test_a_file_others_can_use_is_refused(tmp_path: Path, membership: Membership, mode: int) -> None:
    keyfile.create(tmp_path, membership)
    (tmp_path / "keys.json").chmod(mode)
    with pytest.raises(MeshnetError, match="not private") as caught:
        keyfile.load(tmp_path)
    assert caught.value.code is ExitCode.PERMISSION


def test_a_file_of_another_owner_is_refused(
    tmp_path: Path, membership: Membership, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyfile.create(tmp_path, membership)
    owner = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    with pytest.raises(MeshnetError, match="not private"):
        keyfile.load(tmp_path)


def test_a_symbolic_link_is_refused(tmp_path: Path, membership: Membership) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    keyfile.create(elsewhere, membership)
    (tmp_path / "keys.json").symlink_to(elsewhere / "keys.json")
    with pytest.raises(MeshnetError, match="cannot be used"):
        keyfile.load(tmp_path)


def test_something_that_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "keys.json").mkdir(mode=0o700)
    with pytest.raises(MeshnetError, match="cannot be used"):
        keyfile.load(tmp_path)


def changed(field: str, value: object) -> Callable[[bytes], bytes]:
    def change(raw: bytes) -> bytes:
        body = json.loads(raw)
        body[field] = value
        return json.dumps(body).encode()

    return change


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda raw: b"",
    "garbage": lambda raw: os.urandom(400),
    "truncated": lambda raw: raw[: len(raw) // 2],
    "a list": lambda raw: b"[]",
    "deep": lambda raw: b"[" * 60_000,
    "too long": lambda raw: raw + b" " * 70_000,
    "no fields": lambda raw: b'{"version": 2}',
    "no fields of version 1": lambda raw: b'{"version": 1}',
    "another version": changed("version", 3),
    "the version before": changed("version", 1),
    "another name": changed("name", "gamma"),
    "another static key": changed("static", "A" * 43 + "="),
    "a number for a key": changed("identity", 7),
    "no chain": changed("chain", []),
    "an unknown suite": changed("suite", "ROT13"),
}


@pytest.mark.parametrize("how", SPOILED)
def test_a_spoiled_file_is_refused_untouched_and_nothing_secret_is_said(
    tmp_path: Path, membership: Membership, how: str
) -> None:
    keyfile.create(tmp_path, membership)
    path = tmp_path / "keys.json"
    spoiled = SPOILED[how](path.read_bytes())
    path.write_bytes(spoiled)
    with pytest.raises(MeshnetError) as caught:
        keyfile.load(tmp_path)
    assert path.read_bytes() == spoiled
    assert "join anew" in caught.value.fix
    assert all(secret not in str(caught.value) for secret in secrets(membership))


WRONG: dict[str, object] = {
    "state_id": "00",
    "mesh": "00",
    "identity": "00",
    "old_static": "AAAA",
    "old_static_until": "never",
    "secrets": {"current": [1, "AAAA"]},
    "password": "AAAA",
    "chain": [],
    "suite": "00",
    "name": None,
}
KEY = "A" * 43 + "="
SECRETS: list[object] = [
    {},
    [],
    {"next": [1, KEY]},
    {"current": [1]},
    {"current": [1 << 32, KEY]},
    {"current": [1, KEY], "next": [1, KEY]},
    {"current": [1, KEY], "next": [257, KEY]},
    {"current": [1, KEY], "spare": [2, KEY]},
]


@pytest.mark.parametrize("secrets", SECRETS, ids=range(len(SECRETS)))
def test_secrets_that_make_no_keyring_are_refused(tmp_path: Path, membership: Membership, secrets: object) -> None:
    keyfile.create(tmp_path, membership)
    path = tmp_path / "keys.json"
    body = json.loads(path.read_bytes()) | {"secrets": secrets}
    path.write_text(json.dumps(body | {"check": keyfile._check(body)}))
    with pytest.raises(MeshnetError, match="cannot be used"):
        keyfile.load(tmp_path)


@pytest.mark.parametrize("field", list(WRONG))
def test_a_wrong_field_under_a_fitting_checksum_is_refused(tmp_path: Path, membership: Membership, field: str) -> None:
    keyfile.create(tmp_path, membership)
    path = tmp_path / "keys.json"
    body = json.loads(path.read_bytes())
    body[field] = WRONG[field]
    body["check"] = keyfile._check(body)
    path.write_bytes(json.dumps(body).encode())
    with pytest.raises(MeshnetError, match="cannot be used"):
        keyfile.load(tmp_path)


def test_nothing_secret_is_in_a_repr(membership: Membership) -> None:
    shown = repr(membership)
    assert "alpha" in shown
    assert all(secret not in shown for secret in secrets(membership))


def secrets(membership: Membership) -> list[str]:
    assert membership.old_static is not None and membership.password_key is not None
    raw = [membership.identity.seed, membership.static.private, membership.old_static.private, membership.password_key]
    raw += [secret.key for secret in membership.keyring.secrets()]
    return [text for key in raw for text in (key.hex(), repr(key)[2:-1], keyfile._text(key))]


def test_one_daemon_holds_a_state_directory(tmp_path: Path) -> None:
    held = StateLock.acquire(tmp_path)
    with pytest.raises(MeshnetError, match=str(os.getpid())) as caught:
        StateLock.acquire(tmp_path)
    assert "meshnet stop" in caught.value.fix
    held.release()
    held.release()
    StateLock.acquire(tmp_path).release()


def test_a_directory_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(MeshnetError, match="cannot lock"):
        StateLock.acquire(tmp_path / "absent")
