"""What a host says of itself follows its keys and its forwarder, and is said only when it changed."""

from __future__ import annotations

import os
from dataclasses import replace

from crypto.keys import StaticKey
from crypto.secret import MeshSecret
from gossip.state.bodies import PeerBody
from tests.unit.control.loopback import Mesh, Peer, poll

BOOT = b"anew-ok!"


def said(peer: Peer) -> PeerBody:
    return next(view.body for view in peer.runner.node.peers() if view.identity == peer.identity)


async def test_tags_static_key_and_boot_id_are_said_when_they_change(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    old = b.membership.keyring.current
    assert said(b).secrets == [old.tag()]
    fresh, static = MeshSecret(1, os.urandom(32)), StaticKey.generate(os.urandom)
    await b.keys.change(lambda own: replace(own, keyring=own.keyring.installed(fresh)))
    assert said(b).secrets == [old.tag(), fresh.tag()]
    await b.keys.change(lambda own: replace(own, keyring=own.keyring.switched(), static=static))
    b.presence.rebooted(BOOT)
    expected = ([fresh.tag(), old.tag()], static.public, BOOT)
    await poll(lambda: a.tags(b.identity) == expected[0] and a.lookup(static.public) == b.identity)
    assert (said(b).secrets, said(b).static, said(b).boot) == expected
    assert b.saved[-1] == b.membership, "stored first"


async def test_what_is_the_same_is_not_said_again(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    before = a.summary()
    a.presence.rekeyed(a.membership)
    a.presence.rebooted(bytes(8))
    await a.runner.step(lambda now: a.runner.node.handle_timer(now))
    assert a.summary() == before


async def test_before_the_start_nothing_is_said(mesh: Mesh) -> None:
    a = Peer(mesh.founder)
    mesh.keep(a)
    a.presence.rebooted(BOOT)
    a.presence.rekeyed(a.membership)
    assert a.runner.faults == 0 and a.summary() == []
    await a.start()
