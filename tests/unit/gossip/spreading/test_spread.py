from __future__ import annotations

import pytest

from gossip import limits
from gossip.spreading.codec import Delta, Digest, Owners, Want, decode
from gossip.spreading.spread import Spread
from gossip.state.view import View
from tests.sim.people import identity_of
from tests.unit.gossip.cores import say


def spread_of(*names: str, notes: int = 1, size: int = 10) -> Spread:
    view = View()
    spread = Spread(view)
    for name in names:
        for note in range(notes):
            view.merge(say(name, ("note", note.to_bytes(2, "big")), (1, note), bytes(size)))
        spread.touch(identity_of(name))
    return spread


def digest(spread: Spread) -> Digest:
    message = decode(spread.digest())
    assert isinstance(message, Digest)
    return message


def owners(messages: list[bytes]) -> list[Owners]:
    return [message for message in map(decode, messages) if isinstance(message, Owners)]


def test_equal_views_have_nothing_to_say() -> None:
    assert spread_of("a", "b").compare(digest(spread_of("b", "a"))) == []


def test_only_what_differs_is_exchanged() -> None:
    one, two = spread_of("a", "b", "c"), spread_of("a", "b", "d")
    [asked] = owners(two.compare(digest(one)))
    messages, cut = one.reconcile(asked)
    delta, want = (decode(message) for message in messages)
    assert isinstance(delta, Delta) and len(delta.statements) == 1
    assert isinstance(want, Want) and want.owners == [identity_of("d")]
    given, cut = two.give(want.owners)
    assert len(given) == 1 and not cut


def test_an_idle_round_costs_the_same_however_much_is_held() -> None:
    assert len(spread_of("a").digest()) == len(spread_of(*map(str, range(100))).digest()) < 400


def test_an_answer_is_bounded_and_says_that_it_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BURST_B", 5_000)
    spread = spread_of(*map(str, range(30)), size=1000)
    messages, cut = spread.give(identity_of(str(n)) for n in range(30))
    assert cut and sum(map(len, messages)) < 8_000


def test_an_owner_larger_than_an_answer_comes_in_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_BURST_B", 5_000)
    spread = spread_of("a", notes=40, size=1000)
    seen: dict[bytes, None] = {}
    for _ in range(20):
        messages, cut = spread.give([identity_of("a")])
        assert cut and sum(map(len, messages)) < 8_000
        for message in map(decode, messages):
            assert isinstance(message, Delta)
            seen.update(dict.fromkeys(message.statements))
    assert len(seen) == 40


def test_unknown_owners_are_nobodys() -> None:
    spread = spread_of("a")
    assert spread.give([identity_of("x")]) == ([], False)
    messages, _ = spread.reconcile(Owners([0], [(identity_of("x"), bytes(7) + b"1")]))
    assert any(isinstance(decode(message), Want) for message in messages)
