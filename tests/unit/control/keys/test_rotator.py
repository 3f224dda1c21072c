"""A rotation carried out between real nodes on real links: all get the secret, none is cut off, only admins may."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import pytest

from crypto.keyring import Keyring
from crypto.secret import MeshSecret
from gossip.events import PeerView
from meshnet.control.keys.membership import Membership
from meshnet.control.keys.rotation import INSTALL_S, PREVIOUS_S, RESEND_S
from meshnet.control.keys.rotator import DRIVEN, SPACE, Rotator
from meshnet.control.store.store import StoreError
from meshnet.errors import ExitCode, MeshnetError
from tests.unit.control.loopback import WALL, MemoryStore, Mesh, Peer, poll

DEADLINE_STEPS = 400


class Host:
    """A peer that rotates; `later` moves its clock."""

    def __init__(self, mesh: Mesh, membership: Membership, store: MemoryStore | None = None) -> None:
        self.now = 0.0
        self.peer = Peer(membership, store)
        mesh.keep(self.peer)
        self.rotator = self.make()
        self.peer.links._on_secret = self.offered

    def offered(self, peer: bytes, secret: MeshSecret) -> None:
        self.rotator.offered(peer, secret)

    def make(self) -> Rotator:
        peer = self.peer
        driven = peer.store.rows.get((SPACE, DRIVEN))
        return Rotator(peer.keys, peer.runner, peer.store, peer.links, lambda: self.now, os.urandom, driven)

    def others(self) -> list[PeerView]:
        return [view for view in self.peer.runner.node.peers() if view.identity != self.peer.identity]

    @property
    def keyring(self) -> Keyring:
        return self.peer.membership.keyring

    @property
    def phase(self) -> str | None:
        rotation = self.rotator.describe()["rotation"]
        return rotation["phase"] if isinstance(rotation, dict) else None

    @property
    def lacking(self) -> list[str]:
        rotation = self.rotator.describe()["rotation"]
        assert isinstance(rotation, dict)
        names: list[str] = rotation["lacking"]
        return names


@pytest.fixture
async def pair(mesh: Mesh) -> tuple[Host, Host]:
    a, b = Host(mesh, mesh.founder), Host(mesh, mesh.member("beta"))
    await a.peer.start()
    await b.peer.start(a.peer)
    await poll(lambda: a.peer.linked == [b.peer.identity] and b.peer.linked == [a.peer.identity])
    await poll(lambda: a.peer.summary() == b.peer.summary())
    return a, b


async def until(condition: Callable[[], bool], *hosts: Host) -> None:
    """Step the hosts, whose clocks run fast, until it is so."""
    for _ in range(DEADLINE_STEPS):
        if condition():
            return
        for host in hosts:
            host.now += RESEND_S / 4
            await host.rotator.step()
        await poll(lambda: all(not host.peer.links.unsent for host in hosts))
        await asyncio.sleep(0.002)
    raise AssertionError("it did not come to be")


async def test_all_get_the_secret_switch_and_drop_the_one_before(pair: tuple[Host, Host]) -> None:
    a, b = pair
    old = a.keyring.current
    answer = await a.rotator.rotate()
    assert answer["rotation"] == {
        "generation": 1,
        "phase": "install",
        "by": "alpha",
        "holds": True,
        "lacking": ["beta"],
    }
    fresh = a.keyring.next
    assert fresh is not None and fresh.generation == 1
    assert a.peer.saved[-1].keyring.next == fresh, "stored"
    await until(lambda: a.keyring.current == b.keyring.current == fresh, a, b)
    assert a.keyring == b.keyring == Keyring(fresh, None, old)
    await until(lambda: a.phase == b.phase == "switch" and not a.lacking, a, b)
    for host in pair:
        host.now += PREVIOUS_S
    await until(lambda: a.keyring == b.keyring == Keyring(fresh), a, b)
    assert a.peer.linked == [b.peer.identity], "the link stayed"
    assert b.peer.saved[-1].keyring == Keyring(fresh)


async def test_a_peer_that_is_off_is_waited_for_and_catches_up(mesh: Mesh, pair: tuple[Host, Host]) -> None:
    a, b = pair
    old, store = b.keyring.current, b.peer.store
    await b.peer.stop()
    await poll(lambda: a.peer.linked == [])
    await a.rotator.rotate()
    await until(lambda: a.phase == "switch" and a.keyring.previous == old, a)
    a.now += 9 * PREVIOUS_S
    await a.rotator.step()
    assert (a.phase, a.lacking) == ("switch", ["beta"])
    with pytest.raises(MeshnetError, match="beta would be cut off"):
        await a.rotator.finish(False)
    again = Host(mesh, b.peer.membership, store)
    await again.peer.start(a.peer)
    await until(lambda: a.keyring == again.keyring == Keyring(a.keyring.current), a, again)


def watched(host: Host, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often the host's node is asked for all peers."""
    asked: Counter[str] = Counter()
    ordinary = host.peer.runner.node.peers

    def peers() -> list[PeerView]:
        asked["peers"] += 1
        return ordinary()

    monkeypatch.setattr(host.peer.runner.node, "peers", peers)
    return asked


async def steps(host: Host, count: int = 10) -> None:
    for _ in range(count):
        host.now += 1.0
        await host.rotator.step()


async def test_nobody_is_looked_at_where_no_rotation_is_under_way(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    asked = watched(a, monkeypatch)
    await steps(a)
    assert asked["peers"] == 0, "before the first one"
    await a.rotator.rotate()
    await until(lambda: all(host.keyring.previous for host in (a, b)), a, b)
    await steps(a, 1)
    a.now += PREVIOUS_S
    await until(lambda: len(a.keyring.secrets()) == 1, a, b)
    assert asked["peers"] > 0
    asked.clear()
    await steps(a)
    assert asked["peers"] == 0, "after it"


async def test_a_rotation_that_waits_for_one_looks_at_no_other(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = pair
    await b.peer.stop()
    await poll(lambda: a.peer.linked == [])
    await a.rotator.rotate()
    await until(lambda: a.phase == "switch", a)
    asked = watched(a, monkeypatch)
    await steps(a)
    assert asked["peers"] == 0, "nothing follows from it until its time has come"
    a.now += PREVIOUS_S
    await steps(a)
    assert asked["peers"] == 1 and a.phase == "switch"


async def test_who_is_cut_off_is_named_and_comes_back_by_a_token(mesh: Mesh, pair: tuple[Host, Host]) -> None:
    a, b = pair
    membership, store = b.peer.membership, b.peer.store
    await b.peer.stop()
    await poll(lambda: a.peer.linked == [])
    await a.rotator.rotate()
    await until(lambda: a.phase == "switch", a)
    answer = await a.rotator.finish(True)
    assert answer["cut_off"] == ["beta"]
    assert a.keyring == Keyring(a.keyring.current) and a.phase == "drop"
    again = Host(mesh, membership, store)
    await again.peer.absorb(a.peer.runner.node.export())
    assert [notice["fix"] for notice in again.rotator.notices()] != []
    await again.peer.start()
    _, token = a.peer.tokens.create(1, 3600, [], [a.peer.address], os.urandom, WALL)
    answer = await again.rotator.accept(token.encode())
    assert answer["generation"] == 1 and again.rotator.notices() == []
    await poll(lambda: a.peer.linked == [again.peer.identity] and again.peer.linked == [a.peer.identity])
    assert again.peer.identity == b.peer.identity


async def test_a_member_without_the_role_rotates_nothing(pair: tuple[Host, Host]) -> None:
    a, b = pair
    for act in (b.rotator.rotate, lambda: b.rotator.finish(True)):
        with pytest.raises(MeshnetError, match="role") as refusal:
            await act()
        assert refusal.value.code is ExitCode.PERMISSION
    assert b.keyring == a.keyring and a.phase is b.phase is None


async def test_a_secret_nobody_announced_is_not_taken(pair: tuple[Host, Host]) -> None:
    a, b = pair
    false = MeshSecret(1, os.urandom(32))
    assert not b.rotator.offered(a.peer.identity, false)
    await a.rotator.rotate()
    await poll(lambda: b.phase == "install")
    assert not b.rotator.offered(a.peer.identity, false)
    await b.rotator.step()
    assert b.keyring.next is None
    true = a.keyring.next
    assert true is not None
    assert not b.rotator.offered(bytes(32), true), "from no member"
    assert b.rotator.offered(a.peer.identity, true)
    await b.rotator.step()
    assert b.keyring.next == true


async def test_rotate_again_goes_on_with_the_one_under_way(pair: tuple[Host, Host]) -> None:
    a, b = pair
    await a.rotator.rotate()
    fresh = a.keyring.next
    await a.rotator.rotate()
    assert a.keyring.next == fresh
    await until(lambda: a.keyring.current == b.keyring.current == fresh, a, b)


async def test_another_admin_takes_a_rotation_over_and_keeps_it_over_a_restart(mesh: Mesh) -> None:
    a, b = Host(mesh, mesh.founder), Host(mesh, mesh.member("beta", roles=("admin",)))
    await a.peer.start()
    await b.peer.start(a.peer)
    await poll(lambda: a.peer.summary() == b.peer.summary() and b.peer.linked == [a.peer.identity])
    await a.rotator.rotate()
    await until(lambda: b.keyring.next is not None, a, b)
    fresh = b.keyring.next
    await a.peer.stop()
    await poll(lambda: b.peer.linked == [])
    b.now += 10 * INSTALL_S
    await b.rotator.step()
    assert b.phase == "install", "it is not this one's to drive"
    await b.rotator.rotate()
    b.rotator = b.make()
    await until(lambda: b.phase == "switch" and b.keyring.current == fresh, b)


async def test_when_the_secret_is_lost_with_its_driver_a_new_one_is_made(mesh: Mesh) -> None:
    a, b = Host(mesh, mesh.founder), Host(mesh, mesh.member("beta", roles=("admin",)))
    await a.peer.start()
    await b.peer.start(a.peer)
    await poll(lambda: a.peer.summary() == b.peer.summary() and b.peer.linked == [a.peer.identity])
    await a.rotator.rotate()
    await poll(lambda: b.phase == "install" and any(v.reachable for v in b.others()))
    with pytest.raises(MeshnetError, match="alpha can be reached"):
        await b.rotator.rotate()
    with pytest.raises(MeshnetError, match="does not hold"):
        await b.rotator.finish(True)
    lost = a.keyring.next
    await a.peer.stop()
    await poll(lambda: not any(view.reachable for view in b.others()))
    await b.rotator.rotate()
    assert b.keyring.next is not None and b.keyring.next.generation == 2 and b.keyring.next != lost


async def split(mesh: Mesh) -> tuple[Host, Host]:
    """Two admins that replaced the secret apart from each other and then met: first the one whose secret won."""
    hosts = Host(mesh, mesh.founder), Host(mesh, mesh.member("beta", roles=("admin", "invite")))
    one, two = hosts
    one.peer.left.add(two.peer.identity)
    await one.peer.start()
    await two.peer.start(one.peer)
    await one.peer.absorb(two.peer.runner.node.export())
    await one.rotator.rotate()
    await two.rotator.rotate()
    await until(lambda: one.keyring.previous is not None and two.keyring.previous is not None, one, two)
    assert one.keyring.current.generation == two.keyring.current.generation == 1
    one.peer.left.clear()
    await poll(lambda: one.peer.linked == [two.peer.identity] and one.peer.summary() == two.peer.summary())
    return hosts if one.keyring.current.commitment() < two.keyring.current.commitment() else hosts[::-1]


async def test_of_two_secrets_made_apart_one_wins_and_the_other_side_says_so(mesh: Mesh) -> None:
    winner, loser = await split(mesh)
    (notice,) = loser.rotator.notices()
    assert "lost" in str(notice["what"]) and "secret accept" in str(notice["fix"]) and "rotate" in str(notice["fix"])
    assert winner.rotator.notices() == [] and winner.lacking == [loser.peer.membership.name]
    old = loser.keyring.previous
    _, token = winner.peer.tokens.create(1, 3600, [], [winner.peer.address], os.urandom, WALL)
    await loser.rotator.accept(token.encode())
    assert loser.keyring == Keyring(winner.keyring.current, None, old) == winner.keyring
    assert loser.rotator.notices() == []
    await poll(lambda: winner.lacking == [])


async def test_after_a_split_the_side_that_lost_may_replace_both(mesh: Mesh) -> None:
    winner, loser = await split(mesh)
    answer = await loser.rotator.rotate()
    assert isinstance(answer["rotation"], dict) and answer["rotation"]["generation"] == 2
    await until(lambda: winner.keyring.current == loser.keyring.current, winner, loser)
    assert winner.keyring.current.generation == 2 and loser.rotator.notices() == []


async def test_a_secret_that_cannot_be_stored_is_announced_to_nobody(pair: tuple[Host, Host]) -> None:
    a, b = pair

    def full(membership: Membership) -> None:
        raise StoreError("cannot write", "no space", "free some")

    a.peer.keys._save = full
    with pytest.raises(MeshnetError, match="cannot write"):
        await a.rotator.rotate()
    assert a.phase is b.phase is None and a.keyring.next is None


async def test_finishing_nothing_and_a_token_that_is_none(pair: tuple[Host, Host]) -> None:
    a, _ = pair
    with pytest.raises(MeshnetError, match="nothing to finish"):
        await a.rotator.finish(True)
    with pytest.raises(MeshnetError) as refusal:
        await a.rotator.accept("mesh1-nonsense")
    assert refusal.value.code is ExitCode.USAGE
    _, token = a.peer.tokens.create(1, 3600, [], [a.peer.address], os.urandom, WALL)
    with pytest.raises(MeshnetError, match="no use here"):
        await a.rotator.accept(token.encode())


async def test_no_key_is_in_what_is_told(pair: tuple[Host, Host], caplog: pytest.LogCaptureFixture) -> None:
    a, b = pair
    with caplog.at_level("DEBUG"):
        answer = await a.rotator.rotate()
        await until(lambda: b.keyring.current.generation == 1, a, b)
    text = f"{answer} {a.rotator.describe()} {caplog.text} {a.keyring!r} {replace(a.peer.membership)!r}"
    for secret in a.keyring.secrets():
        assert secret.key.hex() not in text and repr(secret.key) not in text
