"""What the interface asks goes to the part that knows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import pytest

from meshnet.control.api.backend import LiveBackend
from meshnet.control.api.requests import (
    Backend,
    DockerRequest,
    EndpointRequest,
    ExposeRequest,
    NetworkRequest,
    RevokeRequest,
)
from meshnet.control.api.status import Status
from meshnet.control.authority import Authority
from meshnet.control.departure import Departure
from meshnet.control.docker.docker_service import DockerService
from meshnet.control.joining.invitations import Invitations
from meshnet.control.keys.rotator import Rotator
from meshnet.control.keys.static_rotation import StaticRotation
from meshnet.control.links.reaching import Reaching
from meshnet.control.networks.desk import NetworkDesk
from meshnet.control.networks.endpoints import Endpoints
from meshnet.control.networks.expose import Exposures
from meshnet.control.networks.ipam import Ipam
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.forwarder.fakes import until

ENDPOINT = EndpointRequest(target="web", netns="4:1")
NETWORK = NetworkRequest(name="web", subnets=["10.77.0.0/16"], mtu=1400)
WAYS = ["192.0.2.7:6799"]
REVOKE = RevokeRequest(reason="lost")
EXPOSE = ExposeRequest(network="web", masquerade=True, ip="10.77.0.9")
Asked = list[tuple[object, ...]]


class Part:
    """Any part: whatever is called is written down and answered with its own name; `plain` ones answer at once."""

    def __init__(self, name: str, asked: Asked, plain: Sequence[str] = ()) -> None:
        self._name = name
        self._asked = asked
        self._plain = plain
        self.error: MeshnetError | None = None

    def __getattr__(self, verb: str) -> Callable[..., object]:
        def now(*arguments: object) -> object:
            self._asked.append((f"{self._name}.{verb}", *arguments))
            if self.error is not None:
                raise self.error
            return {"answer": f"{self._name}.{verb}"}

        async def soon(*arguments: object) -> object:
            return now(*arguments)

        return now if verb in self._plain else soon


class World:
    """A backend on parts that write down what they are asked."""

    def __init__(self) -> None:
        self.asked: Asked = []
        self.stops = 0
        self.desk = Part("desk", self.asked)
        self.backend = LiveBackend(
            status=cast("Status", Part("status", self.asked, ["networks"])),
            desk=cast("NetworkDesk", self.desk),
            endpoints=cast("Endpoints", Part("endpoints", self.asked, ["listed"])),
            exposures=cast("Exposures", Part("exposures", self.asked)),
            departure=cast("Departure", Part("departure", self.asked)),
            docker=cast("DockerService", Part("docker", self.asked, ["status"])),
            invitations=cast("Invitations", Part("invitations", self.asked, ["listed"])),
            authority=cast("Authority", Part("authority", self.asked, ["allowed"])),
            rotator=cast("Rotator", Part("rotator", self.asked, ["describe"])),
            statics=cast("StaticRotation", Part("statics", self.asked)),
            reaching=cast("Reaching", Part("reaching", self.asked)),
            ipam=cast("Ipam", Part("ipam", self.asked, ["listed"])),
            on_stop=self.stop,
        )

    def stop(self) -> None:
        self.stops += 1


@pytest.fixture
async def world() -> World:
    return World()


CALLS: list[tuple[Callable[[Backend], Awaitable[Any]], tuple[object, ...]]] = [
    (lambda backend: backend.status(), ("status.whole",)),
    (lambda backend: backend.peers(), ("status.peers",)),
    (lambda backend: backend.leave(True), ("departure.leave", True)),
    (lambda backend: backend.create_token(3, 60, ("invite",)), ("invitations.create", 3, 60, ("invite",))),
    (lambda backend: backend.list_tokens(), ("invitations.listed",)),
    (lambda backend: backend.revoke_token(b"12345678"), ("invitations.revoke", b"12345678")),
    (lambda backend: backend.set_password("p"), ("invitations.password", "p")),
    (lambda backend: backend.revoke_peer("host-b", REVOKE), ("authority.revoke", "host-b", REVOKE)),
    (lambda backend: backend.connect_peer("host-b", WAYS), ("reaching.connect", "host-b", WAYS)),
    (lambda backend: backend.forget_peer("host-b", []), ("reaching.forget", "host-b", [])),
    (lambda backend: backend.allow(b"k", True), ("authority.allow", b"k", True)),
    (lambda backend: backend.allowed(), ("authority.allowed",)),
    (lambda backend: backend.secret(), ("rotator.describe",)),
    (lambda backend: backend.rotate_secret(), ("rotator.rotate",)),
    (lambda backend: backend.finish_secret(True), ("rotator.finish", True)),
    (lambda backend: backend.accept_secret("t"), ("rotator.accept", "t")),
    (lambda backend: backend.rotate_key(), ("statics.rotate",)),
    (lambda backend: backend.create_endpoint(ENDPOINT), ("endpoints.make", ENDPOINT)),
    (lambda backend: backend.confirm_endpoint("e1"), ("endpoints.confirm", "e1")),
    (lambda backend: backend.delete_endpoint("e1"), ("endpoints.delete", "e1")),
    (lambda backend: backend.list_endpoints("4:1"), ("endpoints.listed", "4:1")),
    (lambda backend: backend.create_network(NETWORK), ("desk.create", "web", ["10.77.0.0/16"], 1400)),
    (lambda backend: backend.list_networks(), ("status.networks",)),
    (lambda backend: backend.remove_network("web", True), ("desk.remove", "web", True)),
    (lambda backend: backend.expose(EXPOSE), ("exposures.expose", "web", "10.77.0.9", True)),
    (lambda backend: backend.hide("web"), ("exposures.hide", "web")),
    (lambda backend: backend.docker(DockerRequest(enabled=True, plugin_dir="/p")), ("docker.enable", "/p")),
    (lambda backend: backend.docker(DockerRequest(enabled=False)), ("docker.disable",)),
    (lambda backend: backend.docker_status(), ("docker.status",)),
]


@pytest.mark.parametrize(("call", "expected"), CALLS, ids=[str(expected[0]) for _, expected in CALLS])
async def test_each_verb_asks_the_part_that_knows_and_answers_what_it_says(
    world: World, call: Callable[[Backend], Awaitable[Any]], expected: tuple[object, ...]
) -> None:
    answer = await call(world.backend)
    assert world.asked == [expected]
    inner = {"answer": expected[0]}
    assert answer == inner or inner in answer.values()


@pytest.mark.parametrize(
    ("call", "schema", "field"),
    [
        (lambda backend: backend.list_endpoints("4:1"), "meshnet.endpoints/v1", "endpoints"),
        (lambda backend: backend.list_networks(), "meshnet.networks/v1", "networks"),
    ],
)
async def test_a_list_has_a_schema(world: World, call: Callable[[Backend], Any], schema: str, field: str) -> None:
    answer = await call(world.backend)
    assert answer["schema"] == schema
    assert set(answer) == {"schema", field}


async def test_what_is_asked_about_addresses_goes_to_who_knows_them(world: World) -> None:
    assert world.backend.ipam.listed() == {"answer": "ipam.listed"}
    assert world.asked == [("ipam.listed",)]


async def test_a_refusal_of_a_part_is_the_refusal_of_the_verb(world: World) -> None:
    world.desk.error = MeshnetError("no network", "nobody founded it", "found it", ExitCode.NOT_FOUND)
    with pytest.raises(MeshnetError) as refusal:
        await world.backend.remove_network("web", False)
    assert refusal.value is world.desk.error


async def test_stop_answers_before_the_end_begins(world: World) -> None:
    answer = await world.backend.stop()
    assert answer == {"schema": "meshnet.stopped/v1", "stopping": True}
    assert world.stops == 0
    await until(lambda: world.stops == 1)
