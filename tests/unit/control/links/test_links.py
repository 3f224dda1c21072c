"""Links: real sockets on the loopback, real gossip nodes, stores in memory; and everything hostile at the port."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

from crypto.errors import RemoteError
from crypto.keyring import Keyring
from crypto.keys import IdentityKey, StaticKey
from crypto.secret import MeshSecret
from gossip.events import Dial, PeerSeen
from meshnet.control.joining.join import join
from meshnet.control.links import links as module
from meshnet.control.links.links import MESSAGE
from meshnet.control.store.store import StoreError
from meshnet.control.streams.pipe import connect
from tests.unit.control.loopback import WALL, Hand, MemoryStore, Mesh, Peer, ended, poll


async def test_two_peers_converge_although_one_knows_nothing_of_the_other(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    await poll(lambda: a.linked == [b.identity] and b.linked == [a.identity])
    await poll(lambda: a.summary() == b.summary() and b.identity in a.seen)
    assert a.links.half_open == 0 and not any(key.startswith("refused") for key in a.links.counters)


async def test_a_third_that_knows_only_the_second_learns_the_first(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = await mesh.run(mesh.member("beta"), a)
    c = Peer(mesh.member("gamma"))
    only_b = [s for s in b.runner.node.export() if b.identity in s]
    await c.absorb(only_b)
    mesh.keep(await c.start())
    await poll(lambda: a.summary() == b.summary() == c.summary())
    await poll(lambda: c.linked == sorted([a.identity, b.identity]) and a.identity in c.seen)
    await poll(lambda: all(len(peer.links) == 2 for peer in (a, b, c)))


async def test_peers_that_dial_each_other_at_once_keep_one_link(mesh: Mesh) -> None:
    a, b = Peer(mesh.founder), Peer(mesh.member("beta"))
    for peer in (a, b):
        await peer.links.start()
    for peer, other in ((a, b), (b, a)):
        own = other.membership
        dial = Dial(other.identity, own.static.public, [other.address])
        peer.links.tell(dial)
        peer.links.tell(dial)
    for peer in (a, b):
        mesh.keep(peer)
        await peer.begin()
    await poll(lambda: len(a.links) == len(b.links) == 1 and a.summary() == b.summary())
    await poll(lambda: a.linked == [b.identity] and b.linked == [a.identity])


async def test_a_peer_that_restarts_is_linked_again(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    membership, store = mesh.member("beta"), MemoryStore()
    b = await Peer(membership, store).start(a)
    await poll(lambda: a.summary() == b.summary() and a.linked == [b.identity])
    await b.stop()
    await poll(lambda: a.linked == [])
    again = Peer(membership, store, b.port)
    mesh.keep(await again.start())
    assert again.runner.node.incarnation == b.runner.node.incarnation + 1
    await poll(lambda: a.linked == [again.identity] and a.summary() == again.summary())


async def test_a_host_that_joins_at_the_links_port_can_link_at_once(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    _, token = a.tokens.create(1, 3600, [], [a.address], os.urandom, WALL)
    identity, static = IdentityKey.generate(os.urandom), StaticKey.generate(os.urandom)
    reply = await join(token, "beta", identity, static)
    b = Peer(reply.membership)
    await b.absorb(reply.statements)
    mesh.keep(await b.start())
    await poll(lambda: a.summary() == b.summary() and b.identity in a.seen)
    assert a.links.counters["joins"] == 1


async def test_another_mesh_secret_opens_no_link(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    stranger = replace(mesh.member("beta"), keyring=Keyring(MeshSecret(0, os.urandom(32))))
    b = await mesh.run(stranger, a)
    await poll(lambda: sum(b.links.counters.values()) > 0 and a.links.counters["cut off"] > 0)
    assert a.linked == b.linked == [] and b.identity not in a.seen
    other_epoch = replace(stranger, keyring=Keyring(MeshSecret(1, mesh.founder.keyring.current.key)))
    with pytest.raises(RemoteError, match="epoch"):
        await Hand.open(a, other_epoch)


async def test_gossip_alone_gives_nobody_anothers_link(mesh: Mesh) -> None:
    a, beta, gamma = await mesh.run(mesh.founder), mesh.member("beta"), mesh.member("gamma")
    a.links._lookup = lambda static: gamma.identity.public  # gamma claims every key for itself
    hand = await Hand.open(a, beta)
    await poll(lambda: a.linked == [beta.identity.public])
    hand.pipe.abort()
    borrowed = replace(beta, identity=gamma.identity)
    borrowed = replace(borrowed, chain=mesh.founder.chain)
    a.links._lookup = lambda static: None
    with pytest.raises(ConnectionError):
        await Hand.open(a, borrowed)


async def test_who_left_or_shows_our_own_identity_is_refused(mesh: Mesh) -> None:
    a, member = await mesh.run(mesh.founder), mesh.member("beta")
    a.left.add(member.identity.public)
    clone = replace(mesh.founder, static=StaticKey.generate(os.urandom))
    for membership in (member, clone):
        with pytest.raises(ConnectionError):
            await Hand.open(a, membership)
    await poll(lambda: a.links.counters["refused: a link of a peer that left or was revoked"] == 1)
    await poll(lambda: a.links.counters["refused: a link with our own identity"] == 1)
    with pytest.raises(ConnectionError):
        await Hand.open(a, mesh.founder)
    await poll(lambda: a.links.counters["refused: a stream opened with our own key"] == 1)


SPOILED: dict[str, Callable[[Hand], bytes]] = {
    "garbage": lambda hand: b"\x04\x00" + os.urandom(4096),
    "a flipped bit": lambda hand: hand.stream.seal(MESSAGE, b"x" * 50)[:-1] + b"\0",
    "an oversize frame": lambda hand: b"\xff\xff" + bytes(65535),
    "an empty frame": lambda hand: b"\0\0",
    "a repeated record": lambda hand: hand.stream.seal(9, b"") * 2,
    "data after the close": lambda hand: hand.stream.close() + b"\0\x20" + bytes(32),
    "not a node's message": lambda hand: hand.stream.seal(MESSAGE, b"\xc1garbage"),
}


@pytest.mark.parametrize("how", SPOILED)
async def test_a_spoiled_record_ends_its_own_link_alone(mesh: Mesh, how: str) -> None:
    a = await mesh.run(mesh.founder)
    good, bad = await Hand.open(a, mesh.member("beta")), await Hand.open(a, mesh.member("gamma"))
    await poll(lambda: len(a.linked) == 2)
    bad.pipe.put(SPOILED[how](bad))
    await bad.ended()
    await poll(lambda: len(a.links) == 1 and len(a.linked) == 1)
    assert a.links.counters["faults"] == 0 and a.runner.faults == 0
    good.pipe.abort()


async def test_records_of_unknown_kinds_are_skipped_and_counted(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"))
    await hand.pipe.write(hand.stream.seal(77, b"later") + hand.stream.seal(78, b""))
    await poll(lambda: a.links.counters["records of unknown kinds"] == 2)
    assert len(a.links) == 1
    await hand.pipe.write(hand.stream.close())
    await poll(lambda: a.links.counters["closed by the other end"] == 1)
    assert a.linked == []
    hand.pipe.abort()


async def test_a_far_end_that_does_not_read_loses_its_link(mesh: Mesh, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SEND_QUEUE", 200_000)
    a = await mesh.run(mesh.founder)
    hand = await Hand.open(a, mesh.member("beta"))
    await poll(lambda: len(a.linked) == 1)
    number = a.runner.node.links()[0][0]
    for _ in range(2000):  # more than the kernel's buffers and the queue hold together
        a.links.send(number, bytes(50_000))
        if a.links.counters["cut: does not read"]:
            break
    assert a.links.counters["cut: does not read"] == 1
    await poll(lambda: len(a.links) == 0 and a.linked == [])
    a.links.send(number, b"late")
    hand.pipe.abort()


async def test_a_state_that_is_not_durable_ends_the_link_and_says_nothing(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    a.store.error = StoreError("cannot write", "No space left on device", "free space")
    b = Peer(mesh.member("beta"))
    mesh.keep(await b.start(a))
    await poll(lambda: a.runner.failure is not None)
    await poll(lambda: len(a.links) == 0)
    assert b.identity not in a.seen


async def test_a_dial_that_fails_is_counted_and_leaves_nothing(mesh: Mesh) -> None:
    a, b = await mesh.run(mesh.founder), mesh.member("beta")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        dead = f"127.0.0.1:{closed.getsockname()[1]}"
    a.links.tell(Dial(b.identity.public, b.static.public, [dead, "nonsense", a.address]))
    await poll(lambda: a.links.counters["dials that reached nobody"] == 1)
    assert a.links.counters["dial failed"] >= 2 and len(a.links) == 0
    await poll(lambda: not a.links._tasks and not a.links._dialing)


async def test_a_dial_that_meets_another_peer_is_refused(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    b = Peer(mesh.member("beta"))
    await b.links.start()
    mesh.keep(b)
    wrong = IdentityKey.generate(os.urandom).public
    a.links.tell(Dial(wrong, b.membership.static.public, [b.address]))
    await poll(lambda: a.links.counters["dials that reached nobody"] == 1)
    assert a.links.counters["dial refused: another peer than the one that was dialled"] == 1


async def test_events_that_are_not_for_links_are_left_to_others(mesh: Mesh) -> None:
    a = await mesh.run(mesh.founder)
    assert not a.links.tell(PeerSeen(a.identity, a.body()))


async def test_closing_leaves_no_task_and_no_connection(mesh: Mesh) -> None:
    a, b = await mesh.run(mesh.founder), Peer(mesh.member("beta"))
    await b.start(a)
    idle = await connect(b.address)
    await poll(lambda: len(a.links) == len(b.links) == 1 and b.links.half_open == 1)
    await b.stop()
    await ended(idle)
    await poll(lambda: len(a.links) == 0)
    assert len(b.links) == b.links.half_open == 0 and not b.links._tasks
