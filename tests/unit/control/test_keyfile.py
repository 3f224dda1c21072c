"""The key file: written whole and private, refused untouched when anything is wrong, locked by one daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from crypto.primitives import Suite
from meshnet.control import keyfile
from meshnet.control.keyfile import StateLock
from meshnet.control.membership import Membership, found
from meshnet.errors import ExitCode, MeshnetError


@pytest.fixture
def membership() -> Membership:
    return found("alpha", Suite.CHACHAPOLY, os.urandom)


def test_what_is_written_is_read_again(tmp_path: Path, membership: Membership) -> None:
    assert not keyfile.exists(tmp_path)
    keyfile.create(tmp_path, membership)
    assert keyfile.exists(tmp_path)
    assert keyfile.load(tmp_path) == membership
    assert [entry.name for entry in tmp_path.iterdir()] == ["keys.json"]


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
    "no fields": lambda raw: b'{"version": 1}',
    "another version": changed("version", 2),
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


@pytest.mark.parametrize("field", ["state_id", "mesh", "identity", "secret", "epoch", "chain", "suite"])
def test_a_wrong_field_under_a_fitting_checksum_is_refused(tmp_path: Path, membership: Membership, field: str) -> None:
    keyfile.create(tmp_path, membership)
    path = tmp_path / "keys.json"
    body = json.loads(path.read_bytes())
    body[field] = 1 << 20 if field == "epoch" else [] if field == "chain" else "00"
    body["check"] = keyfile._check(body)
    path.write_bytes(json.dumps(body).encode())
    with pytest.raises(MeshnetError, match="cannot be used"):
        keyfile.load(tmp_path)


def test_nothing_secret_is_in_a_repr(membership: Membership) -> None:
    shown = repr(membership)
    assert "alpha" in shown
    assert all(secret not in shown for secret in secrets(membership))


def secrets(membership: Membership) -> list[str]:
    raw = [membership.identity.seed, membership.static.private, membership.secret.key]
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
