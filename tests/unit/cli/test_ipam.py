"""ipam ls, show, check, reclaim, claim, release: golden text, JSON exactly as the API answers, no reclaim unasked."""

import json

import pytest

from meshnet.errors import MeshnetError
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import FakeDaemon
from tests.unit.cli.fake_ipam import CHECK, IPAM, IPAM_NETWORKS, PLAN, RECLAIMED

LS_TEXT = """\
NETWORK  PEER    OWNED   USED  LENT  FREE    USED%  STATE
default  host-a  524285  3     1     524281  0      up
default  host-c  524285  3     0     524281  0      unreachable
"""
SHOW_TEXT = """\
NETWORK  FROM       TO             ADDRESSES  PEER
default  10.32.0.0  10.47.255.255  1048576    host-a

NETWORK  ADDRESS       PEER    OF   MAC
default  10.32.0.2/12  host-a  web  02:00:00:00:00:01
"""
PLAN_TEXT = """\
NETWORK  FROM       TO             ADDRESSES
default  10.40.0.0  10.47.255.255  524288
"""
POSSIBLE = {**PLAN, "possible": True, "why_not": None, "unreachable": []}


def asked(daemon: FakeDaemon) -> list[str]:
    return [method for method, _ in daemon.backend.calls]


def test_ipam_ls_says_how_full_it_is_what_waits_and_why(run: Run, daemon: FakeDaemon) -> None:
    ended = run("ipam", "ls")
    assert (ended.code, ended.out) == (0, LS_TEXT)
    unreachable, waiting, lost = ended.err.splitlines()
    assert unreachable == "network default: 50 % of it belongs to peers that cannot be reached"
    assert waiting.startswith("waiting 0s for an address of network default (asked: host-c): every address")
    assert lost.startswith("without a lease: 10.32.0.2/12 of web: host-c")
    assert json.loads(run("ipam", "ls", "--json").out) == IPAM


def test_ipam_show(run: Run, daemon: FakeDaemon) -> None:
    ended = run("ipam", "show", "default")
    assert (ended.code, ended.out, ended.err) == (0, SHOW_TEXT, "")
    assert json.loads(run("--json", "ipam", "show").out) == IPAM_NETWORKS
    assert daemon.backend.calls == [("ipam_shown", "default"), ("ipam_shown", None)]


def test_ipam_check_exits_with_7_when_something_is_odd(run: Run, daemon: FakeDaemon) -> None:
    ended = run("ipam", "check")
    assert (ended.code, ended.out) == (7, CHECK["problems"][0] + "\n") and "1 things are odd" in ended.err
    assert json.loads(run("ipam", "check", "--json").out) == CHECK
    daemon.backend.answers["ipam_checked"] = {**CHECK, "sound": True, "problems": []}
    ended = run("ipam", "check")
    assert (ended.code, ended.out, ended.err) == (0, "", "nothing is odd\n")


def test_without_a_yes_a_reclaim_is_a_plan(run: Run, daemon: FakeDaemon) -> None:
    ended = run("ipam", "reclaim", "host-c")
    assert (ended.code, ended.out) == (0, PLAN_TEXT)
    for words in (
        "peer host-c (c1c1c1c1c1c1): last heard 10m00s ago",
        "10.40.0.7 of network default (db)",
        "must agree: host-b, host-d",
        "of these unreachable: host-d",
        "as it is, this is refused: nothing was reclaimed: host-d cannot be reached (start host-d, or name it)",
        "nothing was done; to do it: `meshnet",
        "ipam reclaim host-c --yes`",
    ):
        assert words in ended.err
    ended = run("ipam", "reclaim", "host-c", "--json")
    assert json.loads(ended.out) == PLAN and "nothing was done" in ended.err
    assert asked(daemon) == ["ipam_plan", "ipam_plan"]


def test_yes_takes_the_ranges_over(run: Run, daemon: FakeDaemon) -> None:
    ended = run("ipam", "reclaim", "host-c", "d1d1d1d1", "--yes")
    assert (ended.code, ended.out) == (0, "")
    assert "the ranges of host-c are this host's: 1 range" in ended.err
    assert "10.40.0.7 of network default was in use there: it stays reserved" in ended.err
    assert ("ipam_reclaim", (["host-c", "d1d1d1d1"], False)) in daemon.backend.calls
    assert json.loads(run("ipam", "reclaim", "host-c", "--force", "--yes", "--json").out) == RECLAIMED
    assert daemon.backend.calls[-1] == ("ipam_reclaim", (["host-c"], True))


@pytest.mark.parametrize(("answer", "calls"), [("y\n", ["ipam_plan", "ipam_reclaim"]), ("n\n", ["ipam_plan"])])
def test_on_a_terminal_it_asks(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, answer: str, calls: list[str]
) -> None:
    daemon.backend.answers["ipam_plan"] = POSSIBLE
    monkeypatch.setattr("sys.stdin", _Terminal(answer))
    monkeypatch.setattr("click.confirm", lambda *_, **__: answer == "y\n")
    ended = run("ipam", "reclaim", "host-c")
    assert ended.code == (0 if answer == "y\n" else 130)
    assert asked(daemon) == calls


class _Terminal:
    def __init__(self, answer: str) -> None:
        self.answer = answer

    def isatty(self) -> bool:
        return True


def test_what_is_refused_anyway_is_not_asked_for_on_a_terminal(
    run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", _Terminal("y\n"))
    ended = run("ipam", "reclaim", "host-c")
    assert ended.code == 1 and "host-d cannot be reached" in ended.err and asked(daemon) == ["ipam_plan"]


def test_force_says_what_it_risks(run: Run, daemon: FakeDaemon) -> None:
    said = run("ipam", "reclaim", "host-c", "--force").err
    assert "given out a second time" in said and "--force does not wait for them" in said
    assert asked(daemon) == ["ipam_plan"]


def test_a_refused_reclaim_is_the_daemons_words(run: Run, daemon: FakeDaemon) -> None:
    daemon.backend.failures["ipam_reclaim"] = MeshnetError("nothing was reclaimed", "host-b did not agree", "ask it")
    ended = run("ipam", "reclaim", "host-c", "--yes")
    assert (ended.code, ended.out) == (1, "") and ended.err.splitlines()[1] == "why:   host-b did not agree"


def test_claim_and_release(run: Run, daemon: FakeDaemon) -> None:
    ended = run("ipam", "claim", "10.77.0.9", "--network", "web")
    assert (ended.code, ended.out) == (0, "10.77.0.9/12\n") and "until `meshnet ipam release`" in ended.err
    ended = run("ipam", "release", "10.77.0.9", "--network", "web")
    assert (ended.code, ended.out) == (0, "") and "free again" in ended.err
    assert json.loads(run("ipam", "claim", "10.32.0.9", "--json").out)["schema"] == "meshnet.ipam-claim/v1"
    assert daemon.backend.calls == [
        ("ipam_claim", ("web", "10.77.0.9")),
        ("ipam_release", ("web", "10.77.0.9")),
        ("ipam_claim", ("default", "10.32.0.9")),
    ]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["claim", "10.32.0.9/12"], "is not an IPv4 address"),
        (["claim", "ten"], "is not an IPv4 address"),
        (["release", "10.32.0.9", "--network", "We b"], "is not a network's name"),
        (["show", "a/b"], "is not a network's name"),
        (["reclaim", "Host C"], "is no peer"),
        (["reclaim", *["c"] * 17], "too many peers"),
        (["reclaim"], "Missing argument"),
    ],
)
def test_what_is_wrong_is_named_before_the_daemon_is_asked(
    run: Run, daemon: FakeDaemon, words: list[str], said: str
) -> None:
    ended = run("ipam", *words)
    assert (ended.code, ended.out) == (2, "") and said in ended.err
    assert daemon.backend.calls == []
