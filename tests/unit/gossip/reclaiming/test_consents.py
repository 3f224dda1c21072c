from __future__ import annotations

from gossip.events import SPACE_OWN
from gossip.state.address_bodies import AGREED, ALIVE, CONSENT, RECLAIM, ConsentBody, ReclaimBody
from gossip.state.bodies import PEER, decode_body, encode_body
from tests.unit.gossip.cores import Core, say
from tests.unit.gossip.dying import LONG, Dying, give, of_kind, owned, promised

RUN = b"run 0001"


def asks(name: str, *dead: Core, run: bytes = RUN, seq: int = 1000) -> bytes:
    """The statement by which a peer reclaims others, as it travels; the peer itself knows nothing of it."""
    body = ReclaimBody(run, sorted(each.identity for each in dead))
    return say(name, (RECLAIM, body.key), (1, seq), encode_body(RECLAIM, body)).wire()


def withdraws(name: str, run: bytes = RUN) -> bytes:
    """The statement by which it gives up."""
    return say(name, (RECLAIM, run), (1, 2000), None).wire()


def hear(mesh: Dying, core: Core, *wires: bytes) -> None:
    core.take(core.node.absorb(list(wires), mesh.now))
    core.sent = []


def answer(core: Core, about: Core) -> ConsentBody | None:
    """What the core says about that peer."""
    held = core.node._replica.view.get(core.identity, (CONSENT, about.identity))
    body = None if held is None or held.body is None else decode_body(CONSENT, held.body)
    assert body is None or isinstance(body, ConsentBody)
    return body


def alone(count: int = 3) -> tuple[Dying, list[Core]]:
    """Cores without links, who have not heard of each other for long."""
    mesh = Dying(count)
    for core in mesh.cores:
        mesh.kill(core)
    for core in mesh.cores:
        mesh.wires.cores[core.name] = core
    mesh.pass_(LONG)
    mesh.wires.cores.clear()
    return mesh, mesh.cores


def test_a_promise_and_the_consent_are_one_step() -> None:
    mesh, (_, two, lost) = alone()
    output = two.node.absorb([asks("h0", lost)], mesh.now)
    spaces = [(put.space, put.key[:8]) for put in output.persist]
    assert (SPACE_OWN, b"consent:") in spaces
    said = answer(two, lost)
    assert said is not None and said.verdict == AGREED and said.run == RUN
    assert said.incarnation == 1 and said.grants == len(two.node._estates.of(lost.identity).tiles)


def test_what_comes_after_the_promise_is_kept_back_until_the_asker_gives_up() -> None:
    mesh, (_, two, lost) = alone()
    had = owned(two, two)
    late = give(lost, two, mesh.now)
    hear(mesh, two, asks("h0", lost))
    hear(mesh, two, late.wire())
    assert owned(two, two) == had and promised(two) == [lost.identity]
    hear(mesh, two, withdraws("h0"))
    assert owned(two, two) == had + 16 and promised(two) == []
    assert answer(two, lost) is None


def test_what_came_before_it_counts_on() -> None:
    mesh, (_, two, lost) = alone()
    had = owned(two, two)
    early = give(lost, two, mesh.now)
    hear(mesh, two, early.wire())
    hear(mesh, two, asks("h0", lost))
    assert owned(two, two) == had + 16


def test_a_restart_heeds_no_more_than_before() -> None:
    mesh, (_, two, lost) = alone()
    had = owned(two, two)
    early = give(lost, two, mesh.now)
    hear(mesh, two, early.wire())
    hear(mesh, two, asks("h0", lost))
    late = give(lost, two, mesh.now, 64)
    hear(mesh, two, late.wire())
    again = mesh.restart(two)
    assert owned(again, again) == had + 16 and promised(again) == [lost.identity]
    said = answer(again, lost)
    assert said is not None and said.verdict == AGREED
    hear(mesh, again, withdraws("h0"))
    assert owned(again, again) > had + 16


def test_a_promise_is_kept_however_new_the_incarnation_of_what_is_given() -> None:
    mesh, (_, two, lost) = alone()
    had = owned(two, two)
    hear(mesh, two, asks("h0", lost))
    back = mesh.restart(lost)
    late = give(back, two, mesh.now)
    assert late.incarnation > 1
    hear(mesh, two, *of_kind(back, back, PEER), late.wire())
    assert owned(two, two) == had
    said = answer(two, lost)
    mesh.wires.cores[two.name] = two
    mesh.pass_(1.0)
    said = answer(two, lost)
    assert said is not None and said.verdict == ALIVE and said.incarnation == 2
    assert promised(two) == [lost.identity], "the asker may not have heard of that"


def test_one_run_is_promised_at_a_time() -> None:
    mesh, (one, two, three, lost) = alone(4)
    hear(mesh, two, asks("h0", lost))
    hear(mesh, two, asks("h2", lost, run=b"run 0002"))
    said = answer(two, lost)
    assert said is not None and (said.of, said.run) == (one.identity, RUN)
    hear(mesh, two, withdraws("h0"))
    mesh.wires.cores[two.name] = two
    mesh.pass_(1.0)
    said = answer(two, lost)
    assert said is not None and (said.of, said.run) == (three.identity, b"run 0002")


def test_a_run_that_names_the_asker_as_well_is_promised_too_and_heeds_no_more() -> None:
    mesh, (one, two, three, lost) = alone(4)
    had = owned(two, two)
    hear(mesh, two, asks("h0", lost))
    hear(mesh, two, give(lost, two, mesh.now).wire())
    hear(mesh, two, asks("h2", lost, one, run=b"run 0002"))
    said = answer(two, lost)
    assert said is not None and (said.of, said.run) == (three.identity, b"run 0002")
    assert sorted(promised(two)) == sorted([lost.identity, one.identity])
    assert owned(two, two) == had
    hear(mesh, two, withdraws("h2", b"run 0002"))
    mesh.wires.cores[two.name] = two
    mesh.pass_(1.0)
    said = answer(two, lost)
    assert promised(two) == [lost.identity], "the first run stands still"
    assert said is not None and said.of == one.identity and owned(two, two) == had


def test_a_consent_of_a_state_that_was_lost_binds_again() -> None:
    mesh, (_, two, lost) = alone()
    before = dict(two.store)
    hear(mesh, two, asks("h0", lost))
    consent = of_kind(two, two, CONSENT)
    late = give(lost, two, mesh.now)
    older = two.rolled_back(before).begin(mesh.now)
    had = owned(older, older)
    hear(mesh, older, *consent, asks("h0", lost))
    hear(mesh, older, late.wire())
    assert promised(older) == [lost.identity] and owned(older, older) == had


def test_in_doubt_of_itself_a_host_agrees_to_nothing() -> None:
    mesh, (_, two, lost) = alone()
    older = two.rolled_back(dict(two.store)).begin(mesh.now)
    hear(mesh, older, asks("h0", lost))
    assert answer(older, lost) is None and promised(older) == [lost.identity]


def test_who_is_named_itself_is_not_asked() -> None:
    mesh, (_, two, lost) = alone()
    hear(mesh, two, asks("h0", two, lost))
    assert promised(two) == [] and answer(two, lost) is None


def test_a_damaged_row_is_counted_and_skipped() -> None:
    mesh, (_, two, lost) = alone()
    hear(mesh, two, asks("h0", lost))
    two.store = {key: b"?" if key[1].startswith(b"consent:") else value for key, value in two.store.items()}
    again = mesh.restart(two)
    assert again.node.counters["stored_row_damaged"] == 1
    assert promised(again) == [lost.identity], "the consent that is said binds all the same"
