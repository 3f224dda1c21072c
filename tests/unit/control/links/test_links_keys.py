"""Links while keys change: several mesh secrets, replaced static keys, the secret's own record, who is barred."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace

import pytest

from crypto.errors import RemoteError
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.secret import MeshSecret
from meshnet.control.keys.membership import Membership
from meshnet.control.links import links as module
from meshnet.control.links.dialling import common_secret
from meshnet.control.links.links import SECRET
from tests.unit.control.loopback import Hand, Mesh, Peer, poll

OLD, NEW, THIRD = MeshSecret(0, b"\1" * 32), MeshSecret(1, b"\2" * 32), MeshSecret(2, b"\3" * 32)


def holding(membership: Membership, keyring: Keyring) -> Membership:
    return replace(membership, keyring=keyring)


async def linked(a: Peer, b: Peer) -> None:
    await poll(lambda: a.linked == [b.identity] and b.linked == [a.identity] and b.identity in a.seen)


# Which mesh secret


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Keyring(OLD, NEW), Keyring(OLD)),
        (Keyring(NEW, None, OLD), Keyring(OLD)),
        (Keyring(NEW, None, OLD), Keyring(OLD, NEW)),
        (Keyring(NEW), Keyring(NEW, THIRD, OLD)),
        (Keyring(NEW), Keyring(OLD, NEW)),
    ],
)
@pytest.mark.parametrize("swapped", [False, True])
async def test_any_two_that_share_a_secret_link(mesh: Mesh, one: Keyring, other: Keyring, swapped: bool) -> None:
    first, second = (other, one) if swapped else (one, other)
    a = await mesh.run(holding(mesh.founder, first))
    b = await mesh.run(holding(mesh.member("beta"), second), a)
    await linked(a, b)
    assert b.links.counters["dials that reached nobody"] == 0


async def test_a_dropped_secret_opens_no_link(mesh: Mesh) -> None:
    a = await mesh.run(holding(mesh.founder, Keyring(NEW)))
    with pytest.raises(RemoteError, match="epoch"):
        await Hand.open(a, holding(mesh.member("beta"), Keyring(OLD)))
    assert a.linked == []


async def test_a_change_of_keys_counts_for_the_next_link(mesh: Mesh) -> None:
    a = await mesh.run(holding(mesh.founder, Keyring(OLD)))
    beta = holding(mesh.member("beta"), Keyring(NEW))
    with pytest.raises(RemoteError):
        await Hand.open(a, beta)
    await a.keys.change(lambda own: replace(own, keyring=own.keyring.installed(NEW)))
    hand = await Hand.open(a, beta)
    await poll(lambda: a.linked == [beta.identity.public])
    hand.pipe.abort()


def test_a_common_secret_is_found_by_tags() -> None:
    ring = Keyring(NEW, THIRD, OLD)
    assert common_secret(ring, []) == NEW
    assert common_secret(ring, [OLD.tag()]) == OLD
    assert common_secret(ring, [OLD.tag(), THIRD.tag()]) == THIRD
    assert common_secret(ring, [OLD.tag(), NEW.tag()]) == NEW
    assert common_secret(ring, [bytes(8)]) == NEW


# Which static key


async def test_the_old_static_key_is_answered_as_long_as_it_is_kept(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    before = a.membership.static.public
    fresh = StaticKey.generate(os.urandom)
    await a.keys.change(lambda own: replace(own, static=fresh, old_static=own.static, old_static_until=9e9))
    hand = await Hand.open(a, mesh.member("beta"), to=before)
    await poll(lambda: len(a.links) == 1)
    hand.pipe.abort()
    await a.keys.change(lambda own: replace(own, old_static=None))
    with pytest.raises(ConnectionError):
        await Hand.open(a, mesh.member("gamma"), to=before)


async def test_a_link_whose_key_gossip_does_not_name_ends(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "VOUCH_S", 5.0)
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    await linked(a, b)
    now = asyncio.get_running_loop().time()
    a.links.tick(now + 100.0)
    assert len(a.links) == 1, "gossip vouches for it"
    thief = replace(b.membership, static=StaticKey.generate(os.urandom))  # a key that beta gave up
    await b.stop()
    await poll(lambda: len(a.links) == 0)
    hand = await Hand.open(a, thief)
    await poll(lambda: len(a.links) == 1)
    now = asyncio.get_running_loop().time()
    assert not a.links.send_secret(b.identity, NEW), "nobody vouches for it yet"
    a.links.tick(now + 4.0)
    assert len(a.links) == 1
    a.links.tick(now + 6.0)
    assert len(a.links) == 0
    await poll(lambda: a.linked == [])
    await hand.ended()


async def test_who_opened_a_link_makes_it_anew_after_a_day(mesh: Mesh) -> None:
    a, b = await mesh.run(mesh.founder), Peer(mesh.member("beta"))
    mesh.keep(await b.start(a))
    await linked(a, b)
    dialler, other = (b, a) if b.links.counters["links opened"] and _opened_by(b) else (a, b)
    number = dialler.runner.node.links()[0][0]
    now = asyncio.get_running_loop().time()
    other.links.tick(now + 2 * module.LIFE_S)
    dialler.links.tick(now + module.LIFE_S - module.LIFE_SPREAD_S - 1)
    assert len(a.links) == len(b.links) == 1
    dialler.links.tick(now + module.LIFE_S + module.LIFE_SPREAD_S + 1)
    assert dialler.links.counters["made anew"] == 1
    await poll(lambda: [link for link, _ in dialler.runner.node.links()] not in ([], [number]))
    await linked(a, b)


def _opened_by(peer: Peer) -> bool:
    return any(link.ends_at != float("inf") for link in peer.links._links.values())


# The record that carries a secret


async def test_a_secret_goes_to_a_linked_peer_and_to_nobody_else(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    await linked(a, b)
    assert not a.links.send_secret(a.identity, NEW)
    assert a.links.send_secret(b.identity, NEW)
    await poll(lambda: b.offers == [(a.identity, NEW)])
    a.left.add(b.identity)
    assert not a.links.send_secret(b.identity, NEW)


@pytest.mark.parametrize("size", [0, 35, 37])
async def test_a_secret_of_another_length_ends_its_link(mesh: Mesh, size: int) -> None:
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.links) == 1)
    await hand.pipe.write(hand.stream.seal(SECRET, bytes(size)))
    await hand.ended()
    await poll(lambda: len(a.links) == 0)
    assert a.offers == [] and a.links.counters["faults"] == 0


# Who is barred


async def test_a_peer_that_is_out_loses_its_links_at_once_and_opens_none(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    c = await mesh.run(mesh.member("gamma"), a)
    await poll(lambda: len(a.linked) == 2 and c.identity in b.seen)
    await a.runner.step(lambda now: a.runner.node.revoke(b.identity, 0, "lost", now))
    assert b.identity not in a.linked
    await poll(lambda: all(b.identity not in one.linked for one in (a, c)) and len(b.links) == 0)
    with pytest.raises(ConnectionError):
        await Hand.open(a, b.membership)
    assert c.identity in a.linked


async def test_a_stranger_whose_certificates_do_not_count_opens_no_link(mesh: Mesh) -> None:
    a, issuer = await mesh.run(mesh.founder), mesh.member("beta", roles=("invite",))
    b = await mesh.run(issuer, a)
    await poll(lambda: b.identity in a.linked)
    before, void = mesh.issued(issuer, "before"), mesh.issued(issuer, "void")
    await a.runner.step(lambda now: a.runner.node.revoke(b.identity, 2, "lost", now))
    with pytest.raises(ConnectionError):
        await (await Hand.open(a, void)).ended()
    assert a.links.counters["refused: a link by certificates that do not count"] == 1
    hand = await Hand.open(a, before)
    await poll(lambda: before.identity.public in a.linked)
    await a.authority.allow(None, True)
    unlisted, admin = mesh.member("unlisted"), mesh.member("admin", roles=("admin",))
    with pytest.raises(ConnectionError):
        await (await Hand.open(a, unlisted)).ended()
    assert a.links.counters["refused: a link by certificates that do not count"] == 2
    hands = [hand, await Hand.open(a, admin)]
    await a.authority.allow(unlisted.identity.public, True)
    hands.append(await Hand.open(a, unlisted))
    await poll(lambda: {admin.identity.public, unlisted.identity.public} <= set(a.linked))
    for one in hands:
        one.pipe.abort()


async def test_this_host_opens_no_link_once_it_is_out_itself(mesh: Mesh) -> None:
    a, beta = await mesh.run(mesh.founder), mesh.member("beta")
    a.left.add(a.identity)
    with pytest.raises(ConnectionError):
        await Hand.open(a, beta)
    assert len(a.links) == 0


async def test_dropping_a_peer_tells_the_node(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.linked) == 1)
    a.links.drop_peer(bytes(32))
    assert len(a.links) == 1
    a.links.drop_peer(a.linked[0])
    assert len(a.links) == 0
    await poll(lambda: a.linked == [])
    await hand.ended()
