from __future__ import annotations

import pytest

from gossip.errors import Refusal
from gossip.events import EndpointGone, Lease, NetworkSettled, ReclaimDone
from gossip.ipam.ranges import show
from tests.unit.gossip.cores import Core
from tests.unit.gossip.dying import LONG, Dying, all_owned, attach, lend, owned

WHOLE = 2**20


def taken(mesh: Dying, admin: Core, lost: Core) -> ReclaimDone:
    """The peer dies and is reclaimed."""
    mesh.kill(lost)
    mesh.pass_(LONG)
    answer = mesh.reclaim(admin, lost)
    answer = mesh.settled(admin, 2.0) if answer is None else answer
    assert isinstance(answer, ReclaimDone), answer
    return answer


def owner_of(core: Core, address: int) -> bytes | None:
    return core.node._directory.rings[1].owner(address)


def test_what_was_lent_is_the_borrowers_and_the_rest_the_admins() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    address = lend(lost, two, mesh.now)
    mesh.wires.pump(mesh.now)
    taken(mesh, one, lost)
    for core in (one, two):
        assert owner_of(core, address) == two.identity
        assert owner_of(core, address - 1) == owner_of(core, address + 1) == one.identity
        assert all_owned(core) == WHOLE and core.node.check() == []


def test_what_was_lent_to_the_admin_it_has_with_the_rest() -> None:
    mesh = Dying(2)
    one, lost = mesh.cores
    address = lend(lost, one, mesh.now)
    mesh.wires.pump(mesh.now)
    answer = taken(mesh, one, lost)
    assert owner_of(one, address) == one.identity and len(answer.ranges) == 1


def test_what_an_endpoint_uses_is_nobody_elses_until_released() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    text = attach(lost, b"web", mesh.now).split("/")[0]
    mesh.wires.pump(mesh.now)
    assert taken(mesh, one, lost).quarantined == [(1, text)]
    output, answer = one.node.allocate(1, b"mine", mesh.now, text)
    assert isinstance(answer, Refusal) and answer.code == "taken"
    one.take(output)
    with pytest.raises(Refusal, match="does not lend it"):
        two.node.release_address(1, text, mesh.now)
    one.take(one.node.release_address(1, text, mesh.now))
    output, answer = one.node.allocate(1, b"mine", mesh.now, text)
    assert isinstance(answer, Lease)


def test_what_one_dead_peer_lent_another_stays_lent_to_that_one() -> None:
    mesh = Dying(4)
    one, two, lost, borrower = mesh.cores
    address = lend(lost, borrower, mesh.now)
    mesh.wires.pump(mesh.now)
    for core in (lost, borrower):
        mesh.kill(core)
    mesh.pass_(LONG)
    assert mesh.reclaim(one, lost, borrower) is None
    answer = mesh.settled(one, 2.0)
    assert isinstance(answer, ReclaimDone) and answer.quarantined == [(1, show(address))]
    assert owner_of(two, address) == one.identity
    loan = two.node._directory.lent(1, address)
    assert loan is not None and (loan.to, loan.number) == (borrower.identity, 7)


def test_a_returned_peer_goes_on_with_what_is_quarantined() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    text = attach(lost, b"web", mesh.now)
    mesh.wires.pump(mesh.now)
    taken(mesh, one, lost)
    back = mesh.restart(lost, one, two)
    mesh.pass_(8.0)
    assert [lease.address for lease in back.node.leases()] == [text]
    for core in (one, two, back):
        assert [body.name for _, body in core.node.endpoints(1)] == ["web"]
        assert core.node.check() == []
    assert not back.told(EndpointGone)
    with pytest.raises(Refusal, match="uses it"):
        one.node.release_address(1, text.split("/")[0], mesh.now)


def test_a_returned_peer_gives_up_what_nobody_knew_it_used() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    mesh.cut(lost)
    attach(lost, b"late", mesh.now)
    assert taken(mesh, one, lost).quarantined == []
    back = mesh.restart(lost, one, two)
    mesh.pass_(1.0)
    assert back.node.leases() == []


def test_a_dead_registrars_numbers_and_names_go_on() -> None:
    mesh = Dying(3)
    first, two, three = mesh.cores
    output, _ = first.node.create_network("db", ["10.9.0.0/24"], None, mesh.now)
    first.take(output)
    mesh.wires.pump(mesh.now)
    taken(mesh, two, first)
    for core in (two, three):
        assert core.node.registrar() == two.identity
        assert [(name, owner) for name, _, owner in core.node.names()] == [("db", two.identity)]
        assert [body.name for body in core.node.networks()] == ["default", "db"]
        assert core.node.check() == []
    output, answer = three.node.create_network("web", ["10.8.0.0/24"], None, mesh.now)
    three.take(output)
    assert answer is None
    mesh.pass_(1.0)
    assert not isinstance(three.told(NetworkSettled)[-1].answer, Refusal)


def test_a_peer_that_left_or_is_revoked_may_be_named_and_keeps_nothing() -> None:
    mesh = Dying(3)
    one, two, lost = mesh.cores
    attach(lost, b"web", mesh.now)
    mesh.wires.pump(mesh.now)
    one.take(one.node.revoke(lost.identity, 0, "stolen", mesh.now))
    mesh.wires.pump(mesh.now)
    assert mesh.reclaim(one, lost) is None, "it need not have been silent"
    answer = mesh.settled(one, 2.0)
    assert isinstance(answer, ReclaimDone) and answer.quarantined == []
    assert owned(two, lost) == 0 and all_owned(two) == WHOLE


def test_bad_addresses_are_not_released() -> None:
    mesh = Dying(2)
    one, two = mesh.cores
    for text, why in (("nonsense", "no IP address"), (show(2**24), "does not lend")):
        with pytest.raises(Refusal, match=why):
            one.node.release_address(1, text, mesh.now)
    address = lend(one, two, mesh.now)
    one.take(one.node.release_address(1, show(address), mesh.now))  # its borrower does not use it
    assert one.node._asking.loans.lent() == {}
