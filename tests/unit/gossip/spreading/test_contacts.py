from __future__ import annotations

from random import Random

import pytest

from gossip import limits
from gossip.events import CloseLink, Dial, Output
from gossip.people.roster import Roster
from gossip.spreading.codec import Beat, Delta, Digest, decode
from gossip.spreading.contacts import Contacts
from gossip.state.bodies import LINKS, LinksBody, decode_body, encode_body
from gossip.state.statements import Statement, parse
from tests.sim.people import identity_of
from tests.unit.gossip.cores import Core, say

PEER, OTHER = identity_of("h1"), identity_of("h2")


def contacts() -> Contacts:
    core = Core("h0")
    made = Contacts(core.node._replica, Roster(core.identity, lambda peer: False, core.node._replica.view), Random(1))
    made.begin(0.0)
    return made


def kinds(output: Output) -> list[tuple[int, type]]:
    return [(link, type(decode(message))) for link, message in output.send]


def news(output: Output) -> list[tuple[int, int]]:
    """(link, seq) of every statement sent."""
    messages = [(link, decode(message)) for link, message in output.send]
    return [(link, parse(w).seq) for link, delta in messages if isinstance(delta, Delta) for w in delta.statements]


def note(seq: int, key: bytes = b"") -> Statement:
    return say("h9", ("note", key), (1, seq), b"x")


def test_heartbeats_digests_and_silence_have_their_times() -> None:
    made, out = contacts(), Output()
    made.up(out, 1, PEER, True, 0.0)
    assert [link for link, _ in out.send] == [1], "who opened the link begins the exchange"
    assert min(made.times(False))[0] <= limits.HEARTBEAT_S
    beat = Output()
    made.tick(beat, limits.HEARTBEAT_S)
    assert kinds(beat) == [(1, Beat)]
    dead = Output()
    made.tick(dead, limits.SILENCE_S)
    assert [type(event) for event in dead.tell] == [CloseLink] and made.links.all() == []


def test_of_links_that_come_together_one_begins_its_exchange_at_once_and_all_soon() -> None:
    made, out = contacts(), Output()
    for number in range(3):
        made.up(out, number, identity_of(f"p{number}"), True, 0.0)
    assert kinds(out) == [(0, Digest)]
    due = [at for at, name in made.times(False) if name == "link"]
    assert due and due[0] <= 1.5 * limits.GREET_S
    later = Output()
    made.tick(later, 1.5 * limits.GREET_S)
    assert [link for link, kind in kinds(later) if kind is Digest] == [1, 2]


def test_news_leave_at_once_a_few_times_and_then_together() -> None:
    made = contacts()
    for number, peer in enumerate((PEER, OTHER)):
        made.up(Output(), number, peer, False, 0.0)
    for seq in range(limits.PUSH_AHEAD):
        first = Output()
        made.push(first, [(note(seq), 0)], [], 1.0)
        assert news(first) == [(1, seq)], "not to where it came from"
    second, third = Output(), Output()
    made.push(second, [(note(20), 0), (note(30), None), (note(10, b"k"), None)], [], 1.0 + limits.PUSH_PACE_S / 2)
    assert news(second) == []
    [due] = [at for at, name in made.times(True) if name == "push"]
    assert due <= 1.0 + limits.PUSH_PACE_S
    made.push(third, [], [], due)
    assert news(third) == [(0, 30), (0, 10), (1, 30), (1, 10)]
    assert not [name for _, name in made.times(True) if name == "push"]


def test_a_link_far_behind_gets_a_digest_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_PENDING", 2)
    made, out = contacts(), Output()
    made.up(out, 1, PEER, False, 0.0)
    made.push(Output(), [(note(1, bytes([n])), None) for n in range(3)], [], 1.0)
    later = Output()
    made.tick(later, 1.0 + limits.RESUME_S)
    assert (1, Digest) in kinds(later)


def test_what_waits_for_a_link_that_is_parted_from_goes_out_before() -> None:
    made, out = contacts(), Output()
    made.up(out, 1, PEER, False, 0.0)
    link = made.links.get(1)
    assert link is not None
    link.outbox.put(note(2))
    made.part(out, link, "why", 1.0)
    assert news(out) == [(1, 2)] and out.tell == [CloseLink(1, "why")] and made.links.get(1) is None


def test_the_links_are_said_at_most_once_in_their_pace() -> None:
    made = contacts()
    made._replica.started = True
    made.up(Output(), 1, PEER, False, 0.0)
    made.say_due(Output(), limits.LINKS_WAIT_S / 2)
    assert made._replica.seq == 0, "others may come"
    made.say_due(Output(), limits.LINKS_WAIT_S)
    assert made._replica.seq == 1
    made.lose(1, limits.LINKS_WAIT_S + 0.1)
    made.say_due(Output(), limits.LINKS_WAIT_S + 0.1)
    assert made._replica.seq == 1
    made.say_due(Output(), limits.LINKS_WAIT_S + limits.LINKS_PACE_S)
    assert made._replica.seq == 2
    made.say_due(Output(), 99.0)
    assert made._replica.seq == 2


def test_a_link_too_many_ends_when_the_far_end_has_enough_too() -> None:
    made = contacts()
    count = limits.KEPT_LINKS + 1
    for number in range(count):
        made.up(Output(), number, identity_of(f"p{number}"), False, 0.0)
    for link in made.links.all():
        link.heard_at = 1000.0

    def closed(now: float) -> list[CloseLink]:
        out = Output()
        made.tick(out, now)
        return [event for event in out.tell if isinstance(event, CloseLink)]

    assert closed(limits.TRIM_AFTER_S + 1) == [], "none of them said that it has other links"
    busy = LinksBody([bytes([n]) * 32 for n in range(limits.TARGET_LINKS + 1)])
    for number in range(count):
        made._replica.view.merge(say(f"p{number}", (LINKS, b""), (1, 1), encode_body(LINKS, busy)))
    gone = closed(limits.TRIM_AFTER_S + 2 * limits.HEARTBEAT_S)
    assert [event.reason for event in gone] == ["both ends have links enough"] and len(made.links) == limits.KEPT_LINKS
    assert closed(limits.TRIM_AFTER_S + 60) == []


def test_who_is_not_known_is_not_dialled() -> None:
    made, out = contacts(), Output()
    made.consider(PEER, 0.0)
    made.dial_due(out, 9.0)
    assert not any(isinstance(event, Dial) for event in out.tell)


def said(made: Contacts) -> LinksBody:
    held = made._replica.view.get(made._replica.identity, (LINKS, b""))
    assert held is not None and held.body is not None
    body = decode_body(LINKS, held.body)
    assert isinstance(body, LinksBody)
    return body


def feel(made: Contacts, link: int, trip_ms: int) -> None:
    """As many round trips of that length as are remembered."""
    entry = made.links.get(link)
    assert entry is not None
    for _ in range(limits.RTT_SAMPLES):
        sent = entry.pulse.beat(100.0).sent
        entry.pulse.heard(Beat(0, sent, 0), 100.0 + trip_ms / 1000)


def test_costs_are_said_once_known_together_and_corrected_rarely() -> None:
    made, now = contacts(), limits.HEARTBEAT_S
    made._replica.started = True
    for number, peer in enumerate((PEER, OTHER)):
        made.up(Output(), number, peer, False, 0.0)
    made.say_due(Output(), limits.LINKS_WAIT_S)
    assert said(made) == LinksBody(sorted((PEER, OTHER))) and made._replica.seq == 1

    def until(end: float) -> list[int]:
        nonlocal now
        seqs = [made._replica.seq]
        while now < end:
            for link in made.links.all():
                link.heard_at = now
            made.tick(Output(), now)
            made.say_due(Output(), now)
            seqs += [made._replica.seq] if made._replica.seq != seqs[-1] else []
            now += limits.HEARTBEAT_S
        return seqs

    feel(made, 0, 40)
    assert until(limits.COST_WAIT_S) == [1], "links come and go first"
    feel(made, 1, 5)
    assert until(2 * limits.COST_WAIT_S) == [1, 2]
    assert dict(zip(said(made).peers, said(made).costs, strict=True)) == {PEER: 7, OTHER: 4}
    for trip in (400, 4000, 4):
        feel(made, 0, trip)
        until(now + 100)
    assert made._replica.seq == 3, "one correction in COST_PACE_S"
    until(now + limits.COST_PACE_S)
    assert made._replica.seq == 4 and 3 in said(made).costs


def crowd(monkeypatch: pytest.MonkeyPatch, count: int) -> Contacts:
    """A peer of a mesh of so many others, with two links."""
    made = contacts()
    made._replica.started = True
    monkeypatch.setattr(type(made._roster.bodies), "__len__", lambda bodies: count)
    for number, peer in enumerate((PEER, OTHER)):
        made.up(Output(), number, peer, False, 0.0)
    made.say(Output(), 0.0)
    for number in range(2):
        feel(made, number, 5)
    return made


def first_said(made: Contacts, end: float) -> float | None:
    """When the links are said next."""
    now, seq = 0.0, made._replica.seq
    while now < end and made._replica.seq == seq:
        now += limits.HEARTBEAT_S
        for link in made.links.all():
            link.heard_at = now
        made.tick(Output(), now)
        made.say_due(Output(), now)
    return now if made._replica.seq > seq else None


def test_in_a_large_mesh_costs_alone_are_said_at_a_random_late_moment_and_at_once_with_other_news(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    share = 200 * limits.COST_SHARE_S
    times = []
    for seed in range(20):
        made = crowd(monkeypatch, limits.SMALL_MESH + 200)
        made._rng = Random(seed)
        times.append(first_said(made, share + 2 * limits.COST_WAIT_S) or 0.0)
    assert limits.COST_WAIT_S <= min(times) < share / 4 and share * 3 / 4 < max(times), "all through the time there is"
    made = crowd(monkeypatch, limits.SMALL_MESH + 200)
    made.up(Output(), 9, identity_of("h3"), False, 0.0)
    made.say_due(Output(), limits.LINKS_PACE_S)
    assert len(said(made).peers) == 3 and 4 in said(made).costs, "what is said anyhow says the costs too"


def test_of_links_too_many_in_a_large_mesh_few_are_closed_late_and_many_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_closed(surplus: int) -> float:
        made, now = contacts(), 0.0
        monkeypatch.setattr(type(made._roster.bodies), "__len__", lambda bodies: limits.SMALL_MESH + 200)
        monkeypatch.setattr(made, "_degree", lambda peer: limits.KEPT_LINKS)
        for number in range(limits.KEPT_LINKS + surplus):
            made.up(Output(), number, identity_of(f"p{number}"), False, 0.0)
        while len(made.links) == limits.KEPT_LINKS + surplus:
            now += limits.HEARTBEAT_S
            for link in made.links.all():
                link.heard_at = now
            made.tick(Output(), now)
        return now

    assert first_closed(30) <= limits.TRIM_AFTER_S + 2 * limits.TRIM_S
    assert first_closed(1) > 4 * limits.TRIM_AFTER_S
