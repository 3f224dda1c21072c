"""status: golden text, JSON exactly as the API answers, and --check."""

import copy
import json

from meshnet.cli.status import screen, unhealthy
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import LOST, PEER, STATUS, FakeDaemon

STATUS_TEXT = """\
meshnet 0.1.0  host-a (a1a1a1a1a1a1)  mesh 5e5e5e5e5e5e  READY  up 3d4h  port 6799  cipher AESGCM
! host-c is unreachable: no answer from 192.0.2.3:6799 (check UDP 6799)
PEER    ADDRESS         STATE        PATH    MTU   RX/TX     SESSION  HEARD   ID
host-b  192.0.2.2:6799  up           direct  1420  1.2M/830  37s      2s ago  b1b1b1b1b1b1
host-c  -               unreachable  -       -     0/0       -        -       c1c1c1c1c1c1

NETWORK  NUMBER  POOLS         MTU   ENDPOINTS  MEMBERS         OWNED HERE
default  1       10.32.0.0/12  1500  2          host-a, host-b  10.32.0.0-10.35.255.255

ENDPOINT    NETWORK  TARGET  INTERFACE  MAC                ADDRESSES
0a1b2c3d4e  default  web     mesh0      02:00:00:00:00:01  10.32.0.2/12

forwarder pid 4242, up 3m12s
note: no USO: kernel
dropped: bad tag 1, replay 3
"""


def test_status_text(run: Run, daemon: FakeDaemon) -> None:
    ended = run("status")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == STATUS_TEXT


def test_status_json_is_the_apis(run: Run, daemon: FakeDaemon) -> None:
    ended = run("status", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == json.dumps(STATUS, indent=2) + "\n"


def test_check_exits_with_7_and_says_why(run: Run, daemon: FakeDaemon) -> None:
    ended = run("status", "--check")
    assert ended.code == 7
    assert ended.out == STATUS_TEXT
    assert ended.err.splitlines() == [
        "unhealthy: peer host-c is unreachable",
        "unhealthy: host-c is unreachable: no answer from 192.0.2.3:6799 (check UDP 6799)",
    ]
    daemon.backend.answers["status"] = {**STATUS, "peers": [PEER], "notices": []}
    assert run("status", "--check").code == 0


def test_health_looks_at_daemon_and_forwarder() -> None:
    state = {**STATUS, "peers": [], "notices": [], "state": "starting", "forwarder": {"running": False}}
    assert unhealthy(state) == ["the daemon is starting, not ready", "no forwarder runs"]
    assert "forwarder not running" in screen(state)


def test_idle_peers_are_well_unless_gossip_lost_them() -> None:
    idle = {**PEER, "state": "idle"}
    assert unhealthy({**STATUS, "peers": [idle], "notices": []}) == []
    assert unhealthy({**STATUS, "peers": [{**idle, "reachable": False}], "notices": []}) != []
    assert unhealthy({**STATUS, "peers": [{**PEER, "reachable": False}], "notices": []}) == []


def test_many_peers_are_summed_up() -> None:
    state = copy.deepcopy(STATUS)
    state["peers"] = [{**PEER, "name": f"p{number}"} for number in range(60)] + [LOST]
    short, full = screen(state), screen(state, every=True)
    assert "61 peers, 60 of them well (--all lists them)" in short
    assert any(line.startswith("host-c") for line in short)
    assert not any(line.startswith("p1 ") for line in short)
    assert any(line.startswith("p1 ") for line in full)


def test_an_older_daemons_status_without_later_fields_still_shows() -> None:
    assert screen({"state": "ready"})[0].startswith("meshnet -")


def test_a_revoked_peer_is_shown_and_is_no_trouble() -> None:
    state = {**STATUS, "peers": [{**PEER, "state": "revoked", "reachable": False}], "notices": []}
    assert unhealthy(state) == []
    assert any("revoked" in line for line in screen(state))


def test_a_rotation_under_way_is_one_line() -> None:
    rotation = {"generation": 3, "phase": "install", "by": "host-a", "lacking": ["host-c"]}
    state = {**STATUS, "mesh": {**STATUS["mesh"], "rotation": rotation}}
    assert "mesh secret 3: install, lacking it: host-c" in screen(state)
    done = {**STATUS, "mesh": {**STATUS["mesh"], "rotation": {**rotation, "phase": "drop"}}}
    assert screen(done) == screen(STATUS)
