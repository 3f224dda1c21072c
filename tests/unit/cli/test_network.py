"""network create, ls, rm: golden text, JSON exactly as the API answers, and what is refused before it is asked."""

import json

import pytest

from meshnet.control.api.requests import NetworkRequest
from meshnet.errors import MeshnetError
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import NETWORK, NETWORKS, FakeDaemon
from tests.unit.cli.fake_ipam import REGISTRAR

NETWORKS_TEXT = """\
NETWORK  NUMBER      POOLS                       MTU   SERVED  THIS HOST     ENDPOINTS  MEMBERS  OWNED HERE
db       77          10.78.0.0/24, 10.79.0.0/24  1500  no      -             0          -        -
web      3735928559  10.77.0.0/16                9000  yes     10.77.0.2/16  1          host-a   10.77.0.0-10.77.255.255
"""


def test_network_ls(run: Run, daemon: FakeDaemon) -> None:
    ended = run("network", "ls")
    assert (ended.code, ended.out, ended.err) == (0, NETWORKS_TEXT, "")
    assert json.loads(run("network", "ls", "--json").out) == NETWORKS


def test_network_create_prints_its_pools_and_the_next_command(run: Run, daemon: FakeDaemon) -> None:
    ended = run("network", "create", "web", "--subnet", "10.77.0.0/16", "--mtu", "9000")
    assert (ended.code, ended.out) == (0, "10.77.0.0/16\n")
    assert "MTU 9000" in ended.err and "attach --network web TARGET" in ended.err
    assert daemon.backend.calls == [("create_network", NetworkRequest("web", ["10.77.0.0/16"], 9000))]
    assert json.loads(run("--json", "network", "create", "web").out) == {"schema": "meshnet.network/v1", **NETWORK}
    assert daemon.backend.calls[1:] == [("create_network", NetworkRequest("web", [], None))]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["create", "Web"], "is not a network's name"),
        (["create", "web", "--subnet", "10.77.0.1/16"], "--subnet 10.77.0.0/16"),
        (["create", "web", "--subnet", "fd00::/64"], "is not an IPv4 range"),
        (["create", "web", "--subnet", "10.0.0.0/30"], "/8 to /29"),
        (["create", "web", "--subnet", "10.0.0.0/31"], "/8 to /29"),
        (["create", "web", "--subnet", "10.0.0.4/32"], "/8 to /29"),
        (["create", "web", "--subnet", "fd00::/127"], "is not an IPv4 range"),
        (["create", "web", "--subnet", "10.1.0.0/16", "--subnet", "10.1.4.0/24"], "overlaps --subnet 10.1.0.0/16"),
        (["create", "web", *["--subnet", "10.1.0.0/16"] * 2], "overlaps --subnet 10.1.0.0/16"),
        (["create", "web", "--mtu", "100"], "--mtu"),
        (["create", "web", *["--subnet", "10.1.0.0/24"] * 9], "too many --subnet"),
        (["rm", "a/b"], "is not a network's name"),
    ],
)
def test_what_is_wrong_is_named_before_the_daemon_is_asked(
    run: Run, daemon: FakeDaemon, words: list[str], said: str
) -> None:
    ended = run("network", *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert daemon.backend.calls == []


def test_network_rm_here_and_everywhere(run: Run, daemon: FakeDaemon) -> None:
    assert "not served on this host any more" in run("network", "rm", "db").err
    assert "gone from the mesh" in run("network", "rm", "db", "--everywhere").err
    assert daemon.backend.calls == [("remove_network", ("db", False)), ("remove_network", ("db", True))]
    answer = json.loads(run("--json", "network", "rm", "db").out)
    assert answer == {"schema": "meshnet.removed/v1", "name": "db", "number": 77, "everywhere": False}


def test_a_refusal_is_the_daemons(run: Run, daemon: FakeDaemon) -> None:
    why = "endpoint 0a1b2c3d4e (web, 10.77.0.3/16)"
    daemon.backend.failures["remove_network"] = MeshnetError("network web is in use on this host", why, "detach it")
    ended = run("network", "rm", "web")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines()[1] == f"why:   {why}"


def test_the_registrar_is_shown_and_handed_on(run: Run, daemon: FakeDaemon) -> None:
    assert run("network", "registrar").out == f"host-a  {'a1' * 32}  this host\n"
    assert json.loads(run("network", "registrar", "--json").out) == REGISTRAR
    assert run("network", "registrar", "host-b").out.startswith("host-b  ")
    assert daemon.backend.calls[-1] == ("hand_registrar", "host-b")
    ended = run("network", "registrar", "a/b")
    assert ended.code == 2 and "is no peer" in ended.err
    daemon.backend.answers["registrar"] = {**REGISTRAR, "name": None, "id": None, "here": False}
    ended = run("network", "registrar")
    assert (ended.code, ended.out) == (0, "") and "not known yet" in ended.err
