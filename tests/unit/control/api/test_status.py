"""`status` and `peer ls` as plain objects: the schema, the states of peers, what a lost forwarder leaves to say."""

from __future__ import annotations

import json
import os
from datetime import datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from crypto.primitives import Suite
from gossip.events import PeerView
from gossip.node import Node
from gossip.people.routes import Route
from gossip.state.address_bodies import NetworkBody
from gossip.state.bodies import PeerBody
from meshnet import __version__
from meshnet.boundary import Counters, Hello, PeerCounters
from meshnet.control.api.status import DROPS_SHOWN, Status
from meshnet.control.handshakes.remote import State
from meshnet.control.handshakes.sessions import SessionFacts, Sessions
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import found
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures
from meshnet.control.networks.networks import Networks
from meshnet.control.supervise import Supervisor
from tests.unit.control.fake_core import DEFAULT, WEB

MEMBERSHIP = found("host-a", Suite.CHACHAPOLY, os.urandom)
OWN, OTHER, THIRD = MEMBERSHIP.identity.public, b"p" * 32, b"q" * 32
AT_OTHER = ("192.0.2.2", 6799)
IDLE = SessionFacts("idle", None, None, None)
UP = SessionFacts("up", 12.5, 0.25, AT_OTHER)


def seen(identity: bytes, name: str, *, reachable: bool = True, left: bool = False, revoked: bool = False) -> PeerView:
    body = PeerBody(name, ["192.0.2.2:6799"], bytes(32), [b"c"], bytes(8), "1.2")
    return PeerView(identity, body, reachable, left, 1, revoked)


def counted(peer: bytes, mtu: int = 1400) -> PeerCounters:
    return PeerCounters(peer, 1, 2, 300, 400, mtu, AT_OTHER)


class World:
    """A status on parts that answer what a test says."""

    def __init__(self) -> None:
        self.now = 100.0
        self.views = [seen(OWN, "host-a"), seen(OTHER, "host-b")]
        self.routes: dict[bytes, Route] = {}
        self.facts: dict[bytes, SessionFacts] = {}
        self.counters: Counters | None = Counters(request=1, drops={}, peers=[])
        self.asked = 0
        hello = Hello(1, MEMBERSHIP.mesh, OWN, b"\1" * 8, 4242, [], [], [])
        self.supervisor = SimpleNamespace(link=SimpleNamespace(hello=hello))
        self.notes = ["a note of the networks"]
        self.bodies: list[NetworkBody] = [DEFAULT, WEB]
        world = self

        class Handshakes:
            forwarder_since = 90.0

            async def counters(self) -> Counters | None:
                world.asked += 1
                return world.counters

            def describe(self, peer: bytes) -> SessionFacts:
                return world.facts.get(peer, IDLE)

        class Desk:
            def describe(self, body: NetworkBody) -> dict[str, object]:
                return {"name": body.name, "number": body.number}

        class Exposed:
            def address_on(self, number: int) -> str | None:
                return "10.32.0.1/12" if number == DEFAULT.number else None

        self.status = Status(
            keys=HostKeys(MEMBERSHIP, lambda membership: None),
            node=cast(
                "Node",
                SimpleNamespace(
                    peers=lambda: self.views,
                    peer=lambda identity: next((each for each in self.views if each.identity == identity), None),
                    route=lambda peer: self.routes.get(peer),
                    networks=lambda: self.bodies,
                ),
            ),
            sessions=cast("Sessions", Handshakes()),
            networks=cast("Networks", SimpleNamespace(notes=self.notes)),
            desk=cast("NetworkDesk", Desk()),
            endpoints=cast("Endpoints", SimpleNamespace(listed=lambda netns=None: [{"id": "e1"}])),
            exposures=cast("Exposures", Exposed()),
            supervisor=cast("Supervisor", self.supervisor),
            addresses=lambda: ["192.0.2.1:6799"],
            port=6799,
            clock=lambda: self.now,
        )

    async def whole(self) -> dict[str, Any]:
        answer = await self.status.whole()
        json.dumps(answer)  # plain objects only
        return answer

    async def peers(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", (await self.status.peers())["peers"])


@pytest.fixture
def world() -> World:
    return World()


async def test_the_whole_has_every_part_and_says_who_this_is(world: World) -> None:
    world.now += 2.0004
    answer = await world.whole()
    assert answer["schema"] == "meshnet.status/v1"
    assert answer["version"] == __version__
    assert answer["state"] == "ready"
    assert datetime.fromisoformat(answer["generated_at"]).utcoffset() is not None
    assert answer["mesh"] == {
        "id": MEMBERSHIP.mesh.hex(),
        "cipher": MEMBERSHIP.suite.value,
        "secret": 0,
        "rotation": None,
    }
    expected = {
        "name": "host-a",
        "id": OWN.hex(),
        "addresses": ["192.0.2.1:6799"],
        "port": 6799,
        "roles": list(MEMBERSHIP.roles),
        "uptime_s": 2.0,
    }
    assert expected.items() <= answer["peer"].items()
    assert answer["endpoints"] == [{"id": "e1"}]
    assert world.asked == 1, "the forwarder is asked once"


async def test_no_secret_is_in_it(world: World) -> None:
    text = json.dumps(await world.whole())
    for secret in (MEMBERSHIP.keyring.current.key, MEMBERSHIP.identity.seed, MEMBERSHIP.static.private):
        assert secret.hex() not in text


async def test_the_forwarder_and_what_this_host_lacks(world: World) -> None:
    world.status.host_notes = lambda: ["a note of the host"]
    forwarder = (await world.whole())["forwarder"]
    assert forwarder == {
        "pid": 4242,
        "running": True,
        "boot": "01" * 8,
        "age_s": 10.0,
        "notes": ["a note of the networks", "a note of the host"],
    }


async def test_a_lost_forwarder_is_degraded_and_the_rest_is_still_told(world: World) -> None:
    world.supervisor.link = None
    world.counters = None
    answer = await world.whole()
    assert answer["state"] == "degraded"
    assert answer["forwarder"] == {
        "pid": None,
        "running": False,
        "boot": None,
        "age_s": None,
        "notes": ["a note of the networks"],
    }
    assert answer["drops"] == {}
    (peer,) = answer["peers"]
    assert (peer["name"], peer["rx_bytes"], peer["tx_records"], peer["mtu"]) == ("host-b", 0, 0, None)


async def test_networks_carry_this_hosts_own_address(world: World) -> None:
    assert (await world.whole())["networks"] == [
        {"name": "default", "number": 1, "exposed": "10.32.0.1/12"},
        {"name": "web", "number": WEB.number, "exposed": None},
    ]


async def test_peers_are_the_others_by_name(world: World) -> None:
    world.views = [seen(OTHER, "zebra"), seen(OWN, "host-a"), seen(THIRD, "adder")]
    answer = await world.status.peers()
    assert answer["schema"] == "meshnet.peers/v1"
    assert [peer["name"] for peer in await world.peers()] == ["adder", "zebra"]
    assert (await world.whole())["peers"] == answer["peers"]


async def test_a_peer_that_is_up_has_a_path_and_its_counters(world: World) -> None:
    world.facts[OTHER] = UP
    world.counters = Counters(request=1, drops={}, peers=[counted(THIRD, 9), counted(OTHER)])
    assert await world.peers() == [
        {
            "name": "host-b",
            "id": OTHER.hex(),
            "name_conflict": False,
            "addresses": ["192.0.2.2:6799"],
            "added_addresses": [],
            "version": "1.2",
            "state": "up",
            "path": "direct",
            "session_age_s": 12.5,
            "mtu": 1400,
            "rx_bytes": 400,
            "tx_bytes": 300,
            "rx_records": 2,
            "tx_records": 1,
            "last_receive_s": 0.25,
            "reachable": True,
            "route": None,
        }
    ]


async def test_by_whom_a_peer_is_reached_and_how_far_it_is(world: World) -> None:
    world.views = [seen(OWN, "host-a"), seen(OTHER, "host-b"), seen(THIRD, "host-c")]
    world.routes = {OTHER: Route(OTHER, 4), THIRD: Route(OTHER, 20)}
    assert [peer["route"] for peer in await world.peers()] == [
        {"via": None, "cost_ms": 4},
        {"via": "host-b", "cost_ms": 20},
    ]
    world.routes = {THIRD: Route(b"r" * 32, 20)}
    assert [peer["route"] for peer in await world.peers()] == [None, {"via": "72" * 8, "cost_ms": 20}]


async def test_peers_of_one_name_are_marked_until_one_is_gone(world: World) -> None:
    world.views = [seen(OWN, "host-a"), seen(OTHER, "web"), seen(THIRD, "web")]
    assert [peer["name_conflict"] for peer in await world.peers()] == [True, True]
    world.views = [seen(OWN, "web"), seen(OTHER, "web"), seen(THIRD, "web", left=True)]
    assert [peer["name_conflict"] for peer in await world.peers()] == [True]


async def test_what_the_operator_added_is_shown(world: World) -> None:
    world.status.added = lambda peer: ("198.51.100.7:1",) if peer == OTHER else ()
    (peer,) = await world.peers()
    assert (peer["added_addresses"], peer["addresses"]) == (["198.51.100.7:1"], ["192.0.2.2:6799"])


@pytest.mark.parametrize(
    ("state", "reachable", "shown"),
    [
        ("up", True, "up"),
        ("up", False, "up"),
        ("idle", True, "idle"),
        ("connecting", True, "connecting"),
        ("down", True, "down"),
        ("idle", False, "down"),
        ("connecting", False, "down"),
    ],
)
async def test_a_peers_state(world: World, state: State, reachable: bool, shown: str) -> None:
    world.views = [seen(OTHER, "host-b", reachable=reachable)]
    world.facts[OTHER] = SessionFacts(state, None, None, None)
    (peer,) = await world.peers()
    assert (peer["state"], peer["reachable"]) == (shown, reachable)
    assert (peer["path"] is not None) == (state == "up")


async def test_a_peer_that_left_is_gone(world: World) -> None:
    world.views = [seen(OWN, "host-a"), seen(OTHER, "host-b", left=True), seen(THIRD, "host-c")]
    assert [peer["name"] for peer in await world.peers()] == ["host-c"]


async def test_a_revoked_peer_is_shown_as_one_whatever_its_session(world: World) -> None:
    world.views = [seen(OTHER, "host-b", left=True, revoked=True)]
    world.facts[OTHER] = UP
    assert [peer["state"] for peer in await world.peers()] == ["revoked"]


async def test_without_a_session_or_an_mtu_there_is_no_path_mtu(world: World) -> None:
    world.counters = Counters(request=1, drops={}, peers=[counted(OTHER)])
    (idle,) = await world.peers()
    assert (idle["mtu"], idle["path"], idle["rx_bytes"]) == (None, None, 400)
    world.facts[OTHER] = UP
    world.counters = Counters(request=1, drops={}, peers=[counted(OTHER, mtu=0)])
    (up,) = await world.peers()
    assert (up["mtu"], up["path"]) == (None, "direct")


async def test_drops_are_shown_up_to_a_bound(world: World) -> None:
    drops = {f"reason-{number:03}": number for number in range(DROPS_SHOWN + 10)}
    world.counters = Counters(request=1, drops=drops, peers=[])
    shown = (await world.whole())["drops"]
    assert len(shown) == DROPS_SHOWN
    assert shown.items() <= drops.items()


async def test_notices_are_a_copy_of_the_meshs_own(world: World) -> None:
    notices: list[dict[str, object]] = [{"what": "w", "why": "y", "fix": "f"}]
    world.status.notices = notices
    answer = await world.whole()
    notices.append({"what": "later", "why": "", "fix": ""})
    assert answer["notices"] == notices[:1]


async def test_what_is_so_now_comes_before_what_was_noticed(world: World) -> None:
    world.status.notices = [{"what": "once"}]
    standing: list[dict[str, object]] = [{"what": "now"}]
    world.status.standing = lambda: standing
    assert [notice["what"] for notice in (await world.whole())["notices"]] == ["now", "once"]
    standing.clear()
    assert [notice["what"] for notice in (await world.whole())["notices"]] == ["once"]


async def test_the_secrets_rotation_is_in_it(world: World) -> None:
    world.status.secret = lambda: {"generation": 3, "rotation": {"phase": "switch"}, "held": [3, 2]}
    mesh = (await world.whole())["mesh"]
    assert (mesh["secret"], mesh["rotation"]) == (3, {"phase": "switch"})


async def test_reading_changes_nothing(world: World) -> None:
    world.facts[OTHER] = UP
    first, second = await world.whole(), await world.whole()
    for answer in (first, second):
        del answer["generated_at"]
    assert first == second
