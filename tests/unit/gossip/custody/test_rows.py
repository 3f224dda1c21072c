from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from gossip import limits
from gossip.custody.custody import Custody
from gossip.custody.editions import Edition
from gossip.custody.rows import agrees, rows_of
from gossip.networks.numbers import NUMBERS
from gossip.state.address_bodies import GRANT, NUMBER_POOL, Grant, Row
from tests.sim.people import identity_of
from tests.unit.gossip.custody.test_custody import AT, POOL, A, B, C, Kept

WEB = 5


def edition_of(custody: Custody, network: int = 1) -> Edition:
    rows = rows_of(custody, network)
    assert rows is not None
    return Edition(network, 1, C, bytes(16), tuple(rows))


def with_row(edition: Edition, at: int, **fields: object) -> Edition:
    rows = list(edition.rows)
    rows[at] = msgspec.structs.replace(rows[at], **fields)
    return replace(edition, rows=tuple(rows))


class Numbers(Kept):
    """A custody with a number pool of A's, from which "web" was given to B."""

    def __init__(self) -> None:
        super().__init__()
        self.root = self.grant("a", Grant(NUMBER_POOL, NUMBERS.start, NUMBERS.end, A, 0, b""))
        self.web = self.grant("a", Grant(NUMBER_POOL, WEB, WEB + 1, B, 1, self.root, "web"))
        self.custody.found(A)


@pytest.fixture
def kept() -> Kept:
    kept = Kept()
    root = kept.begin()
    first = kept.grant("a", Grant(1, AT, AT + 64, B, 1, root))
    kept.grant("b", Grant(1, AT, AT + 8, C, 2, first))
    return kept


def test_two_that_hold_the_same_write_the_same_and_agree(kept: Kept) -> None:
    rows = rows_of(kept.custody, 1)
    assert rows is not None and [(row.owner, row.version) for row in rows] == [(C, 2), (B, 1), (A, 0)]
    assert agrees(kept.custody, edition_of(kept.custody))
    assert rows_of(kept.custody, 7) is None and rows_of(Kept().custody, 1) is None


def test_what_was_granted_since_changes_no_agreement(kept: Kept) -> None:
    edition = edition_of(kept.custody)
    tile = kept.custody.rings[1].tiles()[1]
    kept.grant("b", Grant(1, AT + 10, AT + 12, A, 2, tile.deed.id))
    assert agrees(kept.custody, edition)


def test_what_is_not_known_here_yet_is_not_agreed_to(kept: Kept) -> None:
    tile = kept.custody.rings[1].tiles()[1]
    later = kept.grant("b", Grant(1, AT + 10, AT + 12, A, 2, tile.deed.id))
    edition = edition_of(kept.custody)
    kept.hear("b", GRANT, later, None)
    assert not agrees(kept.custody, edition)


def test_every_forged_row_is_noticed(kept: Kept) -> None:
    edition = edition_of(kept.custody)
    assert not agrees(kept.custody, with_row(edition, 1, owner=C))
    assert not agrees(kept.custody, with_row(edition, 1, version=2))
    assert not agrees(kept.custody, with_row(edition, 1, deed=b"another deed 16.."[:16]))
    assert not agrees(kept.custody, with_row(edition, 1, name="web"))
    assert not agrees(kept.custody, with_row(edition, 1, holders=[A]))
    assert not agrees(kept.custody, replace(edition, rows=edition.rows[1:]))
    assert not agrees(kept.custody, replace(edition, network=2))


def test_rows_that_an_earlier_register_made_needless_are_not_agreed_to() -> None:
    """Its grants may be withdrawn at any time; the ring would fall back to an earlier owner."""
    kept = Kept()
    root = kept.begin()
    old = edition_of(kept.custody)
    there = kept.grant("a", Grant(1, POOL.start, POOL.end, B, 1, root))
    kept.grant("b", Grant(1, POOL.start, POOL.end, A, 2, there))
    assert agrees(kept.custody, old), "all that it needs is here"
    kept.admins[C] = None
    kept.settle("c", 1, 1)
    kept.custody.settle()
    assert not agrees(kept.custody, old)
    kept.hear("a", GRANT, there, None)
    assert not agrees(kept.custody, old), "although it names the same owner everywhere"


def test_numbers_in_force_are_written_with_who_held_them() -> None:
    kept = Numbers()
    handed = kept.grant("b", Grant(NUMBER_POOL, WEB, WEB + 1, C, 2, kept.web, "web"))
    rows = rows_of(kept.custody, NUMBER_POOL)
    assert rows is not None
    assert rows[1] == Row(bytes((WEB,)), bytes((WEB + 1,)), C, 2, handed, "web", [C, B])
    edition = edition_of(kept.custody, NUMBER_POOL)
    assert agrees(kept.custody, edition)
    assert not agrees(kept.custody, with_row(edition, 1, name="db"))
    assert not agrees(kept.custody, with_row(edition, 1, holders=[C]))
    assert not agrees(kept.custody, with_row(edition, 1, name="", holders=[]))
    assert not agrees(kept.custody, with_row(edition, 0, holders=[A]))


def test_only_so_many_holders_are_remembered() -> None:
    kept = Numbers()
    previous, holder = kept.web, "b"
    for version in range(2, 2 * limits.MAX_HOLDERS):
        grant = Grant(NUMBER_POOL, WEB, WEB + 1, identity_of(f"h{version}"), version, previous, "web")
        previous, holder = kept.grant(holder, grant), f"h{version}"
    edition = edition_of(kept.custody, NUMBER_POOL)
    assert len(edition.rows[1].holders) == limits.MAX_HOLDERS and agrees(kept.custody, edition)


def test_a_spent_number_is_free_again_when_its_network_is_forgotten() -> None:
    kept = Numbers()
    kept.grant("b", Grant(NUMBER_POOL, WEB, WEB + 1, A, 2, kept.web))
    root = kept.grant("b", Grant(WEB, POOL.start, POOL.end, B, 0, b""))
    before = edition_of(kept.custody, NUMBER_POOL)
    assert before.rows[1].holders == [A] and agrees(kept.custody, before)
    early = with_row(before, 1, holders=[])
    assert not agrees(kept.custody, early), "a grant of that network is held yet"
    kept.hear("b", GRANT, root, None)
    assert edition_of(kept.custody, NUMBER_POOL) == early and agrees(kept.custody, early)
    assert agrees(kept.custody, before), "who proposes may have known less"
    kept.admins[A] = None
    kept.settle("a", NUMBER_POOL, 1)
    assert kept.custody.numbers.spent() != {}
    kept.custody.settle()
    free = kept.custody.numbers.free_from(WEB)
    assert kept.custody.numbers.spent() == {} and free is not None and (free.start, free.owner) == (WEB, A)


def test_a_spent_number_of_another_than_the_registrar_stays_spent() -> None:
    kept = Numbers()
    kept.grant("b", Grant(NUMBER_POOL, WEB, WEB + 1, B, 2, kept.web))
    kept.admins[A] = None
    for number in (1, 2):
        kept.settle("a", NUMBER_POOL, number)
        kept.custody.settle()
        assert list(kept.custody.numbers.spent()) == [WEB] and kept.custody.numbers.registrar() == A


def test_without_a_registrar_nothing_is_said_of_numbers() -> None:
    kept = Numbers()
    kept.grant("a", Grant(NUMBER_POOL, 0, WEB, B, 1, kept.root))
    assert kept.custody.numbers.registrar() is None and rows_of(kept.custody, NUMBER_POOL) is None
