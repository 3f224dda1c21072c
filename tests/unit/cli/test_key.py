"""key show: the public key alone on stdout, whether or not there is a mesh; key rotate: asked of the daemon."""

import json
import os
from pathlib import Path

from crypto.primitives import Suite
from meshnet.control.keys import keyfile
from meshnet.control.keys.membership import found
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import KEY, FakeDaemon


def test_before_joining_a_key_is_made_and_stays(run: Run, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = run("key", "show", "--state-dir", str(state))
    assert (first.code, len(bytes.fromhex(first.out.strip()))) == (0, 32)
    assert "will join" in first.err
    again = run("key", "show", "--state-dir", str(state), "--json")
    assert json.loads(again.out) == {"schema": "meshnet.identity/v1", "key": first.out.strip(), "member": False}
    secret = json.loads((state / "identity.json").read_bytes())["identity"]
    assert secret not in first.out + first.err + again.out


def test_a_peer_shows_the_key_it_has(run: Run, tmp_path: Path) -> None:
    membership = found("alpha", Suite.AESGCM, os.urandom)
    keyfile.create(tmp_path, membership)
    ended = run("key", "show", "--state-dir", str(tmp_path))
    assert (ended.code, ended.out) == (0, membership.identity.public.hex() + "\n")
    assert "is a peer" in ended.err
    assert not (tmp_path / "identity.json").exists()


def test_a_state_directory_that_cannot_be_made_is_said(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = run("key", "show", "--state-dir", str(tmp_path / "file" / "state"))
    assert (ended.code, ended.out) == (1, "")


def test_rotate_asks_the_daemon(run: Run, daemon: FakeDaemon) -> None:
    ended = run("key", "rotate")
    assert (ended.code, ended.out) == (0, "")
    assert f"until {KEY['old_until']}" in ended.err
    assert json.loads(run("key", "rotate", "--json").out) == KEY
    assert daemon.backend.calls == [("rotate_key", None)] * 2
