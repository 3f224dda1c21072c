from __future__ import annotations

from gossip.state.address_bodies import NetworkBody
from tests.sim.people import mac_of
from tests.unit.gossip.cores import Core, founder
from tests.unit.gossip.dying import LONG, Dying, attach, give, of_kind
from tests.unit.gossip.ipam.test_shares import announce
from tests.unit.gossip.reclaiming.test_consents import asks, hear


def test_a_sound_mesh_has_none() -> None:
    mesh = Dying(3)
    attach(mesh.cores[1], b"web", mesh.now)
    mesh.wires.pump(mesh.now)
    assert [core.node.check() for core in mesh.cores] == [[], [], []]


def test_space_of_who_is_gone_is_named() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    one.take(one.node.revoke(lost.identity, 0, "stolen", mesh.now))
    mesh.wires.pump(mesh.now)
    (line,) = two.node.check()
    assert "h2, which does not count as a member, owns 262144 addresses" in line


def test_a_registrar_that_is_gone_is_named() -> None:
    mesh = Dying(2)
    _, two = mesh.cores
    first = mesh.cores[0]
    left = say_left(first, mesh)
    hear(mesh, two, *left)
    assert any("gives them out, left" in line for line in two.node.check())


def say_left(core: Core, mesh: Dying) -> list[bytes]:
    """It leaves; only the leaving itself is heard."""
    core.take(core.node.leave(mesh.now))
    core.sent = []
    return of_kind(core, core, "left")


def test_a_network_whose_grants_are_missing_is_named() -> None:
    first = founder()
    alone = Core("h1").begin()
    alone.take(alone.node.absorb(of_kind(first, first, "peer", "network"), 0.0))
    lines = alone.node.check()
    assert any("who owns 10.32.0.0/12 is not known" in line for line in lines)
    assert any("not known who gives them out" in line for line in lines)


def test_a_range_given_twice_an_endpoint_without_range_and_a_promise_are_named() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    mesh.kill(lost)
    mesh.pass_(LONG)
    first = give(lost, two, mesh.now)
    address = attach(lost, b"web", mesh.now)
    hear(mesh, two, *of_kind(lost, lost, "endpoint"))
    hear(mesh, two, asks("h0", lost))
    lines = two.node.check()
    assert any("h2 is being reclaimed by h0" in line for line in lines)
    assert first.body is not None and address
    one.take(one.node._say(("other", b""), b"", mesh.now))


def test_an_endpoint_on_a_network_that_was_removed_meanwhile_is_named_until_it_is_detached() -> None:
    mesh = Dying(2)
    one, two = mesh.cores
    output, body = one.node.create_network("web", ["10.77.0.0/24"], None, mesh.now)
    one.take(output)
    assert isinstance(body, NetworkBody)
    number = body.number
    mesh.wires.pump(mesh.now)
    announce(mesh.wires, two, number, b"known", mesh.now)
    two.take(two.node.drop_endpoint(number, mac_of(b"known"), mesh.now))
    mesh.wires.pump(mesh.now)
    mesh.cut(one)
    announce(mesh.wires, two, number, b"job", mesh.now)
    one.take(one.node.remove_network(number, mesh.now))
    mesh.link(one, two)
    mesh.pass_(3.0)
    for core in (one, two):
        (line,) = core.node.check()
        assert "h1" in line and "no such network is known here" in line
    two.take(two.node.drop_endpoint(number, mac_of(b"job"), mesh.now))
    mesh.wires.pump(mesh.now)
    assert [core.node.check() for core in (one, two)] == [[], []]
