"""Addresses lent: who has one, for how long, and what a crash, a release or a leaving makes of it."""

from __future__ import annotations

from gossip import limits
from gossip.errors import Refusal
from gossip.events import EndpointGone, EndpointSet, Lease, LeaseSettled, Trouble
from gossip.ipam.loans import HOLDING
from gossip.ipam.ranges import address_of
from gossip.state.address_bodies import LOAN, REQUEST, EndpointBody, LoanBody, RequestBody, loan_key
from gossip.state.bodies import decode_body, encode_body
from gossip.state.body import least_bytes
from gossip.state.statements import key_of
from tests.sim.people import mac_of
from tests.unit.gossip.cores import Core, Wires, say, wire_of
from tests.unit.gossip.ipam.test_shares import ask, web
from tests.unit.gossip.test_node import three

WANTED = "10.77.0.70"
SPOT = address_of(WANTED)


def lent() -> tuple[Wires, Core, Core, Core, int]:
    """h0 owns the network and uses what is beside the wanted address, which it therefore lends to h2."""
    wires, a, b, c = three()
    number = web(wires, a)
    assert isinstance(ask(a, number, b"beside", address="10.77.0.71"), Lease)
    assert ask(c, number, b"job", address=WANTED) is None
    wires.pump(1.0)
    return wires, a, b, c, number


def settled(core: Core) -> Lease | Refusal:
    return core.told(LeaseSettled)[-1].answer


def loan_of(core: Core, number: int) -> LoanBody | None:
    return core.node._directory.lent(number, SPOT)


def asks(core: Core, owner: Core, number: int) -> bool:
    held = core.node._replica.view.owners.get(owner.identity)
    said = [] if held is None else [s for s in held.held.values() if s.kind == REQUEST and s.body is not None]
    bodies = [decode_body(REQUEST, s.body) for s in said if s.body is not None]
    return any(isinstance(body, RequestBody) and body.start == least_bytes(SPOT) for body in bodies)


def announce(core: Core, lease: Lease, now: float = 1.0) -> None:
    body = EndpointBody(lease.network, mac_of(b"job"), [(lease.address, lease.number)], "job")
    core.take(core.node.set_endpoint(body, now))


def meet(*cores: Core, now: float) -> None:
    """All hear all of each other, twice, without links."""
    for _ in range(2):
        for one in cores:
            for other in cores:
                if one is not other:
                    other.take(other.node.absorb(tell(one), now))


def tell(core: Core) -> list[bytes]:
    """Everything held, withdrawals too."""
    return [statement.wire() for statement in core.node._replica.view.statements()]


def test_one_address_is_lent_and_counts_everywhere() -> None:
    wires, a, b, c, number = lent()
    lease, loan = settled(c), loan_of(b, number)
    assert isinstance(lease, Lease) and loan is not None
    assert (lease.address, lease.number) == ("10.77.0.70/24", loan.number)
    assert [each.owner for each in c.node.ranges(number)] == [a.identity], "the range changed hands as little as ever"
    announce(c, lease)
    wires.pump(1.0)
    for core in (a, b, c):
        assert [(owner, body.name) for owner, body in core.node.endpoints(number)] == [(c.identity, "job")]
    assert ask(c, number, b"job", address=WANTED) == lease == ask(c, number, b"job")
    assert asks(a, c, number), "the request is said as long as the lease lasts"
    assert c.node.pending() == []


def test_who_has_few_tiles_is_given_a_block_and_who_has_many_borrows() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    for n in range(limits.FEW_TILES):
        assert ask(c, number, b"%d" % n, 1.0 + n, f"10.77.0.{20 + 50 * n}") is None
        wires.pump(1.0 + n)
    owned = c.node.ranges(number)
    assert sum(each.owner == c.identity for each in owned) == limits.FEW_TILES and loan_of(c, number) is None
    assert ask(c, number, b"job", 9.0, "10.77.0.150") is None
    wires.pump(9.0)
    assert isinstance(settled(c), Lease) and c.node.ranges(number) == owned


def test_a_lent_address_is_in_use_for_its_owner_and_taken_for_all_others() -> None:
    wires, a, b, _, number = lent()
    free = a.node.free(number)
    again = a.again().begin(2.0)
    for owner in (a, again):
        refusal = ask(owner, number, b"mine", 2.0, WANTED)
        assert isinstance(refusal, Refusal) and refusal.code == "taken" and "h2" in refusal.why
        assert owner.node.free(number) == free
        leased = [ask(owner, number, b"%d" % n, 2.0) for n in range(free)]
        assert all(isinstance(each, Lease) and not each.address.startswith(WANTED) for each in leased)
    refusal = ask(b, number, b"mine", 2.0, WANTED)
    assert isinstance(refusal, Refusal) and refusal.code == "taken" and "h2" in refusal.why
    wires.pump(2.0)


def test_a_lent_address_is_never_given_away() -> None:
    _, a, _, _, number = lent()
    given = 0
    for n in range(12):
        try:
            a.take(a.node.donate(number, bytes((n + 1,)) * 32, 2.0))
        except Refusal:
            break
        given += 1
    owners = [each.owner for each in a.node.ranges(number) if each.start <= SPOT < each.end]
    assert owners == [a.identity] and given > 3 and loan_of(a, number) is not None


def test_an_address_used_by_anothers_endpoint_is_taken_at_once_naming_it() -> None:
    wires, a, b, c = three()
    number = web(wires, a)
    lease = ask(a, number, b"mine", address=WANTED)
    assert isinstance(lease, Lease)
    announce(a, lease)
    wires.pump(1.0)
    refusal = ask(c, number, b"job", address=WANTED)
    assert isinstance(refusal, Refusal) and refusal.code == "taken"
    assert "h0" in refusal.why and "job" in refusal.why
    assert b.node.pending() == []


def test_what_is_released_is_kept_for_its_borrower_and_then_free() -> None:
    wires, a, b, c, number = lent()
    first = settled(c)
    c.take(c.node.release(number, b"job", 2.0))
    wires.pump(2.0)
    assert isinstance(first, Lease) and not asks(a, c, number) and c.node.leases() == []
    refusal = ask(b, number, b"mine", 2.0, WANTED)
    assert isinstance(refusal, Refusal) and refusal.code == "taken"
    assert ask(c, number, b"other", 2.5, WANTED) is None, "the old loan is no answer to a new request"
    wires.pump(2.5)
    second = settled(c)
    assert isinstance(second, Lease) and second.number > first.number
    c.take(c.node.release(number, b"other", 3.0))
    wires.pump(3.0)
    timer = a.node.next_timer()
    assert timer is not None
    a.take(a.node.handle_timer(3.0 + limits.LOAN_KEPT_S - 1))
    assert loan_of(a, number) is not None
    a.take(a.node.handle_timer(3.0 + limits.LOAN_KEPT_S + 1))
    assert loan_of(a, number) is None
    third = ask(a, number, b"mine", 4000.0, WANTED)
    assert isinstance(third, Lease) and third.number > second.number


def test_a_restarted_borrower_keeps_lease_and_request_and_a_restarted_lender_the_loan() -> None:
    _, a, _, c, number = lent()
    lease = settled(c)
    assert isinstance(lease, Lease)
    said = body_of(c, number)
    borrower, lender = c.again().begin(5.0), a.again().begin(5.0)
    assert body_of(borrower, number) == said, "as it was answered"
    meet(borrower, lender, now=5.0)
    assert borrower.node.leases() == [lease] and asks(lender, borrower, number)
    lender.take(lender.node.handle_timer(5000.0))
    assert loan_of(lender, number) == loan_of(c, number)
    announce(borrower, lease, 5.0)
    meet(borrower, lender, now=5001.0)
    assert [owner for owner, _ in lender.node.endpoints(number)] == [c.identity]


def test_a_loan_that_comes_after_a_restart_is_nobodys_until_it_is_asked_for_again() -> None:
    """The life that asked is over; the lender hears that, and may lend or use the address once it was kept."""
    wires, a, _, c = three()
    number = web(wires, a)
    ask(a, number, b"beside", address="10.77.0.71")
    assert ask(c, number, b"job", address=WANTED) is None
    wires.far.clear()
    request = c.node.export()
    a.take(a.node.absorb(request, 1.0))
    old = a.node.export()
    assert loan_of(a, number) is not None
    again = c.again().begin(2.0)
    assert not asks(again, again, number)
    assert ask(again, number, b"job", 2.0, WANTED) is None
    again.take(again.node.absorb(old, 2.0))
    assert again.node.leases() == [] and loan_of(again, number) is not None
    meet(again, a, now=2.1)
    lease, loan = settled(again), loan_of(a, number)
    assert isinstance(lease, Lease) and loan is not None and lease.number == loan.number


def test_a_borrower_that_leaves_ends_the_loan_at_once() -> None:
    wires, a, _, c, number = lent()
    c.take(c.node.leave(2.0))
    wires.pump(2.0)
    assert loan_of(a, number) is None
    assert isinstance(ask(a, number, b"mine", 2.0, WANTED), Lease)


def test_a_lender_that_leaves_gives_the_address_to_who_borrows_it() -> None:
    wires, a, b, c, number = lent()
    lease = settled(c)
    assert isinstance(lease, Lease)
    announce(c, lease)
    wires.pump(1.0)
    assert ask(b, number, b"neighbour", 2.0) is None
    wires.pump(2.0)
    a.take(a.node.leave(3.0))
    wires.pump(3.0)
    heirs = [each.owner for each in b.node.ranges(number)]
    assert heirs == [b.identity, c.identity, b.identity], "the neighbour has the rest"
    owner = next(r.owner for r in b.node.ranges(number) if r.start <= SPOT < r.end)
    assert owner == c.identity and c.node.leases() == [lease]
    assert [owner for owner, _ in b.node.endpoints(number)] == [c.identity]
    assert not asks(b, c, number) and c.told(EndpointGone) == []


def test_a_lease_outlives_the_news_that_its_lender_left_before_the_grant_comes() -> None:
    wires, a, _, c, number = lent()
    wires.far.clear()
    a.take(a.node.leave(3.0))
    c.take(c.node.absorb(wire_of(a, "h0", "left"), 3.0))
    c.take(c.node.handle_timer(4.0 + limits.LAPSE_S))
    assert loan_of(c, number) is None and len(c.node.leases()) == 1
    c.take(c.node.absorb(wire_of(a, "h0", "grant"), 20.0))
    assert [each.owner for each in c.node.ranges(number) if each.start <= SPOT < each.end] == [c.identity]
    assert len(c.node.leases()) == 1 and not asks(c, c, number)


def test_another_peers_request_moves_no_loan() -> None:
    _, a, b, c, number = lent()
    body = RequestBody(a.identity, number, "", least_bytes(SPOT), 0, b"whatever")
    wire = say("h1", (REQUEST, body.key), (b.node.incarnation, 10**6), encode_body(REQUEST, body)).wire()
    before = loan_of(a, number)
    a.take(a.node.absorb([wire], 2.0))
    assert before is not None and before.to == c.identity and loan_of(a, number) == before


def test_a_loan_taken_back_under_its_borrower_ends_the_lease_with_a_word() -> None:
    wires, a, _, c, number = lent()
    lease = settled(c)
    assert isinstance(lease, Lease)
    announce(c, lease)
    wires.pump(1.0)
    gone = say("h0", (LOAN, loan_key(number, SPOT)), (a.node.incarnation, 10**6), None).wire()
    c.take(c.node.absorb([gone], 2.0))
    assert c.node.leases() == [lease] and [type(e) for e in c.told(EndpointGone)] == [EndpointGone]
    timer = c.node.next_timer()
    assert timer is not None and timer[0] <= 2.0 + limits.LAPSE_S
    c.take(c.node.handle_timer(2.0 + limits.LAPSE_S))
    c.take(c.node.handle_timer(3.0 + limits.LAPSE_S))
    assert c.node.leases() == [] and not asks(c, c, number)
    assert len([e for e in c.told(Trouble) if WANTED in e.what]) == 1


def test_a_lapsed_lease_that_is_released_wakes_nobody() -> None:
    wires, a, _, c, number = lent()
    lease = settled(c)
    assert isinstance(lease, Lease)
    announce(c, lease)
    wires.pump(1.0)
    gone = say("h0", (LOAN, loan_key(number, SPOT)), (a.node.incarnation, 10**6), None).wire()
    c.take(c.node.absorb([gone], 2.0))
    assert c.node._asking.next_time() == 2.0 + limits.LAPSE_S
    c.take(c.node.release(number, b"job", 3.0))
    assert c.node._asking.next_time() is None


def test_a_loan_that_comes_later_than_the_grant_that_made_it_one_saves_the_lease() -> None:
    _, a, _, c, number = lent()
    lease, loan = settled(c), loan_of(c, number)
    assert isinstance(lease, Lease) and loan is not None
    announce(c, lease)
    slot = (LOAN, loan_key(number, SPOT))
    c.take(c.node.absorb([say("h0", slot, (a.node.incarnation, 10**6), None).wire()], 2.0))
    back = say("h0", slot, (a.node.incarnation, 10**6 + 1), encode_body(LOAN, loan)).wire()
    c.take(c.node.absorb([back], 3.0))
    c.take(c.node.handle_timer(2.0 + limits.LAPSE_S))
    assert c.node.leases() == [lease]
    assert [e.body.name for e in c.told(EndpointSet)] == ["job"], "the host took it out of its table meanwhile"


def test_a_quarantined_address_is_held_without_being_asked_for() -> None:
    """What a peer used of a range it lost is lent to it without a request; its lease holds it when no endpoint does."""
    wires, a, _, c, number = lent()
    lease = settled(c)
    assert isinstance(lease, Lease)
    c.take(c.node._say((REQUEST, request_slot(number)), None, 1.5))  # as if it had never asked
    assert asks(c, c, number), "it says at once that it holds the address"
    wires.pump(1.5)
    loan = loan_of(a, number)
    assert loan is not None and loan.number == lease.number, "which is not answered by another loan"
    held = decode_body(REQUEST, body_of(c, number))
    assert isinstance(held, RequestBody) and held.nonce == HOLDING
    c.take(c.node.release(number, b"job", 2.0))
    assert not asks(c, c, number)


def request_slot(number: int) -> bytes:
    body = RequestBody(bytes(32), number, "", least_bytes(SPOT), 0, bytes(8))
    return key_of(bytes(32), REQUEST, encode_body(REQUEST, body), body)


def body_of(core: Core, number: int) -> bytes:
    held = core.node._replica.view.get(core.identity, (REQUEST, request_slot(number)))
    assert held is not None and held.body is not None
    return held.body


def test_a_reserved_or_leased_address_is_never_lent() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    ask(a, number, b"quiet", address=WANTED)
    for text in (WANTED, "10.77.0.1", "10.77.0.0", "10.77.0.255"):
        body = RequestBody(a.identity, number, "", least_bytes(address_of(text)), 0, b"whatever")
        slot = (REQUEST, body.key)
        wire = say("h2", slot, (c.node.incarnation, 10**6), encode_body(REQUEST, body)).wire()
        a.take(a.node.absorb([wire], 2.0))
        assert a.node._directory.lent(number, address_of(text)) is None
    assert [r.owner for r in a.node.ranges(number)] == [a.identity]


def test_loans_are_bounded() -> None:
    wires, a, _, c, number = lent()
    limit, limits.MAX_LENT = limits.MAX_LENT, 1
    try:
        ask(a, number, b"other", address="10.77.0.81")
        assert ask(c, number, b"more", 2.0, "10.77.0.80") is None
        wires.tick(3.5, 2.0, 0.1)
    finally:
        limits.MAX_LENT = limit
    assert isinstance(settled(c), Refusal)


def test_the_last_address_of_a_tiny_pool_is_lent_too() -> None:
    for pool, mine, wanted in (("10.77.0.0/31", "10.77.0.0", "10.77.0.1"), ("fd77::/127", "fd77::1", "fd77::")):
        wires, a, _, c = three()
        number = web(wires, a, pool)
        assert isinstance(ask(a, number, b"mine", address=mine), Lease)
        assert ask(c, number, b"job", address=wanted) is None
        wires.pump(1.0)
        lease = settled(c)
        assert isinstance(lease, Lease) and lease.address.startswith(wanted) and a.node.free(number) == 0
