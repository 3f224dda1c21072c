from __future__ import annotations

import pytest

from gossip import limits
from gossip.errors import Refusal, RemoteError
from gossip.events import NetworkGone, NetworkSeen, NetworkSettled
from gossip.networks.numbers import number_of
from gossip.state.address_bodies import GRANT, Grant, NetworkBody
from gossip.state.bodies import decode_body
from gossip.state.statements import parse
from tests.sim.people import MESH, identity_of, mac_of
from tests.unit.gossip.cores import Core, Wires, founder, member
from tests.unit.gossip.dying import Dying
from tests.unit.gossip.ipam.test_shares import announce
from tests.unit.gossip.test_node import three


def create(
    core: Core, name: str, *pools: str, mtu: int | None = None, now: float = 1.0
) -> NetworkBody | Refusal | None:
    output, answer = core.node.create_network(name, pools, mtu, now)
    core.take(output)
    return answer


def settled(core: Core) -> NetworkBody | Refusal:
    return core.told(NetworkSettled)[-1].answer


def test_the_registrar_founds_at_once_and_asks_nobody() -> None:
    core = founder()
    body = create(core, "web", "10.77.0.0/16", mtu=9000)
    assert body == NetworkBody(number_of(MESH, "web"), "web", ["10.77.0.0/16"], 9000)
    assert NetworkSeen(body) in core.events and body in core.again().node.networks()
    assert core.node.free(body.number) == 2**16 - 3
    assert core.node.names() == [("web", body.number, core.identity)]


def test_another_peer_is_given_the_number_over_any_graph_of_links() -> None:
    wires, a, b, c = three()
    assert create(c, "web") is None
    assert create(c, "web") is None, "asked again while it waits"
    wires.pump(1.0)
    body = settled(c)
    assert isinstance(body, NetworkBody) and len(c.told(NetworkSettled)) == 1
    assert body in a.node.networks() and body in b.node.networks()
    assert [each.owner for each in a.node.ranges(body.number)] == [c.identity]
    assert a.node.summary() == c.node.summary()
    assert not [row for row in a.node.export() if b"request" in row], "the request was withdrawn"


def test_two_claims_at_once_make_one_network() -> None:
    wires, a, b, c = three()
    assert create(b, "web") is None and create(c, "web") is None
    wires.pump(1.0)
    assert settled(b) == settled(c) == next(body for body in a.node.networks() if body.name == "web")
    assert len(a.node.names()) == 1


def test_a_known_network_is_the_answer_unless_it_was_wanted_otherwise() -> None:
    wires, a, b, _ = three()
    body = create(a, "web", "10.77.0.0/16")
    wires.pump(1.0)
    assert create(b, "web") == create(b, "web", "10.77.0.0/16") == create(b, "web", mtu=1500) == body
    for wanted in (create(b, "web", "10.78.0.0/16"), create(b, "web", mtu=9000)):
        assert isinstance(wanted, Refusal) and wanted.code == "taken" and "10.77.0.0/16" in wanted.why


@pytest.mark.parametrize(
    ("name", "pools"),
    [
        ("", ()),
        ("Web", ()),
        ("a" * 64, ()),
        ("web", ("10.0.0.0/8", "10.1.0.0/16")),
        ("web", ("10.0.0.1/8",)),
        ("web", ("nothing",)),
        ("web", ("10.0.0.0/24",) * 9),
    ],
)
def test_nonsense_is_refused(name: str, pools: tuple[str, ...]) -> None:
    core = founder()
    before = dict(core.store)
    answer = create(core, name, *pools)
    assert isinstance(answer, Refusal) and answer.code == "invalid" and answer.what and answer.fix
    assert core.store == before


def test_without_the_registrar_the_refusal_names_it_in_time() -> None:
    a = founder()
    b = member("h1", a)
    assert create(b, "web") is None
    timer = b.node.next_timer()
    assert timer is not None and timer[0] <= 1.0 + limits.CLAIM_S
    b.take(b.node.handle_timer(1.0 + limits.CLAIM_S))
    refusal = settled(b)
    assert isinstance(refusal, Refusal) and refusal.code == "unreachable"
    assert "h0" in refusal.why and "start h0" in refusal.fix


def test_a_grant_that_comes_too_late_is_given_back_and_its_number_spent() -> None:
    a = founder()
    b = member("h1", a)
    create(b, "web")
    asked = b.node.export()
    b.take(b.node.handle_timer(2.0))
    a.take(a.node.absorb(asked, 2.0))
    assert a.node.names() == [("web", number_of(MESH, "web"), b.identity)]
    wires = Wires()
    wires.link(a, b, 3.0)
    assert a.node.names() == b.node.names() == []
    body = create(a, "web", now=4.0)
    assert isinstance(body, NetworkBody) and body.number == number_of(MESH, "web") + 1


def test_a_claim_whose_peer_died_is_named_and_given_up_after_its_restart() -> None:
    a = founder()
    b, c = member("h1", a), member("h2", a)
    create(b, "web")
    a.take(a.node.absorb(b.node.export(), 1.0))
    c.take(c.node.absorb(a.node.export(), 1.0))
    assert create(c, "web") is None
    c.take(c.node.handle_timer(2.0))
    refusal = settled(c)
    assert isinstance(refusal, Refusal) and refusal.code == "taken" and "h1 holds that name" in refusal.why
    again = b.again().begin(3.0)
    Wires().link(a, again, 4.0)
    assert a.node.names() == []


def test_removing_frees_the_name_and_is_told() -> None:
    wires, a, b, c = three()
    create(b, "web", "10.77.0.0/24")
    wires.pump(1.0)
    body = settled(b)
    assert isinstance(body, NetworkBody)
    with pytest.raises(Refusal) as refusal:
        c.node.remove_network(body.number, 2.0)
    assert refusal.value.code == "not-founder" and "h1" in refusal.value.why
    b.take(b.node.remove_network(body.number, 2.0))
    wires.pump(2.0)
    assert a.told(NetworkGone) == b.told(NetworkGone) == c.told(NetworkGone) == [NetworkGone(body)]
    assert body not in b.again().node.networks()
    assert create(c, "web", "10.78.0.0/24", now=3.0) is None
    wires.pump(3.0)
    new = settled(c)
    assert isinstance(new, NetworkBody) and new.number == body.number + 1 and new in b.node.networks()


def test_a_network_in_use_or_the_default_one_is_not_removed() -> None:
    wires, a, _, c = three()
    create(a, "web", "10.77.0.0/24")
    wires.pump(1.0)
    number = next(body.number for body in a.node.networks() if body.name == "web")
    announce(wires, c, number, b"job")
    for unwanted, code in ((number, "in-use"), (1, "invalid"), (77, "unknown-network")):
        with pytest.raises(Refusal) as refusal:
            a.node.remove_network(unwanted, 2.0)
        assert refusal.value.code == code
    c.take(c.node.drop_endpoint(number, mac_of(b"job"), 3.0))
    wires.pump(3.0)
    a.take(a.node.remove_network(number, 3.0))
    assert [body.number for body in a.node.networks()] == [1]


def test_the_number_pool_goes_to_an_heir_who_founds_and_knows_all_names() -> None:
    wires, a, b, c = three()
    create(c, "web")
    wires.pump(1.0)
    a.take(a.node.leave(2.0))
    wires.pump(2.0)
    heir = b.node.registrar()
    assert heir == c.node.registrar() and heir in (b.identity, c.identity)
    create(b, "db", now=3.0)
    create(c, "cache", now=3.0)
    wires.pump(3.0)
    assert {name for name, _, _ in b.node.names()} == {"web", "db", "cache"} == {n for n, _, _ in c.node.names()}
    assert create(b, "web", now=4.0) == next(body for body in c.node.networks() if body.name == "web")


def test_a_mesh_of_an_earlier_version_gets_its_number_pool_when_its_founder_starts() -> None:
    core = founder()
    old = Core("h0", {key: value for key, value in core.store.items() if not _of_numbers(value)})
    assert old.node.registrar() is None
    again = old.begin(1.0)
    assert again.node.registrar() == identity_of("h0") and again.node.summary() != []


def _of_numbers(value: bytes) -> bool:
    try:
        statement = parse(value)
    except RemoteError:
        return False
    body = decode_body(GRANT, statement.body) if statement.kind == GRANT and statement.body else None
    return isinstance(body, Grant) and body.network == 0


def test_a_removed_network_leaves_nothing_to_allocate_from() -> None:
    core = founder()
    body = create(core, "web")
    assert isinstance(body, NetworkBody)
    core.take(core.node.remove_network(body.number, 1.0))
    _, answer = core.node.allocate(body.number, b"e", 1.0)
    assert isinstance(answer, Refusal) and answer.code == "unknown-network"


# --- the registrar ----------------------------------------------------------------------------------------------------


def test_the_registrar_hands_the_numbers_on_and_keeps_its_networks() -> None:
    mesh = Dying(3)
    first, two, last = mesh.cores
    first.take(first.node.create_network("db", ["10.9.0.0/24"], None, mesh.now)[0])
    mesh.wires.pump(mesh.now)
    first.take(first.node.hand_registrar(two.identity, mesh.now))
    mesh.wires.pump(mesh.now)
    for core in mesh.cores:
        assert core.node.registrar() == two.identity
        assert [(name, owner) for name, _, owner in core.node.names()] == [("db", first.identity)]
    mesh.kill(first)
    last.take(last.node.create_network("web", ["10.8.0.0/24"], None, mesh.now)[0])
    mesh.pass_(1.0)
    assert isinstance(last.told(NetworkSettled)[-1].answer, NetworkBody)


def test_the_registrar_is_not_handed_to_just_anybody() -> None:
    mesh = Dying(3)
    first, two, lost = mesh.cores
    mesh.kill(lost)
    mesh.pass_(15.0)
    for core, to, why in (
        (two, two, "that is h0"),
        (first, first, "is it already"),
        (first, Core("h77"), "no member"),
        (first, lost, "cannot be reached"),
    ):
        with pytest.raises(Refusal, match=why):
            core.node.hand_registrar(to.identity, mesh.now)
    assert two.node.registrar() == first.identity


def test_a_name_given_up_goes_to_the_registrar() -> None:
    mesh = Dying(2)
    first, two = mesh.cores
    two.take(two.node.create_network("db", ["10.9.0.0/24"], None, mesh.now)[0])
    mesh.pass_(1.0)
    (number,) = [number for _, number, _ in first.node.names()]
    two.take(two.node.remove_network(number, mesh.now))
    mesh.wires.pump(mesh.now)
    assert first.node.names() == [] and first.node._directory.numbers.owner(number) == first.identity
