"""Faults planted in reassembly; the flood that guards its bounds must find each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from meshnet.forwarder import reassembly
from meshnet.forwarder.reassembly import Entry, Reassembly
from tests.unit.forwarder.test_reassembly import breach

FLOODS = ((1, 1456, 45), (20, 1456, 45), (20, 1, 255), (3, 1456, 255))
honest_remove = Reassembly.remove


def charge_without_a_bound(table: Reassembly, session: int, size: int) -> None:
    """Counted, never refused."""
    table._by_session[session] = table._by_session.get(session, 0) + size
    table._table += size


def charge_by_session_alone(table: Reassembly, session: int, size: int) -> None:
    """Many sessions together may take all memory."""
    if table._by_session.get(session, 0) + size > reassembly.SESSION_BYTES:
        raise OverflowError
    charge_without_a_bound(table, session, size)


def charge_the_table_alone(table: Reassembly, session: int, size: int) -> None:
    """One session may take what all others need."""
    if table._table + size > reassembly.TABLE_BYTES:
        raise OverflowError
    charge_without_a_bound(table, session, size)


def expire_nothing(table: Reassembly, now: float) -> int:
    """What never completes stays for ever."""
    return 0


def remove_without_giving_back(table: Reassembly, key: bytes) -> None:
    """The place is free, and stays charged."""
    table._entries.pop(key, None)


def remove_from_the_table_alone(table: Reassembly, key: bytes) -> None:
    """The session stays charged for what is gone, and is refused for ever."""
    entry: Entry | None = table._entries.get(key)
    honest_remove(table, key)
    if entry is not None:
        table._by_session[entry.session] = table._by_session.get(entry.session, 0) + entry.charged


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("_charge", charge_without_a_bound),
        ("_charge", charge_by_session_alone),
        ("_charge", charge_the_table_alone),
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
    assert any(breach(*flood) is not None for flood in FLOODS)


def test_without_a_fault_the_same_floods_are_bounded() -> None:
    assert all(breach(*flood) is None for flood in FLOODS)
