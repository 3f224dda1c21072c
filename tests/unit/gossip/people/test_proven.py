from __future__ import annotations

import pytest

from gossip import limits
from gossip.people.proven import Admitted, Proven, mark_of
from tests.sim.people import identity_of

A, B, C = (identity_of(name) for name in "abc")
CASES = [
    Admitted(("admin", "invite"), ()),
    Admitted((), ((A, 0),)),
    Admitted(("invite",), ((B, limits.U64_MAX), (A, 7))),
]


def test_what_was_put_in_comes_out_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    for issuers in (limits.MAX_OWNERS, 1, 0):
        monkeypatch.setattr(limits, "MAX_OWNERS", issuers)
        made = Proven()
        for number, found in enumerate(CASES):
            made.put(bytes([number]), mark_of([b"chain", bytes([number])]), found)
        assert list(made.values()) == CASES and len(made) == len(CASES) and len(made._listed) <= issuers


def test_another_chain_is_not_the_one_that_was_checked() -> None:
    made = Proven()
    made.put(A, mark_of([b"one", b"two"]), CASES[1])
    assert made.by_chain(A, mark_of([b"one", b"two"])) == CASES[1]
    assert made.by_chain(A, mark_of([b"onet", b"wo"])) is None and made.by_chain(B, mark_of([b"one", b"two"])) is None


def test_who_proves_nothing_is_known_all_the_same_until_dropped() -> None:
    made = Proven()
    made.put(A, mark_of([b"x"]), CASES[0])
    made.put(B, mark_of([b"x"]), None)
    assert list(made) == [A] and B not in made and made.get(B) is None and list(made.known) == [A, B]
    made.put(A, mark_of([b"y"]), None)
    assert len(made) == 0 and made.by_chain(A, mark_of([b"x"])) is None
    made.drop(A)
    made.drop(C)
    assert list(made.known) == [B]
