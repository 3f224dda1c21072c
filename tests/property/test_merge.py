"""The laws of the merge: any order, any repetition, any grouping of what was heard gives one view."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from gossip.spreading.codec import Delta, Digest, Owners, Proofs, Want, decode
from gossip.spreading.spread import Spread
from gossip.state.bodies import LEFT, MANIFEST, LeftBody, encode_body
from gossip.state.statements import Slot, Statement, author, parse
from gossip.state.view import View, manifest_of
from tests.sim.people import MESH, identity_of, sign_as

OWNERS = [identity_of(name) for name in ("a", "b", "c")]
SLOTS: list[Slot] = [("note", b"1"), ("note", b"2"), ("memo", b""), ("grantlike", b"x")]


def say(owner: bytes, slot: Slot, version: tuple[int, int], body: bytes | None) -> Statement:
    return author(sign_as(owner), MESH, owner, slot, version, body)


statements = st.builds(
    say,
    st.sampled_from(OWNERS),
    st.sampled_from(SLOTS),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
    st.none() | st.binary(max_size=1),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Statement]:
    """All that one honest owner ever said over a few incarnations, each closed by its manifest."""
    owner = draw(st.sampled_from(OWNERS))
    said: list[Statement] = []
    held: dict[Slot, Statement] = {}
    for incarnation in range(1, draw(st.integers(1, 3)) + 1):
        seq = 0
        for slot, body in draw(st.lists(st.tuples(st.sampled_from(SLOTS), st.none() | st.binary(max_size=1)))):
            seq += 2
            held[slot] = say(owner, slot, (incarnation, seq), body)
            body_bytes = encode_body(MANIFEST, manifest_of(held.values(), incarnation))
            said += [held[slot], say(owner, (MANIFEST, b""), (incarnation, seq + 1), body_bytes)]
        seq += 2
        body_bytes = encode_body(MANIFEST, manifest_of(held.values(), incarnation))
        said.append(say(owner, (MANIFEST, b""), (incarnation, seq + 1), body_bytes))
    if draw(st.booleans()):
        said.append(say(owner, (LEFT, b""), (incarnation, seq + 2), encode_body(LEFT, LeftBody())))
    return said


def view_of(*groups: list[Statement]) -> View:
    view = View()
    for group in groups:
        for statement in group:
            view.merge(statement)
    return view


def held(view: View) -> list[bytes]:
    return [statement.digest for statement in view.statements()]


@given(st.lists(statements), st.lists(statements), st.lists(statements))
def test_merge_is_commutative_associative_and_idempotent(
    one: list[Statement], two: list[Statement], three: list[Statement]
) -> None:
    whole = held(view_of(one, two, three))
    assert held(view_of(three, one, two)) == whole
    right = view_of(two, three)
    assert held(view_of(one, right.statements())) == whole
    assert held(view_of(one, two, three, one, three, two)) == whole


@given(histories(), st.randoms(use_true_random=False))
def test_an_owners_history_gives_one_view_in_whatever_order_it_is_heard(said: list[Statement], rng: Random) -> None:
    expected = held(view_of(said))
    mixed = [*said, *rng.sample(said, len(said) // 2)]
    rng.shuffle(mixed)
    assert held(view_of(mixed)) == expected


@given(histories(), st.integers(1, 6), st.randoms(use_true_random=False))
def test_who_died_while_speaking_leaves_one_view_in_whatever_order(
    said: list[Statement], lost: int, rng: Random
) -> None:
    heard = said[:-lost]
    if heard and heard[-1].kind == MANIFEST and rng.random() < 0.5:
        del heard[-1]
    expected = held(view_of(heard))
    mixed = list(heard)
    rng.shuffle(mixed)
    assert held(view_of(mixed)) == expected


@given(st.lists(statements))
def test_a_delta_of_what_is_held_changes_nothing(said: list[Statement]) -> None:
    view = view_of(said)
    before = held(view)
    assert not any(view.merge(statement) for statement in view.statements())
    assert held(view) == before


class Side:
    """A view with its anti-entropy, and nothing else of a peer."""

    def __init__(self, said: list[Statement]) -> None:
        self.view = view_of(said)
        self.spread = Spread(self.view)
        for owner in self.view.owners:
            self.spread.touch(owner)

    def hear(self, messages: list[bytes]) -> list[bytes]:
        """Take messages in; what they are answered with."""
        answers: list[bytes] = []
        for message in map(decode, messages):
            if isinstance(message, Digest):
                answers += self.spread.compare(message)
            elif isinstance(message, Owners):
                answers += self.spread.reconcile(message)[0]
            elif isinstance(message, Want):
                answers += self.spread.give(message.owners)[0]
            elif isinstance(message, Delta):
                for wire in message.statements:
                    statement = parse(wire)
                    self.view.merge(statement)
                    self.spread.touch(statement.owner)
            elif isinstance(message, Proofs):
                for one, two in message.pairs:
                    proof = (parse(one), parse(two))
                    self.view.convict(proof)
                    self.spread.touch(proof[0].owner)
        return answers


@given(st.lists(statements, max_size=20), st.lists(statements, max_size=20))
@settings(max_examples=50, deadline=None)
def test_anti_entropy_makes_two_views_equal_and_then_has_nothing_to_say(
    one: list[Statement], two: list[Statement]
) -> None:
    sides = [Side(one), Side(two)]
    for round_number in range(4):
        asking, answering = sides[round_number % 2], sides[1 - round_number % 2]
        to_answering = [asking.spread.digest()]
        for _ in range(4):
            to_asking = answering.hear(to_answering)
            to_answering = asking.hear(to_asking)
    assert held(sides[0].view) == held(sides[1].view)
    assert sides[1].hear([sides[0].spread.digest()]) == []
