"""The parts put together: started in order on a host in memory, keys that change take effect everywhere, all ended."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from crypto.keys import StaticKey
from crypto.primitives import Suite
from gossip.errors import Refusal
from gossip.events import Output, PeerView
from gossip.state.bodies import PeerBody
from meshnet.boundary import Configure, Hello, SetHandshakeKeys, Verb
from meshnet.config import Options, Places
from meshnet.control.assembly import Assembly, local_of
from meshnet.control.joining.opening import Opened, make, make_directory
from meshnet.control.keys import keyfile
from meshnet.control.keys.membership import found
from meshnet.control.links.sockets import open_sockets
from meshnet.control.links.ways import SPACE as WAYS_SPACE
from meshnet.control.links.ways import Ways
from meshnet.control.presence import body_of
from meshnet.control.store.store import StoreError
from meshnet.control.supervise import Found, Supervisor
from meshnet.errors import MeshnetError
from meshnet.host.memory import MemoryFirewall, MemoryNetlink
from tests.unit.control.loopback import poll


class Forwarder:
    """A supervisor whose forwarder only listens."""

    def __init__(self, opened: Opened) -> None:
        own = opened.membership
        self.sent: list[Verb] = []
        self.stopped = self.left = False
        self.link: object = SimpleNamespace(hello=Hello(1, own.mesh, own.identity.public, b"boot-one", 7, [], [], []))

    def send(self, verb: Verb, descriptors: tuple[int, ...] = ()) -> None:
        self.sent.append(verb)

    def leave(self) -> None:
        self.left = True

    async def stop(self) -> None:
        self.stopped = True

    def kinds(self) -> list[str]:
        return [type(verb).__name__ for verb in self.sent]


class World:
    """One peer on a host in memory."""

    def __init__(self, places: Places, opened: Opened) -> None:
        self.places, self.opened = places, opened
        self.netlink = MemoryNetlink()
        self.netlink.own_addresses = ["127.0.0.1"]
        self.forwarder = Forwarder(opened)
        self.stops: list[object] = []
        self.assembly = Assembly(
            places,
            opened,
            cast("Supervisor", self.forwarder),
            open_sockets(opened.options),
            self.netlink,
            MemoryFirewall(),
            lambda: self.stops.append("stop"),
            self.stops.append,
            lambda: self.stops.append("anew"),
        )

    async def start(self) -> None:
        await self.assembly.start(Found([], [], False), founding=False)

    def said(self) -> PeerBody:
        node = self.assembly.node
        return next(view.body for view in node.peers() if view.identity == node.identity)


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr("meshnet.control.api.api_socket.GROUP", None)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = Places(tmp_path / "run", tmp_path / "state")
    make_directory(places.state_dir)
    places.run_dir.mkdir()
    opened = await make(places, Options.parse(name="host-a", listen=[f"127.0.0.1:{port}"]), None, os.urandom)
    made = World(places, opened)
    yield made
    await made.assembly.end(stop=False)
    opened.discard()


async def test_the_forwarder_is_configured_before_it_is_told_anything_else(world: World) -> None:
    await world.start()
    kinds = world.forwarder.kinds()
    assert kinds[0] == "Configure"
    assert {"SetHandshakeKeys", "SetCookieSecrets"} <= set(kinds)
    assert keyfile.load(world.places.state_dir) == world.opened.membership
    status = await world.assembly.status.whole()
    assert status["state"] == "ready" and status["notices"] == []


async def test_a_new_mesh_secret_and_static_key_take_effect_everywhere(world: World) -> None:
    await world.start()
    assembly = world.assembly
    old = assembly.keys.membership
    world.forwarder.sent.clear()
    await assembly.backend.rotate_secret()
    await assembly.backend.rotate_key()
    own = assembly.keys.membership
    assert keyfile.load(world.places.state_dir) == own
    assert world.said().secrets == list(own.keyring.tags()) and len(own.keyring.tags()) == 2
    assert world.said().static == own.static.public != old.static.public
    last = [verb for verb in world.forwarder.sent if isinstance(verb, SetHandshakeKeys)][-1]
    assert len(last.keys) == 4, "two secrets, two static keys"


async def test_keys_that_cannot_be_stored_change_nothing(world: World) -> None:
    await world.start()
    (world.places.state_dir / keyfile.KEY_FILE).unlink()
    before, said = world.assembly.keys.membership, world.said()
    with pytest.raises(Exception, match="missing"):
        await world.assembly.backend.rotate_key()
    assert (world.assembly.keys.membership, world.said()) == (before, said)


async def test_a_fresh_forwarder_is_told_everything_again_and_the_others_of_it(world: World) -> None:
    await world.start()
    world.forwarder.sent.clear()
    own = world.opened.membership
    hello = Hello(1, own.mesh, own.identity.public, b"boot-two", 8, [], [], [])
    world.forwarder.link = SimpleNamespace(hello=hello)
    world.assembly._reinstall()
    kinds = world.forwarder.kinds()
    assert isinstance(world.forwarder.sent[0], Configure)
    assert {"SetHandshakeKeys", "SetCookieSecrets"} <= set(kinds)
    assert world.said().boot == b"boot-two"


async def test_a_joiner_that_gets_no_addresses_is_told_why(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.start()

    def donate(network: int, to: bytes, now: float) -> Output:
        raise Refusal("no addresses were given", "another host speaks with this host's identity", "wipe one", "cloned")

    monkeypatch.setattr(world.assembly.node, "donate", donate)
    with pytest.raises(MeshnetError, match="another host speaks"):
        await world.assembly._grant(bytes(32))


async def test_a_replaced_static_key_is_deleted_once_its_time_is_over(world: World) -> None:
    keys = world.assembly.keys
    await world.start()
    await keys.change(lambda own: replace(own, old_static=StaticKey.generate(os.urandom), old_static_until=1.0))
    await poll(lambda: keys.membership.old_static is None)
    assert keyfile.load(world.places.state_dir).old_static is None


async def test_what_an_operator_added_is_used_and_there_after_a_restart(world: World, tmp_path: Path) -> None:
    await world.start()
    assembly, other = world.assembly, found("host-b", Suite.CHACHAPOLY, os.urandom)
    way = "127.0.0.1:1"
    view = PeerView(other.identity.public, body_of(other, ["127.0.0.1:2"], bytes(8)), True, False, 1)
    assembly.node.peers = lambda: [view]  # type: ignore[method-assign]
    known: list[list[str]] = []
    assembly.sessions.know = lambda peer, static, addresses, boot, tags=(): known.append(list(addresses))  # type: ignore[method-assign]
    answer = await assembly.backend.connect_peer("host-b", [way])
    assert (answer["linked"], answer["addresses"]) == (False, [way])
    assert known == [[way, "127.0.0.1:2"]]
    (shown,) = cast("list[dict[str, object]]", (await assembly.status.peers())["peers"])
    assert shown["added_addresses"] == [way]
    assembly.links._up(view.identity, "192.0.2.9:7")
    await assembly.end(stop=False)
    again = Ways(world.opened.store.load(WAYS_SPACE))
    assert again.to(view.identity, []) == [way, "192.0.2.9:7"]


async def test_two_peers_of_one_name_are_a_notice_while_there_are_two(world: World) -> None:
    await world.start()
    assembly, other = world.assembly, found("host-a", Suite.CHACHAPOLY, os.urandom)
    own = assembly.node.peers()
    namesake = PeerView(other.identity.public, body_of(other, [], bytes(8)), False, False, 1)
    views = [*own, namesake]
    assembly.node.peers = lambda: views  # type: ignore[method-assign]
    (notice,) = cast("list[dict[str, str]]", (await assembly.status.whole())["notices"])
    assert notice["what"] == "2 peers are called host-a"
    assert f"{other.identity.public.hex()[:16]} (unreachable)" in notice["why"] and "(this host)" in notice["why"]
    views.remove(namesake)
    assert (await assembly.status.whole())["notices"] == []


async def test_no_second_and_no_link_looks_at_every_peer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.start()
    assembly = world.assembly
    await assembly.upkeep.close()
    await assembly.backend.rotate_secret()
    monkeypatch.setattr(assembly.rotator, "_drives", lambda announced: False)
    assembly.ways.put(bytes(32), ("192.0.2.9:1",))

    def everybody() -> list[PeerView]:
        raise AssertionError("a thousand views, each second")

    monkeypatch.setattr(assembly.node, "peers", everybody)
    for job in (assembly._look_after, assembly.static_rotation.expire, assembly.rotator.step, assembly.reaching.step):
        await job()
    own = assembly.node.identity
    assert assembly._tags(own) and not assembly._tags(bytes(32))
    assert not (assembly._barred(own) or assembly._barred(bytes(32)) or assembly.authority.is_barred(own))
    assert not (assembly._is_out() or assembly.has_left or assembly.authority.notices())


async def test_a_store_that_fails_is_a_notice(world: World) -> None:
    await world.start()
    world.assembly.runner.failure = StoreError("cannot write", "no space", "free some")
    (notice,) = world.assembly.status.standing()
    assert "nothing can be stored" in str(notice["what"])
    assert notice["why"] == f"{world.opened.store.path}: no space"


async def test_ending_leaves_or_stops_the_forwarder(world: World) -> None:
    await world.start()
    await world.assembly.end(stop=True)
    assert world.forwarder.stopped and not world.forwarder.left
    assert not world.places.socket.exists()


async def test_what_was_begun_is_taken_back(world: World) -> None:
    await world.start()
    await world.assembly.abandon(Found([], [], False))
    assert not world.places.socket.exists()
    assert not world.netlink.links


def test_handshakes_use_the_keys_in_use_and_the_old_static() -> None:
    own = found("host-a", Suite.CHACHAPOLY, os.urandom)
    later = replace(own, old_static=own.static)
    assert local_of(own).statics() == (own.static,)
    assert local_of(later).statics() == (own.static, own.static)
    assert local_of(own).keyring == own.keyring
