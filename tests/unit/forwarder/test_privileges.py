"""What is left of a process after it gave up its privileges, read from /proc in a child that did."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from meshnet.forwarder import privileges

AFTERWARDS = """
import json, os, resource
from meshnet.forwarder.privileges import drop_privileges
open_before = os.open("/dev/null", os.O_WRONLY)
if os.geteuid() == 0:
    os.setgroups([4, 5])
drop_privileges()
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
found = {key: status[key].split() for key in
         ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs")}
found["core"] = resource.getrlimit(resource.RLIMIT_CORE)
found["written"] = os.write(open_before, b"x")
def refused(call):
    try:
        call()
    except PermissionError:
        return True
    return False
found["back"] = refused(lambda: os.setuid(0)) and refused(lambda: os.setgid(0)) and refused(lambda: os.setgroups([0]))
found["environ"] = refused(lambda: open("/proc/self/environ").read())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def after() -> dict[str, object]:
    result = subprocess.run([sys.executable, "-c", AFTERWARDS], capture_output=True, timeout=30, check=False)
    assert result.returncode == 0, result.stderr.decode()
    found: dict[str, object] = json.loads(result.stdout)
    return found


def test_no_privilege_can_be_gained_and_no_core_is_dumped(after: dict[str, object]) -> None:
    assert after["NoNewPrivs"] == ["1"] and after["core"] == [0, 0]


def test_what_was_open_stays_usable(after: dict[str, object]) -> None:
    assert after["written"] == 1


def test_no_capability_is_left_in_any_set(after: dict[str, object]) -> None:
    sets = ["CapPrm", "CapEff", "CapInh", "CapAmb"]
    if os.geteuid() == 0:
        sets.append("CapBnd")
    assert {name: after[name] for name in sets} == {name: ["0" * 16] for name in sets}


def test_the_process_is_nobody_in_all_its_ids_and_cannot_go_back(after: dict[str, object]) -> None:
    uid, gid = privileges._identity() if os.geteuid() == 0 else (os.getuid(), os.getgid())
    assert after["Uid"] == [str(uid)] * 4 and after["Gid"] == [str(gid)] * 4
    assert after["back"] is True
    if os.geteuid() == 0:
        assert uid != 0 and gid != 0 and after["Groups"] == []
        assert after["environ"] is True, "its memory is no other process's business"


def test_the_meshnet_user_is_preferred_where_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        pw_uid, pw_gid = 123, 456

    asked: list[str] = []

    def getpwnam(name: str) -> type[Entry]:
        asked.append(name)
        return Entry

    monkeypatch.setattr("pwd.getpwnam", getpwnam)
    assert privileges._identity() == (123, 456) and asked == ["meshnet"]


def test_nobody_serves_where_there_are_no_users(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(name: str) -> None:
        raise KeyError(name)

    monkeypatch.setattr("pwd.getpwnam", unknown)
    monkeypatch.setattr("grp.getgrnam", unknown)
    assert privileges._identity() == (65_534, 65_534)


def test_a_refused_prctl_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Libc:
        def prctl(self, *_: int) -> int:
            return -1

    monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: Libc())
    monkeypatch.setattr("resource.setrlimit", lambda *_: pytest.fail("went on"))
    with pytest.raises(OSError, match="NO_NEW_PRIVS"):
        privileges.drop_privileges()
