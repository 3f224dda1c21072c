"""What the interface asks goes to the part that knows; a token is durable before it is told."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, cast

import pytest

from crypto.primitives import Suite
from crypto.token import Token
from meshnet.control.backend import LiveBackend
from meshnet.control.departure import Departure
from meshnet.control.desk import NetworkDesk
from meshnet.control.docker_service import DockerService
from meshnet.control.endpoints import Endpoints
from meshnet.control.expose import Exposures
from meshnet.control.membership import SPACE, Tokens, found
from meshnet.control.requests import Backend, DockerRequest, EndpointRequest, ExposeRequest, NetworkRequest
from meshnet.control.row import PutLike
from meshnet.control.status import Status
from meshnet.control.store import Store, StoreError
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.forwarder.fakes import until

MEMBERSHIP = found("host-a", Suite.CHACHAPOLY, os.urandom)
ENDPOINT = EndpointRequest(target="web", netns="4:1")
NETWORK = NetworkRequest(name="web", subnets=["10.77.0.0/16"], mtu=1400)
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


class SlowStore:
    """A store whose writes last until a test allows them."""

    def __init__(self) -> None:
        self.begun: list[list[PutLike]] = []
        self.durable = asyncio.Event()
        self.error: StoreError | None = None

    async def commit(self, puts: list[PutLike]) -> None:
        self.begun.append(puts)
        await self.durable.wait()
        if self.error is not None:
            raise self.error


class World:
    """A backend on parts that write down what they are asked."""

    def __init__(self) -> None:
        self.asked: Asked = []
        self.stops = 0
        self.store = SlowStore()
        self.desk = Part("desk", self.asked)
        self.tokens = Tokens(MEMBERSHIP, [])
        self.backend = LiveBackend(
            status=cast("Status", Part("status", self.asked, ["networks"])),
            desk=cast("NetworkDesk", self.desk),
            endpoints=cast("Endpoints", Part("endpoints", self.asked, ["listed"])),
            exposures=cast("Exposures", Part("exposures", self.asked)),
            departure=cast("Departure", Part("departure", self.asked)),
            docker=cast("DockerService", Part("docker", self.asked, ["status"])),
            tokens=self.tokens,
            store=cast("Store", self.store),
            addresses=lambda: ["192.0.2.1:6799"],
            entropy=os.urandom,
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


async def test_a_token_is_told_once_it_is_durable(world: World) -> None:
    before = int(time.time())
    asking = asyncio.get_running_loop().create_task(world.backend.create_token(3, 60, ()))
    await until(lambda: bool(world.store.begun))
    assert not asking.done()
    world.store.durable.set()
    answer = await asking
    token = Token.decode(str(answer["token"]))
    (puts,) = world.store.begun
    assert {(put.space, put.key) for put in puts} == {(SPACE, token.token_id)}
    assert answer["schema"] == "meshnet.token/v1"
    assert answer["join"] == f"meshnet join {answer['token']}"
    assert (answer["uses"], token.uses) == (3, 3)
    assert before + 60 <= token.expires <= time.time() + 60
    assert datetime.fromisoformat(str(answer["expires_at"])).timestamp() == token.expires
    assert list(token.addresses) == ["192.0.2.1:6799"]


async def test_a_token_that_cannot_be_stored_is_not_told(world: World) -> None:
    world.store.error = StoreError("cannot store", "the disk is full", "free some space")
    world.store.durable.set()
    with pytest.raises(StoreError):
        await world.backend.create_token(1, 60, ())


async def test_a_token_that_is_refused_stores_nothing(world: World) -> None:
    with pytest.raises(MeshnetError):
        await world.backend.create_token(0, 60, ())
    assert not world.store.begun
