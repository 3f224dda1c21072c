"""peer ls, revoke, allow: golden text, JSON exactly as the API answers, a lone host, and whom a decision touched."""

import json

import pytest

from meshnet.cli.peer import peer_table, state_of
from meshnet.control.requests import RevokeRequest
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import ALLOWED, LOST, PEER, REVOKED, FakeDaemon

PEERS_TEXT = """\
PEER    ADDRESS         STATE        PATH    MTU   RX/TX     SESSION  HEARD   ID
host-b  192.0.2.2:6799  up           direct  1420  1.2M/830  37s      2s ago  b1b1b1b1b1b1
host-c  -               unreachable  -       -     0/0       -        -       c1c1c1c1c1c1
"""


def test_peer_ls(run: Run, daemon: FakeDaemon) -> None:
    assert run("peer", "ls").out == PEERS_TEXT
    assert json.loads(run("--json", "peer", "ls").out) == {"schema": "meshnet.peers/v1", "peers": [PEER, LOST]}


def test_peer_ls_of_a_lone_host(run: Run, daemon: FakeDaemon) -> None:
    daemon.backend.answers["peers"] = {"schema": "meshnet.peers/v1", "peers": []}
    ended = run("peer", "ls")
    assert (ended.code, ended.out) == (0, "")
    assert "token create" in ended.err


def test_a_peer_without_a_session_is_judged_by_gossip() -> None:
    assert state_of({"state": "idle", "reachable": True}) == "idle"
    assert state_of({"state": "idle", "reachable": False}) == "unreachable"
    assert state_of({"state": "up", "reachable": False}) == "up"


def test_no_peers_are_no_table() -> None:
    assert peer_table([], colour=False) == []


# What an admin does


KEY = "b1" * 32


@pytest.mark.parametrize(
    ("words", "request_"),
    [
        (("host-c",), RevokeRequest(None, False, "")),
        (("host-c", "--issued-from", "4"), RevokeRequest(4, False, "")),
        (("host-c", "--issued-all", "--reason", "disk stolen"), RevokeRequest(None, True, "disk stolen")),
    ],
)
def test_revoke_says_who_is_out(run: Run, daemon: FakeDaemon, words: tuple[str, ...], request_: RevokeRequest) -> None:
    ended = run("peer", "revoke", *words)
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.splitlines()[:2] == [
        "host-c (c1c1c1c1c1c1) is out of the mesh",
        "out with it, by certificates that are void now: host-d",
    ]
    assert "secret rotate" in ended.err
    assert daemon.backend.calls == [("revoke_peer", ("host-c", request_))]
    assert json.loads(run("--json", "peer", "revoke", "host-c").out) == REVOKED


@pytest.mark.parametrize("name", ["Host", "a/b", "", "x" * 65, "..", "a?b"])
def test_what_names_no_peer_is_refused_here(run: Run, daemon: FakeDaemon, name: str) -> None:
    assert run("peer", "revoke", name).code == 2
    assert daemon.backend.calls == []


@pytest.mark.parametrize(
    ("words", "call"),
    [
        ((), ("allowed", None)),
        ((KEY,), ("allow", (bytes.fromhex(KEY), True))),
        (("--remove", KEY), ("allow", (bytes.fromhex(KEY), False))),
        (("--list-on",), ("allow", (None, True))),
        (("--list-off",), ("allow", (None, False))),
    ],
)
def test_allow(run: Run, daemon: FakeDaemon, words: tuple[str, ...], call: tuple[str, object]) -> None:
    ended = run("peer", "allow", *words)
    assert (ended.code, ended.err) == (0, "the allow-list is on\n")
    assert ended.out == f"{'b1' * 32}  host-b\n{'d1' * 32}  -\n"
    assert daemon.backend.calls == [call]
    assert json.loads(run("--json", "peer", "allow", *words).out) == ALLOWED


@pytest.mark.parametrize("words", [("b1",), (KEY.upper(),), (KEY, "--list-on"), ("--list-on", "--list-off")])
def test_what_allows_nobody_in_particular_is_refused_here(run: Run, daemon: FakeDaemon, words: tuple[str, ...]) -> None:
    assert run("peer", "allow", *words).code == 2
    assert daemon.backend.calls == []
