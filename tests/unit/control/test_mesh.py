"""Where gossip's events go: sessions, networks, links, whoever waits; what an operator should read is a notice."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest
from msgspec.structs import replace

from gossip.events import (
    Cloned,
    CloseLink,
    Dial,
    EndpointGone,
    EndpointSet,
    Event,
    Lease,
    LeaseSettled,
    NetworkGone,
    NetworkSeen,
    PeerLeft,
    PeerRevoked,
    PeerSeen,
    PeerView,
    Reachable,
    Readmitted,
    SecretRotation,
    Trouble,
)
from gossip.state.address_bodies import EndpointBody, NetworkBody
from gossip.state.bodies import PeerBody
from meshnet.control.handshakes.sessions import Sessions
from meshnet.control.links.links import Links
from meshnet.control.links.statics import OLD_STATIC_S, Statics
from meshnet.control.mesh import NOTICES_KEPT, Mesh
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.networks import Networks
from meshnet.control.pending import Pending
from meshnet.host.errors import HostError
from tests.unit.control.fake_core import DEFAULT, OTHER, OWN, WEB

BODY = PeerBody("host-b", ["192.0.2.2:6799"], b"x" * 32, [b"c"], b"boot-id!", "1", [b"tag-tag!"])
KNOWN = ("know", OTHER, b"x" * 32, ("192.0.2.2:6799",), b"boot-id!", (b"tag-tag!",))
MAC = b"\2\0\0\0\0\1"
ENDPOINT = EndpointBody(WEB.number, MAC, [("10.77.0.2/16", 5)], "web")


class Waits:
    """Whoever waits for an answer."""

    def __init__(self, told: list[tuple[object, ...]]) -> None:
        self.told = told

    def tell(self, event: Event) -> bool:
        is_mine = isinstance(event, LeaseSettled)
        if is_mine:
            self.told.append(("settled", event))
        return is_mine


class Parts:
    """Every part the mesh knows, writing down what it is told; making a network waits for `may_make`."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.wanted = [DEFAULT.number]
        self.may_make = asyncio.Event()
        self.may_make.set()
        self.error: HostError | None = None
        parts = self

        class Knows:
            def know(self, peer: bytes, static: bytes, addresses: list[str], boot: bytes, tags: list[bytes]) -> None:
                parts.told.append(("know", peer, static, tuple(addresses), boot, tuple(tags)))

            def forget(self, peer: bytes) -> None:
                parts.told.append(("forget", peer))

        class Serves:
            def set_endpoint(self, network: int, mac: bytes, owner: bytes) -> None:
                parts.told.append(("set", network, mac, owner))

            def drop_endpoint(self, network: int, mac: bytes, owner: bytes) -> None:
                parts.told.append(("drop", network, mac, owner))

            def refill(self) -> None:
                parts.told.append(("refill",))

        class Desk:
            def is_wanted(self, body: NetworkBody) -> bool:
                return body.number in parts.wanted

            async def seen(self, body: NetworkBody) -> None:
                await parts.may_make.wait()
                if parts.error is not None:
                    raise parts.error
                parts.told.append(("seen", body.name))

            async def gone(self, body: NetworkBody) -> None:
                parts.told.append(("gone", body.name))

        class Dials:
            def send(self, link: int, message: bytes) -> None:
                parts.told.append(("send", link, message))

            def drop_peer(self, peer: bytes) -> None:
                parts.told.append(("cut", peer))

            def tell(self, event: Event) -> bool:
                is_mine = isinstance(event, Dial | CloseLink)
                if is_mine:
                    parts.told.append(("link", event))
                return is_mine

        self.now = 0.0
        self.statics = Statics()
        self.mesh = Mesh(OWN, cast("Sessions", Knows()), cast("Networks", Serves()), self.statics, lambda: self.now)
        self.desk, self.links, self.pending = cast("NetworkDesk", Desk()), cast("Links", Dials()), Waits(self.told)

    def wired(self) -> Mesh:
        self.mesh.desk, self.mesh.links, self.mesh.pending = self.desk, self.links, cast("Pending", self.pending)
        return self.mesh


@pytest.fixture
async def parts() -> Parts:
    return Parts()


def test_a_peer_is_known_to_the_sessions_and_by_its_static_key(parts: Parts) -> None:
    mesh = parts.wired()
    mesh.tell(PeerSeen(OTHER, BODY))
    assert parts.statics.owner(b"x" * 32, 0.0) == OTHER
    mesh.tell(PeerLeft(OTHER))
    assert parts.statics.owner(b"x" * 32, 0.0) is None
    assert parts.told == [KNOWN, ("forget", OTHER)]


def test_a_peer_is_known_by_every_way_to_it_and_again_when_they_change(parts: Parts) -> None:
    mesh = parts.wired()
    ways = ["198.51.100.7:1"]
    gone: list[bytes] = []
    mesh.ways, mesh.on_gone = lambda peer, said: [*ways, *said], gone.append
    mesh.tell(PeerSeen(OTHER, BODY))
    ways.clear()
    mesh.readdress(PeerView(OTHER, BODY, True, False, 1))
    mesh.tell(PeerRevoked(OTHER, b"a" * 32, "lost"))
    assert not gone, "on the allow-list again it would be found"
    mesh.tell(PeerLeft(OTHER))
    assert [told[3] for told in parts.told if told[0] == "know"] == [
        ("198.51.100.7:1", "192.0.2.2:6799"),
        ("192.0.2.2:6799",),
    ]
    assert gone == [OTHER]
    mesh.tell(PeerRevoked(OWN, b"a" * 32, "lost"))
    parts.told.clear()
    mesh.readdress(PeerView(OTHER, BODY, True, False, 1))
    assert not parts.told, "a host that is out knows nobody"


def test_a_replaced_static_key_is_known_a_while_longer(parts: Parts) -> None:
    mesh = parts.wired()
    mesh.tell(PeerSeen(OTHER, BODY))
    mesh.tell(PeerSeen(OTHER, replace(BODY, static=b"y" * 32)))
    assert parts.statics.owner(b"x" * 32, OLD_STATIC_S - 1) == parts.statics.owner(b"y" * 32, 1e9) == OTHER
    assert parts.statics.owner(b"x" * 32, OLD_STATIC_S) is None


def test_a_revoked_peer_loses_sessions_links_and_its_keys_name(parts: Parts) -> None:
    mesh = parts.wired()
    mesh.tell(PeerSeen(OTHER, BODY))
    mesh.tell(PeerRevoked(OTHER, OWN, "lost"))
    assert parts.told == [KNOWN, ("forget", OTHER), ("cut", OTHER)]
    assert parts.statics.owner(b"x" * 32, 0.0) is None
    mesh.tell(PeerSeen(OTHER, BODY))
    assert parts.told[3:] == [KNOWN], "it counts again"


def test_a_host_that_is_out_itself_ends_everything_until_it_counts_again(parts: Parts) -> None:
    mesh = parts.wired()
    mesh.tell(PeerSeen(OTHER, BODY))
    mesh.tell(PeerRevoked(OWN, OTHER, "lost"))
    assert parts.told[1:] == [("forget", OTHER), ("cut", OTHER)]
    mesh.tell(PeerSeen(OTHER, BODY))
    assert len(parts.told) == 3, "it makes no sessions"
    mesh.peers = lambda: [
        PeerView(OWN, BODY, True, False, 1),
        PeerView(OTHER, BODY, True, False, 1),
        PeerView(b"y" * 32, BODY, True, True, 1),
        PeerView(b"z" * 32, BODY, True, False, 1, revoked=True),
    ]
    mesh.tell(Readmitted())
    assert parts.told[3:] == [KNOWN, ("refill",)], "the forwarder forgot the endpoints of whom it forgot"


def test_news_of_a_rotation_wake_who_carries_it_out(parts: Parts) -> None:
    mesh, woken = parts.wired(), []
    mesh.on_rotation = lambda: woken.append(1)
    mesh.tell(SecretRotation(1, bytes(32), 0, OTHER))
    assert woken == [1]


def test_a_clone_is_a_notice(parts: Parts) -> None:
    parts.wired().tell(Cloned("it spoke a moment ago"))
    assert [notice["what"] for notice in parts.mesh.notices] == ["another host speaks as this one"]


def test_endpoints_go_to_the_networks_and_an_own_one_has_no_owner(parts: Parts) -> None:
    mesh = parts.wired()
    mesh.tell(EndpointSet(OTHER, ENDPOINT))
    mesh.tell(EndpointGone(OTHER, WEB.number, MAC))
    mesh.tell(EndpointGone(OWN, WEB.number, MAC))
    mesh.tell(EndpointSet(OWN, ENDPOINT))
    assert parts.told == [
        ("set", WEB.number, MAC, OTHER),
        ("drop", WEB.number, MAC, OTHER),
        ("drop", WEB.number, MAC, b""),
        ("set", WEB.number, MAC, b""),
    ]


@pytest.mark.parametrize("event", [Dial(OTHER, bytes(32), []), CloseLink(1, "full")])
def test_what_the_links_take_goes_nowhere_else(parts: Parts, event: Event) -> None:
    parts.wired().tell(event)
    assert parts.told == [("link", event)]


def test_an_answer_goes_to_whoever_waits(parts: Parts) -> None:
    event = LeaseSettled(WEB.number, b"e", Lease(WEB.number, "10.77.0.2/16", 5))
    parts.wired().tell(event)
    assert parts.told == [("settled", event)]


def test_messages_go_to_the_links_once_there_are_any(parts: Parts) -> None:
    parts.mesh.send(1, b"early")
    parts.wired().send(2, b"late")
    assert parts.told == [("send", 2, b"late")]


def test_before_the_other_parts_exist_their_events_are_passed_over(parts: Parts) -> None:
    for event in (Dial(OTHER, bytes(32), []), NetworkSeen(DEFAULT), NetworkGone(DEFAULT), Reachable(OTHER, True)):
        parts.mesh.tell(event)
    assert not parts.told
    assert not parts.mesh.notices


async def test_a_network_is_made_where_it_is_wanted_and_settle_waits_for_it(parts: Parts) -> None:
    mesh = parts.wired()
    parts.may_make.clear()
    mesh.tell(NetworkSeen(DEFAULT))
    mesh.tell(NetworkSeen(WEB))
    assert not parts.told, "telling never waits"
    parts.may_make.set()
    await mesh.settle()
    assert parts.told == [("seen", "default")]
    mesh.tell(NetworkGone(WEB))
    await mesh.settle()
    assert parts.told[1:] == [("gone", "web")]


async def test_a_network_that_cannot_be_made_is_raised_while_settling_and_a_notice(parts: Parts) -> None:
    mesh = parts.wired()
    parts.error = HostError("cannot make bridge", "EPERM", "run as root")
    mesh.tell(NetworkSeen(DEFAULT))
    with pytest.raises(HostError):
        await mesh.settle()
    await mesh.settle()
    (notice,) = mesh.notices
    assert notice["what"] == "serve-default failed"
    assert "EPERM" in str(notice["why"])


def test_trouble_is_a_notice(parts: Parts) -> None:
    parts.wired().tell(Trouble("two grants for one range"))
    assert [notice["why"] for notice in parts.mesh.notices] == ["two grants for one range"]
    assert all(notice["what"] and notice["fix"] for notice in parts.mesh.notices)


def test_a_notice_is_not_repeated_and_the_newest_stay(parts: Parts) -> None:
    mesh, shared = parts.mesh, parts.mesh.notices
    for _ in range(3):
        mesh.notice("what", "why", "fix")
    assert mesh.notices == [{"what": "what", "why": "why", "fix": "fix"}]
    for number in range(NOTICES_KEPT + 5):
        mesh.notice("what", str(number), "fix")
    assert [notice["why"] for notice in mesh.notices] == [str(n) for n in range(5, NOTICES_KEPT + 5)]
    assert mesh.notices is shared, "status reads this very list"
