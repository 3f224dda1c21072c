"""Who is behind which MAC: announced endpoints rule, learned addresses are bounded, aged and nobody else's."""

from __future__ import annotations

import pytest

from meshnet.forwarder.switch import LEARNED_PER_PEER, LEARNED_S, LOCAL, Network
from meshnet.forwarder.table import Peer

A, B, C = (bytes([2, 0, 0, 0, 0, number]) for number in (1, 2, 3))


@pytest.fixture
def network() -> Network:
    return Network(1, "mt1", 1500, -1)


@pytest.fixture
def peers() -> tuple[Peer, Peer]:
    return Peer(b"a" * 32), Peer(b"b" * 32)


def mac(number: int) -> bytes:
    return b"\x06" + number.to_bytes(5)


def test_announced_endpoints_make_ports_and_members(network: Network, peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    network.set_endpoint(A, one)
    network.set_endpoint(B, one)
    network.set_endpoint(C, LOCAL)
    assert network.ports == {A: one, B: one, C: LOCAL} and network.members == {one: 2}
    network.set_endpoint(B, other)
    assert network.ports[B] is other and network.members == {one: 1, other: 1}
    network.drop_endpoint(A)
    network.drop_endpoint(A)
    assert network.members == {other: 1} and network.endpoints() == [C, B]


def test_only_a_member_may_speak_and_only_for_what_is_nobodys(network: Network, peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    network.set_endpoint(A, one)
    network.set_endpoint(C, LOCAL)
    assert not network.admits(other, mac(1), 0.0), "not a member"
    assert not network.admits(one, C, 0.0), "this host's own endpoint"
    network.set_endpoint(B, other)
    assert not network.admits(one, B, 0.0), "another peer's endpoint"
    assert not network.admits(one, b"\x01" + bytes(5), 0.0) and not network.admits(one, b"\xff" * 6, 0.0)
    assert network.ports == {A: one, C: LOCAL, B: other}
    assert network.admits(one, mac(1), 0.0) and network.ports[mac(1)] is one


def test_a_learned_address_moves_and_an_announced_one_does_not(network: Network, peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    network.set_endpoint(A, one)
    network.set_endpoint(B, other)
    assert network.admits(one, mac(1), 0.0)
    assert network.admits(other, mac(1), 1.0) and network.ports[mac(1)] is other
    network.set_endpoint(mac(1), one)
    assert not network.admits(other, mac(1), 2.0) and network.ports[mac(1)] is one
    network.age(LEARNED_S + 10)
    assert network.ports[mac(1)] is one


def test_learning_is_bounded_per_peer(network: Network, peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    network.set_endpoint(A, one)
    network.set_endpoint(B, other)
    assert all(network.admits(one, mac(number), 0.0) for number in range(LEARNED_PER_PEER))
    assert not network.admits(one, mac(LEARNED_PER_PEER), 0.0)
    assert network.admits(one, mac(0), 0.0), "known ones are refreshed"
    assert network.admits(other, mac(LEARNED_PER_PEER), 0.0)
    assert not network.admits(one, mac(LEARNED_PER_PEER), 0.0), "a full peer may not take over another's either"
    assert sum(port is one for port in network.ports.values()) == LEARNED_PER_PEER + 1


def test_learned_addresses_age(network: Network, peers: tuple[Peer, Peer]) -> None:
    one, _ = peers
    network.set_endpoint(A, one)
    network.admits(one, mac(1), 0.0)
    network.admits(one, mac(2), 100.0)
    network.age(LEARNED_S)
    assert mac(1) in network.ports
    network.age(LEARNED_S + 1)
    assert mac(1) not in network.ports and mac(2) in network.ports and A in network.ports


def test_a_peer_that_is_no_member_any_more_loses_what_was_learned(network: Network, peers: tuple[Peer, Peer]) -> None:
    one, other = peers
    network.set_endpoint(A, one)
    network.set_endpoint(B, other)
    network.admits(one, mac(1), 0.0)
    network.admits(other, mac(2), 0.0)
    network.drop_endpoint(A)
    assert network.ports == {B: other, mac(2): other}
    network.forget_peer(other)
    assert network.ports == {} and network.members == {} and network.endpoints() == []


def test_another_device_inherits_the_announced_table(network: Network, peers: tuple[Peer, Peer]) -> None:
    network.set_endpoint(A, peers[0])
    network.set_endpoint(C, LOCAL)
    after = Network(1, "mt1", 1500, -1)
    after.inherit(network)
    assert after.ports == {A: peers[0], C: LOCAL} and after.members == {peers[0]: 1}
