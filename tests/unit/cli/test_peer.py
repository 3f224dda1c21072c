"""peer ls: golden text, JSON exactly as the API answers, and a lone host."""

import json

from meshnet.cli.peer import peer_table, state_of
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import LOST, PEER, FakeDaemon

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
