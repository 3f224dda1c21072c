"""peer ls, connect, forget, revoke, allow: golden text, JSON as the API answers, and whom a decision touched."""

import json

import pytest

from meshnet.cli.peer import peer_table, state_of
from meshnet.control.api.requests import RevokeRequest
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import ALLOWED, CONNECTED, LOST, PEER, REVOKED, FakeDaemon

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


def test_what_was_added_and_a_name_that_two_bear_are_shown() -> None:
    added = {**PEER, "name_conflict": True, "added_addresses": ["198.51.100.7:6799", "198.51.100.8:6799"]}
    (_, line) = peer_table([added], colour=False)
    assert line.startswith("host-b (name twice)  198.51.100.7:6799 (added)  up ")


# Where a peer is

WAY = "198.51.100.7:6799"


def test_connect_says_that_there_is_a_link_and_what_is_kept(run: Run, daemon: FakeDaemon) -> None:
    ended = run("peer", "connect", "host-c", "198.51.100.7", "[2001:db8::7]:7000")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == f"host-c (c1c1c1c1c1c1) is linked\nkept for host-c here: {WAY}\n"
    assert daemon.backend.calls == [("connect_peer", ("host-c", [WAY, "[2001:db8::7]:7000"]))]
    assert json.loads(run("--json", "peer", "connect", "host-c", WAY).out) == CONNECTED


def test_connect_says_that_nothing_was_tried_where_there_is_a_link(run: Run, daemon: FakeDaemon) -> None:
    daemon.backend.answers["connect_peer"] = {**CONNECTED, "linked_before": True}
    assert "is linked already; the addresses are tried when" in run("peer", "connect", "host-c", WAY).err


def test_connect_without_a_link_fails_and_says_why_and_that_it_goes_on(run: Run, daemon: FakeDaemon) -> None:
    tried = [{"address": WAY, "problem": "connection refused"}, {"address": "192.0.2.9:1", "problem": "no answer"}]
    daemon.backend.answers["connect_peer"] = unlinked = {**CONNECTED, "linked": False, "tried": tried}
    ended = run("peer", "connect", "host-c", WAY)
    assert (ended.code, ended.out) == (1, "")
    assert "no link to host-c came up" in ended.err
    assert f"{WAY}: connection refused; 192.0.2.9:1: no answer" in ended.err
    assert "kept and tried again" in ended.err
    ended = run("--json", "peer", "connect", "host-c", WAY)
    assert (ended.code, json.loads(ended.out)) == (1, unlinked)


@pytest.mark.parametrize("words", [("host-c",), ("host-c", WAY)])
def test_forget_says_what_is_left(run: Run, daemon: FakeDaemon, words: tuple[str, ...]) -> None:
    ended = run("peer", "forget", *words)
    assert (ended.code, ended.out, ended.err) == (0, "", "kept for host-c here: no address\n")
    assert daemon.backend.calls == [("forget_peer", ("host-c", list(words[1:])))]
    assert json.loads(run("--json", "peer", "forget", *words).out) == {**CONNECTED, "addresses": []}


@pytest.mark.parametrize(
    "words",
    [
        ("connect", "host-c"),
        ("connect", "Host", WAY),
        ("connect", "host-c", "host.example"),
        ("connect", "host-c", "0.0.0.0"),
        ("connect", "host-c", "192.0.2.1:0"),
        ("connect", "host-c", "*:6799"),
        ("connect", WAY),
        ("forget", "a/b"),
        ("forget", "host-c", "nowhere"),
    ],
)
def test_what_is_no_peer_or_no_address_is_refused_here(run: Run, daemon: FakeDaemon, words: tuple[str, ...]) -> None:
    assert run("peer", *words).code == 2
    assert daemon.backend.calls == []


def test_the_help_says_that_an_address_alone_is_not_enough(run: Run) -> None:
    said = " ".join(run("peer", "connect", "--help").out.split())
    assert "An address alone is not enough" in said and "identity" in said


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
