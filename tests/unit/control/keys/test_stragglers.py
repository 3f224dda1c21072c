"""Whom a rotation waits for: always the answer of a full look, and seldom one."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from crypto.secret import MeshSecret
from meshnet.control.keys.rotation import Announced, Member, Phase, lacking
from meshnet.control.keys.stragglers import Stragglers

SECRET = MeshSecret(5, b"\2" * 32)
TAGS = ((), (SECRET.tag(),))


class Members:
    """So many members; `looks` counts how often all of them were looked at."""

    def __init__(self, count: int) -> None:
        self.all = {bytes([n >> 8, n & 255]) * 16: (False, True) for n in range(count)}
        self.looks = 0

    def one(self, identity: bytes) -> Member | None:
        if identity not in self.all:
            return None
        holds, reachable = self.all[identity]
        return Member(identity, TAGS[holds], reachable)

    def everybody(self) -> Sequence[Member]:
        self.looks += 1
        return [member for identity in self.all if (member := self.one(identity))]

    def name(self, index: int) -> bytes:
        return list(self.all)[index]


def announced(phase: Phase) -> Announced:
    return Announced(SECRET.generation, SECRET.commitment(), phase, b"a" * 32)


def none(stragglers: Stragglers, members: Members, phase: Phase = Phase.SWITCH) -> bool:
    return stragglers.none(announced(phase), members.one, members.everybody)


def test_while_one_is_awaited_nobody_else_is_looked_at() -> None:
    stragglers, members = Stragglers(), Members(1000)
    assert not any(none(stragglers, members) for _ in range(100))
    assert members.looks == 1
    late = members.name(3)
    members.all = {identity: (identity != late, True) for identity in members.all}
    assert not any(none(stragglers, members) for _ in range(100))
    assert members.looks == 1
    members.all[late] = (True, True)
    assert none(stragglers, members)
    assert members.looks == 2


def test_one_that_left_is_awaited_no_longer_and_one_that_came_is() -> None:
    stragglers, members = Stragglers(), Members(2)
    members.all[members.name(0)] = (True, True)
    assert not none(stragglers, members)
    del members.all[members.name(1)]
    members.all[b"n" * 32] = (False, True)
    assert not none(stragglers, members)
    members.all[b"n" * 32] = (True, True)
    assert none(stragglers, members)


def test_another_phase_is_another_question() -> None:
    stragglers, members = Stragglers(), Members(1)
    members.all[members.name(0)] = (False, False)
    assert none(stragglers, members, Phase.INSTALL), "who cannot be reached is not awaited with the switch"
    assert not none(stragglers, members, Phase.SWITCH)
    assert none(stragglers, members, Phase.INSTALL)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans(), st.booleans()), max_size=40))
def test_the_answer_is_that_of_a_full_look(changes: list[tuple[int, bool, bool, bool]]) -> None:
    stragglers, members = Stragglers(), Members(5)
    for index, holds, reachable, install in changes:
        phase = Phase.INSTALL if install else Phase.SWITCH
        members.all[members.name(index)] = (holds, reachable)
        counted = [one for one in members.everybody() if one.reachable or not install]
        assert none(stragglers, members, phase) == (not lacking(counted, announced(phase)))
