from __future__ import annotations

import pytest

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Lease, LeaseSettled
from gossip.state.address_bodies import EndpointBody, NetworkBody
from tests.sim.people import identity_of, mac_of
from tests.unit.gossip.cores import Core, Wires
from tests.unit.gossip.test_node import three


def ask(core: Core, number: int, name: bytes, now: float = 1.0, address: str | None = None) -> Lease | Refusal | None:
    output, answer = core.node.allocate(number, name, now, address)
    core.take(output)
    return answer


def announce(wires: Wires, core: Core, number: int, name: bytes, now: float = 1.0) -> Lease:
    """Lease, waiting if need be, and announce."""
    answer = ask(core, number, name, now)
    wires.pump(now)
    if answer is None:
        answer = core.told(LeaseSettled)[-1].answer
    assert isinstance(answer, Lease), answer
    core.take(core.node.set_endpoint(EndpointBody(number, mac_of(name), [(answer.address, answer.number)], ""), now))
    wires.pump(now)
    return answer


def web(wires: Wires, core: Core, pool: str = "10.77.0.0/24") -> int:
    output, body = core.node.create_network("web", [pool], None, 0.5)
    core.take(output)
    wires.pump(0.5)
    assert isinstance(body, NetworkBody)
    return body.number


def test_who_owns_nothing_asks_the_founder_and_is_told() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    assert ask(c, number, b"job") is None
    assert ask(c, number, b"job") is None
    wires.pump(1.0)
    settled = c.told(LeaseSettled)
    assert [(each.network, each.endpoint_id) for each in settled] == [(number, b"job")]
    assert settled[0].answer == c.node.leases()[0] == ask(c, number, b"job")
    assert c.node.free(number) > 100
    assert isinstance(ask(c, number, b"next"), Lease), "and now it has its own"
    assert a.node.ranges(number) == c.node.ranges(number)


def test_one_request_is_answered_once_also_after_a_restart() -> None:
    wires, a, b, c = three()
    number = web(wires, a)
    ask(c, number, b"job")
    wires.far.clear()
    said = c.node.export()
    a.take(a.node.absorb(said, 1.0))
    owned = [each for each in a.node.ranges(number) if each.owner == c.identity]
    again = a.again().begin(2.0)
    again.take(again.node.absorb(said, 2.0))
    assert [each for each in again.node.ranges(number) if each.owner == c.identity] == owned and len(owned) == 1
    assert b.identity not in [each.owner for each in again.node.ranges(number)]


def test_nobody_to_ask_is_refused_at_once_and_nobody_that_answers_in_time() -> None:
    wires, a, _, c = three()
    number = web(wires, a, "10.77.0.0/30")
    assert [type(ask(a, number, b"%d" % n)) for n in range(3)] == [Lease, Lease, Refusal]
    wires.far.clear()
    assert ask(c, number, b"job") is None
    c.take(c.node.handle_timer(1.0 + limits.CLAIM_S))
    refusal = c.told(LeaseSettled)[-1].answer
    assert isinstance(refusal, Refusal) and refusal.code == "no-space" and "h0" in refusal.why


def test_a_release_ends_the_wait() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    ask(c, number, b"job")
    c.take(c.node.release(number, b"job", 1.1))
    assert [type(each.answer) for each in c.told(LeaseSettled)] == [Refusal]
    wires.pump(1.2)
    assert c.node.leases() == []


def test_the_next_donor_is_asked_when_one_is_silent() -> None:
    wires, a, b, c = three()
    number = web(wires, a)
    announce(wires, b, number, b"first")
    wires.cores.pop("h0")  # it is as good as dead: nothing is delivered to it or from it
    for key, (far, _) in list(wires.far.items()):
        if far is a or key[0] == "h0":
            del wires.far[key]
    assert ask(c, number, b"job", 2.0) is None
    wires.tick(2.0 + limits.CLAIM_S, 2.0, 0.1)
    assert [type(each.answer) for each in c.told(LeaseSettled)] == [Lease]


def test_addresses_are_asked_for_ahead_of_need() -> None:
    wires, a, _, c = three()
    number = web(wires, a, "10.77.0.0/22")
    for n in range(500):
        now = 1.0 + n
        answer = ask(c, number, b"%d" % n, now)
        wires.pump(now)
        assert n == 0 or isinstance(answer, Lease), f"allocation {n} had to wait"


def test_one_peer_gives_addresses_to_any_number_that_join_at_it() -> None:
    """Halving alone would leave it without any after as many joins as the range's length has bits."""
    wires, a, _, c = three()
    number = web(wires, a, "10.64.0.0/12")
    announce(wires, c, number, b"job")
    for n in range(40):
        a.take(a.node.donate(number, identity_of(f"newcomer{n}"), 10.0 + n))
        wires.pump(10.0 + n)
    owners = [each.owner for each in a.node.ranges(number)]
    assert [n for n in range(40) if identity_of(f"newcomer{n}") not in owners] == []
    assert a.node.ranges(number) == c.node.ranges(number)


def test_who_could_not_give_asks_for_more_by_itself() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    ask(c, number, b"first", address="10.77.0.70")
    wires.tick(2.0, 1.0)
    wires.far.clear()
    for n in range(14):
        assert isinstance(ask(c, number, b"%d" % n, 3.0), Lease)
    c.take(c.node.handle_timer(3.0 + limits.CLAIM_S))  # what it asked ahead came to nothing
    assert c.node.free(number) == 1
    with pytest.raises(Refusal):
        c.node.donate(number, identity_of("newcomer"), 9.0)
    timer = c.node.next_timer()
    assert timer is not None and timer[0] <= 9.0
    wires.link(c, a, 9.0)
    c.take(c.node.handle_timer(9.0))
    wires.tick(11.0, 9.0)
    c.take(c.node.donate(number, identity_of("newcomer"), 11.0))
    assert c.node.free(number) > 1


def test_an_address_in_anothers_range_comes_with_the_block_around_it() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    assert ask(c, number, b"job", address="10.77.0.70") is None
    wires.pump(1.0)
    answer = c.told(LeaseSettled)[-1].answer
    assert isinstance(answer, Lease) and answer.address == "10.77.0.70/24"
    own = [(each.start & 255, each.end & 255) for each in c.node.ranges(number) if each.owner == c.identity]
    assert own == [(64, 80)]
    assert isinstance(ask(c, number, b"near", address="10.77.0.71"), Lease)


def test_an_address_another_peer_has_leased_is_foreign() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    held = ask(a, number, b"mine")
    assert isinstance(held, Lease)
    assert ask(c, number, b"job", address=held.address.split("/")[0]) is None
    wires.tick(2.0, 1.0, 0.1)
    refusal = c.told(LeaseSettled)[-1].answer
    assert isinstance(refusal, Refusal) and refusal.code == "foreign" and "h0" in refusal.why


def test_leaving_ends_every_wait() -> None:
    wires, a, _, c = three()
    number = web(wires, a)
    ask(c, number, b"job")
    c.take(c.node.leave(1.1))
    assert [type(each.answer) for each in c.told(LeaseSettled)] == [Refusal]
