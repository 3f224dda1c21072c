from __future__ import annotations

from tests.unit.gossip.dying import Dying, attach, give, lend, owned


def digests(mesh: Dying) -> list[tuple[int, bytes]]:
    lost = mesh.cores[-1].identity
    return [core.node._estates.digest(lost, [lost]) for core in mesh.cores[:-1]]


def test_it_is_equal_for_all_who_know_the_same() -> None:
    mesh = Dying(3)
    attach(mesh.cores[-1], b"web", mesh.now)
    mesh.wires.pump(mesh.now)
    first, second = digests(mesh)
    assert first == second and first[0] == 1


def test_each_thing_that_matters_changes_it() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    seen = [digests(mesh)[0]]
    attach(lost, b"web", mesh.now)
    mesh.wires.pump(mesh.now)
    seen += digests(mesh)[:1]
    give(lost, two, mesh.now)
    mesh.wires.pump(mesh.now)
    seen += digests(mesh)[:1]
    lend(lost, two, mesh.now)
    mesh.wires.pump(mesh.now)
    seen += digests(mesh)[:1]
    assert digests(mesh)[0] == digests(mesh)[1]
    one.take(one.node._say(("other", b""), b"", mesh.now))
    assert len(dict.fromkeys(seen)) == len(seen) and digests(mesh)[0] == seen[-1]


def test_it_lists_tiles_loans_and_uses() -> None:
    mesh = Dying(3)
    one, _, lost = mesh.cores
    address = attach(lost, b"web", mesh.now)
    mesh.wires.pump(mesh.now)
    estate = one.node._estates.of(lost.identity)
    assert sum(tile.end - tile.start for _, tile in estate.tiles) == owned(one, lost)
    assert [use.name for use in estate.uses] == ["web"] and address.startswith("10.")
    assert estate.loans == [] and estate.fences == [] and estate.runs == []


def test_who_may_own_something_must_agree() -> None:
    mesh = Dying(4)
    one, two, three, lost = mesh.cores
    assert one.node._estates.electorate([lost.identity]) == sorted(c.identity for c in (one, two, three))
    three.take(three.node.leave(mesh.now))
    mesh.wires.pump(mesh.now)
    assert one.node._estates.electorate([lost.identity]) == sorted(c.identity for c in (one, two))
    assert one.node._estates.electorate([]) == sorted(c.identity for c in (one, two, lost))
