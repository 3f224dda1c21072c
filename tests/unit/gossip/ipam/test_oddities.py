from __future__ import annotations

from tests.unit.gossip.cores import Core, founder
from tests.unit.gossip.dying import LONG, Dying, attach, give, of_kind
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
