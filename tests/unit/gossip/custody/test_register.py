from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest

from gossip import limits
from gossip.custody.editions import Edition, chunks_of
from gossip.custody.rows import rows_of
from gossip.events import RangeView, Trouble
from gossip.state.address_bodies import ACK, GRANT, REGISTER, SETTLED, AckBody, SettledBody, register_key
from gossip.state.bodies import encode_body
from gossip.state.statements import parse
from tests.sim.people import chain_of, identity_of, peer_body
from tests.unit.gossip.cores import Core, Wires, founder, say

HOSTS = 5


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGISTER_AFTER", 3)
    monkeypatch.setattr(limits, "REGISTER_PACE_S", 30.0)
    monkeypatch.setattr(limits, "REGISTER_PATIENCE_S", 5.0)
    monkeypatch.setattr(limits, "REGISTER_RETRY_S", 2.0)


class Star:
    """The founder and four others linked with it; each owns a range."""

    def __init__(self) -> None:
        self.wires = Wires()
        self.cores = {"h0": founder()}
        self.links: dict[str, tuple[int, int]] = {}
        self.now = 0.0
        for n in range(1, HOSTS):
            self.begin(Core(f"h{n}"))
            self.give(f"h{n}")

    @property
    def first(self) -> Core:
        return self.cores["h0"]

    def begin(self, core: Core) -> None:
        self.cores[core.name] = core
        core.begin(self.now)
        if core.name != "h0":
            self.link(core.name)

    def link(self, name: str) -> None:
        self.links[name] = self.wires.link(self.cores[name], self.first, self.now)

    def cut(self, name: str) -> None:
        here, there = self.links.pop(name)
        for core, link in ((self.cores[name], here), (self.first, there)):
            self.wires.far.pop((core.name, link))
            core.take(core.node.link_down(link, self.now))

    def again(self, name: str) -> None:
        """The host restarts from what it stored."""
        cut = list(self.links) if name == "h0" else [name]
        for each in [each for each in cut if each in self.links]:
            self.cut(each)
        self.begin(self.cores[name].again())
        for each in cut if name == "h0" else []:
            self.link(each)

    def give(self, to: str) -> None:
        self.first.take(self.first.node.donate(1, identity_of(to), self.now))
        self.wires.pump(self.now)

    def run(self, seconds: float) -> None:
        self.wires.tick(self.now + seconds, self.now)
        self.now += seconds

    def ranges(self, name: str = "h0") -> list[RangeView]:
        return self.cores[name].node.ranges(1)

    def base(self, name: str) -> Edition | None:
        return self.cores[name].node._directory.custody.base(1)

    def said(self, kind: str) -> dict[str, int]:
        """How many statements of a kind each host says, as the founder knows."""
        found: dict[str, int] = {}
        for statement in self.first.node._replica.view.statements():
            if statement.kind == kind and statement.body is not None:
                name = next(name for name in self.cores if identity_of(name) == statement.owner)
                found[name] = found.get(name, 0) + 1
        return found


def test_custody_is_written_down_acknowledged_settled_and_the_grants_withdrawn() -> None:
    star = Star()
    before = star.ranges()
    assert star.said(GRANT) == {"h0": HOSTS + 1}
    star.run(10.0)
    for name, core in star.cores.items():
        base = star.base(name)
        assert base is not None and (base.author, base.number) == (identity_of("h0"), 1)
        assert star.ranges(name) == before
        assert core.told(Trouble) == []
        assert core.node._register.next_time() is None, "and then it rests"
    assert star.said(GRANT) == {"h0": 1}, "the founding grant of the numbers"
    assert star.said(ACK) == {} and star.said(SETTLED) == star.said(REGISTER) == {"h0": 1}


def test_the_next_edition_takes_the_place_of_the_first() -> None:
    star = Star()
    star.run(40.0)
    for n in range(HOSTS, 2 * HOSTS):
        star.begin(Core(f"h{n}"))
        star.give(f"h{n}")
    before = star.ranges()
    star.run(40.0)
    assert {star.base(name).number for name in star.cores if star.base(name)} == {2}  # type: ignore[union-attr]
    assert all(star.ranges(name) == before for name in star.cores)
    assert star.said(REGISTER) == {"h0": 1} and star.said(GRANT) == {"h0": 1}


def test_who_joins_after_that_learns_custody_from_the_register() -> None:
    star = Star()
    star.run(10.0)
    star.begin(Core("h9"))
    star.give("h9")
    star.run(1.0)
    assert star.ranges("h9") == star.ranges() and star.ranges()[0].owner == identity_of("h0")
    assert identity_of("h9") in [each.owner for each in star.ranges("h9")]


@pytest.mark.parametrize("step", range(16))
def test_a_restart_at_any_step_changes_nothing(step: int) -> None:
    star = Star()
    before = star.ranges()
    star.run(0.25 + step * 0.25)
    for name in ("h0", "h2"):
        star.again(name)
        star.run(0.25)
    star.run(40.0)
    assert all(star.ranges(name) == before for name in star.cores)
    assert all(star.base(name) is not None for name in star.cores) and star.said(GRANT) == {"h0": 1}


def test_nothing_is_withdrawn_before_every_member_holds_what_is_settled() -> None:
    star = Star()
    while star.said(ACK).get("h3") is None:
        star.run(0.25)
    star.cut("h3")
    star.run(30.0)
    assert star.base("h1") is not None and star.base("h3") is None
    assert star.said(GRANT) == {"h0": HOSTS + 1}
    star.link("h3")
    star.run(10.0)
    assert star.base("h3") is not None and star.said(GRANT) == {"h0": 1}
    assert star.ranges("h3") == star.ranges()


def test_nothing_is_withdrawn_while_a_later_edition_is_proposed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Custody may begin with its rows, and they may need these grants."""
    star = Star()
    core = star.first
    rows = rows_of(core.node._directory.custody, 1)
    bodies = None if rows is None else chunks_of(1, 9, rows)
    assert bodies is not None
    with monkeypatch.context() as patch:
        patch.setattr(limits, "MAX_PRUNED", 0)
        star.run(10.0)
    assert star.base("h1") is not None and star.said(GRANT) == {"h0": HOSTS + 1}
    body = peer_body("h9", chain=chain_of("h9", ("h0", 1), roles=["admin"]))
    chunk = (REGISTER, register_key(1, 9, 0))
    wires = [say("h9", ("peer", b""), (1, 1), encode_body("peer", body)), say("h9", chunk, (1, 2), bodies[0])]
    core.take(core.node.absorb([each.wire() for each in wires], star.now))
    core.take(core.node.handle_timer(star.now + 2.0))
    assert core.node._directory.custody.counts()[core.identity] == HOSTS + 1
    core.take(core.node.absorb([say("h9", chunk, (1, 3), None).wire()], star.now + 2.0))
    core.take(core.node.handle_timer(star.now + 4.0))
    assert core.node._directory.custody.counts()[core.identity] == 1


def test_without_every_member_nothing_is_proposed() -> None:
    star = Star()
    star.cut("h3")
    star.run(20.0)
    assert star.said(REGISTER) == {}
    star.link("h3")
    star.run(40.0)
    assert star.base("h3") is not None


def test_who_left_is_not_waited_for() -> None:
    star = Star()
    star.cores["h3"].take(star.cores["h3"].node.leave(star.now))
    star.wires.pump(star.now)
    star.cut("h3")
    star.run(40.0)
    assert star.base("h1") is not None


def test_a_proposal_that_is_not_acknowledged_in_time_is_withdrawn() -> None:
    star = Star()
    while star.said(REGISTER) == {}:
        star.run(0.25)
    star.cut("h3")
    star.run(4.0)
    assert star.said(REGISTER) == {"h0": 1} and star.said(ACK) != {}
    star.run(6.0)
    assert star.said(REGISTER) == {} and star.said(ACK) == {} and star.base("h1") is None


def test_a_withdrawn_proposal_is_never_settled_and_its_number_never_used_again() -> None:
    """A host that was away brings its chunks back after all others, the author too, forgot that they were withdrawn."""
    star = Star()
    while star.said(REGISTER) == {}:
        star.run(0.25)
    star.cut("h1")
    while star.said(ACK).get("h3") is None:
        star.run(0.25)
    chunks = [wire for wire in star.cores["h3"].node.export() if parse(wire).kind == REGISTER]
    assert chunks and star.said(SETTLED) == {}
    star.cut("h3")
    star.run(10.0)
    star.again("h0")
    assert star.said(REGISTER) == {}
    star.first.take(star.first.node.absorb(chunks, star.now))
    star.run(1.5)
    assert star.said(REGISTER) == {} and star.said(SETTLED) == {}
    for name in ("h1", "h3"):
        star.link(name)
    star.run(60.0)
    base = star.base("h3")
    assert base is not None and base.number == 2 and star.said(GRANT) == {"h0": 1}


def test_a_member_without_the_role_settles_nothing() -> None:
    star = Star()
    custody = star.first.node._directory.custody
    rows = rows_of(custody, 1)
    bodies = None if rows is None else chunks_of(1, 1, rows)
    assert bodies is not None
    wires = [say("h1", (REGISTER, register_key(1, 1, chunk)), (9, 9), body) for chunk, body in enumerate(bodies)]
    settled = SettledBody(1, 1, bytes(16))
    wires.append(say("h1", (SETTLED, settled.key), (9, 10), encode_body(SETTLED, settled)))
    core = star.cores["h2"]
    core.take(core.node.absorb([each.wire() for each in wires], star.now))
    core.take(core.node.handle_timer(star.now + 2.0))
    assert star.base("h2") is None and core.node._replica.view.get(core.identity, (ACK, b"\0\0\0\1")) is None


def test_an_edition_that_gives_away_what_is_another_s_is_acknowledged_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(limits, "REGISTER_AFTER", 100)
    star = Star()
    star.run(2.0)
    rows = rows_of(star.first.node._directory.custody, 1)
    assert rows is not None
    owners = [row.owner for row in rows]
    forged = [msgspec.structs.replace(row, owner=owner) for row, owner in zip(rows, reversed(owners), strict=True)]
    for said, acknowledged in ((rows, True), (forged, False)):
        bodies = chunks_of(1, 7, said)
        assert bodies is not None
        for name in ("h1", "h2", "h3"):
            core = star.cores[name].again().begin(star.now)
            wires = [say("h0", (REGISTER, register_key(1, 7, at)), (9, at), body) for at, body in enumerate(bodies)]
            core.take(core.node.absorb([each.wire() for each in wires], star.now))
            core.take(core.node.handle_timer(star.now + 2.0))
            ack = core.node._directory.custody.editions.ack(1, core.identity)
            assert (ack is not None) == acknowledged


def test_of_one_number_one_author_is_acknowledged_while_that_stands() -> None:
    """Two admins who do not know of each other propose the same edition."""
    core = founder()
    for name in ("h1", "h2"):
        body = peer_body(name, chain=chain_of(name, ("h0", 1), roles=["admin"]))
        core.take(core.node.absorb([say(name, ("peer", b""), (1, 1), encode_body("peer", body)).wire()], 0.0))
    rows = rows_of(core.node._directory.custody, 1)
    bodies = None if rows is None else chunks_of(1, 1, rows)
    assert bodies is not None and len(bodies) == 1
    chunk = (REGISTER, register_key(1, 1, 0))
    later, sooner = sorted(("h1", "h2"), key=identity_of, reverse=True)

    def hear(name: str, seq: int, body: bytes | None, now: float) -> AckBody | None:
        core.take(core.node.absorb([say(name, chunk, (1, seq), body).wire()], now))
        core.take(core.node.handle_timer(now + 1.0))
        return core.node._directory.custody.editions.ack(1, core.identity)

    first = hear(later, 2, bodies[0], 10.0)
    assert first is not None and first.of == identity_of(later)
    assert hear(sooner, 2, bodies[0], 20.0) == first
    second = hear(later, 3, None, 30.0)
    assert second is not None and second.of == identity_of(sooner)
    assert hear(sooner, 3, None, 40.0) is None


def test_a_host_that_leaves_takes_its_proposal_along() -> None:
    star = Star()
    while star.said(REGISTER) == {}:
        star.run(0.25)
    star.first.take(star.first.node.leave(star.now))
    star.wires.pump(star.now)
    assert star.said(REGISTER) == {}


def test_a_peer_with_too_many_grants_is_reason_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGISTER_AFTER", 100)
    star = Star()
    star.run(3.0)
    assert star.said(REGISTER) == {}
    monkeypatch.setattr(limits, "MAX_OWN_GRANTS", 2 * HOSTS)
    star.give("h0")
    star.begin(Core("h9"))
    star.give("h9")
    star.run(10.0)
    assert star.base("h9") is not None


def test_an_author_keeps_room_for_what_it_has_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "REGISTER_RESERVE", limits.MAX_STATEMENTS_PER_OWNER - 5)
    star = Star()
    star.run(10.0)
    assert star.said(REGISTER) == {}


def test_grants_are_withdrawn_a_few_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PRUNED", 1)
    star = Star()
    seen = []
    for _ in range(60):
        star.run(0.25)
        seen.append(star.said(GRANT)["h0"])
    assert seen[-1] == 1 and all(before - after <= 1 for before, after in pairwise(seen))


def test_the_addresses_of_a_network_that_is_gone_are_forgotten() -> None:
    core = founder()
    out, body = core.node.create_network("web", ["10.9.0.0/24"], None, 0.0)
    core.take(out)
    assert body is not None
    number = body.number  # type: ignore[union-attr]
    core.take(core.node.remove_network(number, 1.0))
    core.take(core.node.handle_timer(2.0))
    core.take(core.node.handle_timer(4.0))
    custody = core.node._directory.custody
    assert list(custody.numbers.spent()) == [number] and custody.forgotten(number)
    rows = rows_of(custody, 0)
    assert rows is not None and not any(row.holders for row in rows), "the next edition makes the number free"
