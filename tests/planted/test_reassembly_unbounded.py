"""Faults planted in reassembly; the flood that guards its bounds must find each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshnet.forwarder import reassembly
from meshnet.forwarder.reassembly import Entry, Reassembly
from tests.unit.forwarder.test_reassembly import breach

FLOODS = ((1, 1456, 45), (20, 1456, 45), (20, 1, 255), (3, 1456, 255))
honest_remove = Reassembly.remove


def count(table: Reassembly, entry: Entry, size: int) -> None:
    entry.charged += size
    table._shares[entry.session].held += size
    table._table += size


def charge_without_a_bound(table: Reassembly, key: bytes, entry: Entry, size: int) -> bool:
    """Counted, and nothing goes."""
    count(table, entry, size)
    return True


def charge_by_session_alone(table: Reassembly, key: bytes, entry: Entry, size: int) -> bool:
    """Many sessions together may take all memory."""
    count(table, entry, size)
    while table._shares[entry.session].held > reassembly.SESSION_BYTES:
        table._evict_before(key, table._shares[entry.session].entries)
    return True


def charge_the_table_alone(table: Reassembly, key: bytes, entry: Entry, size: int) -> bool:
    """One session may take what all others need."""
    count(table, entry, size)
    while table._table > reassembly.TABLE_BYTES:
        table._evict_before(key, table._entries)
    return True


def evict_the_newest(table: Reassembly, key: bytes, entries: dict[bytes, object]) -> None:
    """What is forged keeps its place, and the record that comes between gets none."""
    *_, before, last = entries
    honest_remove(table, last if last != key else before)
    table.evicted += 1


def expire_nothing(table: Reassembly, now: float) -> int:
    """What never completes stays for ever."""
    return 0


def remove_without_giving_back(table: Reassembly, key: bytes) -> None:
    """The place is free, and stays charged to the table."""
    before = table._table
    honest_remove(table, key)
    table._table = before


def remove_from_the_table_alone(table: Reassembly, key: bytes) -> None:
    """The session stays charged for what is gone."""
    entry = table._entries.get(key)
    honest_remove(table, key)
    if entry is not None and entry.session in table._shares:
        table._shares[entry.session].held += entry.charged


def is_noticed(flood: tuple[int, int, int]) -> bool:
    try:
        return breach(*flood) is not None
    except StopIteration:  # nothing is left to go, and the bound still seems broken
        return True


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("_charge", charge_without_a_bound),
        ("_charge", charge_by_session_alone),
        ("_charge", charge_the_table_alone),
        ("_evict_before", evict_the_newest),
        ("expire", expire_nothing),
        ("remove", remove_without_giving_back),
        ("remove", remove_from_the_table_alone),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_bound_that_does_not_hold_is_noticed(
    monkeypatch: pytest.MonkeyPatch, method: str, fault: Callable[..., object]
) -> None:
    monkeypatch.setattr(Reassembly, method, fault)
    assert any(is_noticed(flood) for flood in FLOODS)


def test_without_a_fault_the_same_floods_are_bounded() -> None:
    assert all(breach(*flood) is None for flood in FLOODS)
