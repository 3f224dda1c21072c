"""Slices that wait: every order completes, wrong ones do no harm, and memory and time are bounded."""

from __future__ import annotations

import itertools
import os
import random
import tracemalloc

import pytest

from meshnet.forwarder.reassembly import ENTRY_BYTES, ENTRY_OPENS, EXPIRE_S, SESSION_BYTES, TABLE_BYTES, Reassembly

KEY = b"k" * 16
PIECES = [b"aaaa", b"bbbb", b"cc"]


def breach(sessions: int, size: int, slices: int = 255) -> str | None:
    """Which bound a flood of forged slices from this many sessions breaks, or None."""
    table = Reassembly()
    for number in range(2 * TABLE_BYTES // (size + 512) // 8 * 8):
        table.add(number.to_bytes(16), number % sessions, number % slices, slices, bytes(size), now=0.0)
        if table.bytes_held > min(TABLE_BYTES, sessions * SESSION_BYTES):
            return f"{table.bytes_held} bytes are held"
    held = {session: sum(e.charged for e in table._entries.values() if e.session == session) for session in (0, 1)}
    if max(held.values()) > SESSION_BYTES:
        return f"one session holds {max(held.values())} bytes"
    if sum(entry.charged for entry in table._entries.values()) != table.bytes_held:
        return "the charge is not what is held"
    if not table.evicted:
        return "nothing had to go"
    if not comes_through(table, size, slices):
        return "a record that comes between forged slices is not put together"
    kept = len(table)
    gone = table.expire(EXPIRE_S)
    if gone != kept or len(table) or table.bytes_held:
        return f"{len(table)} of {kept} entries outlive their time with {table.bytes_held} bytes"
    if not comes_through(table, size, slices):
        return "a session stays full after everything of it is gone"
    return None


def comes_through(table: Reassembly, size: int, slices: int) -> bool:
    """Whether a record of session 0 is put together when as many forged slices come between its own."""
    entry = None
    true_slices = min(45, 64_000 // size)
    for number in range(true_slices):
        table.add(b"f" + number.to_bytes(15), 0, number % slices, slices, bytes(size), now=0.0)
        entry = table.add(b"true", 0, number, true_slices, bytes(size), now=0.0)
    table.remove(b"true")
    return entry is not None


def test_every_order_completes_the_record() -> None:
    for order in itertools.permutations(range(3)):
        table = Reassembly()
        entries = [table.add(KEY, 1, number, 3, PIECES[number], 0.0) for number in order]
        assert entries[:2] == [None, None] and entries[2] is not None
        assert entries[2].candidates() == [b"".join(PIECES)]
        table.remove(KEY)
        assert len(table) == table.bytes_held == 0


def test_duplicates_cost_nothing() -> None:
    table = Reassembly()
    table.add(KEY, 1, 0, 3, PIECES[0], 0.0)
    held = table.bytes_held
    assert table.add(KEY, 1, 0, 3, PIECES[0], 0.0) is None
    assert table.bytes_held == held and len(table) == 1


@pytest.mark.parametrize("forged_first", [True, False])
@pytest.mark.parametrize("place", range(3))
def test_one_forged_slice_leaves_the_true_record_among_the_candidates(forged_first: bool, place: int) -> None:
    table = Reassembly()
    arrivals = [(place, b"forged"[: len(PIECES[place])]), (place, PIECES[place])]
    if not forged_first:
        arrivals.reverse()
    arrivals += [(number, PIECES[number]) for number in range(3) if number != place]
    entry = None
    for number, piece in arrivals:
        entry = table.add(KEY, 1, number, 3, piece, 0.0)
    assert entry is not None
    assert b"".join(PIECES) in entry.candidates() and len(entry.candidates()) == 2


def test_a_true_slice_that_arrives_after_the_entry_was_tried_gets_its_chance() -> None:
    table = Reassembly()
    for number, piece in enumerate([b"xxxx", *PIECES[1:]]):
        entry = table.add(KEY, 1, number, 3, piece, 0.0)
    assert entry is not None and entry.candidates() == [b"xxxx" + b"".join(PIECES[1:])]
    entry.opens = 1
    again = table.add(KEY, 1, 0, 3, PIECES[0], 0.0)
    assert again is entry and b"".join(PIECES) in entry.candidates()


def test_an_entry_is_opened_at_most_three_times() -> None:
    table = Reassembly()
    for number in range(8):
        table.add(KEY, 1, number, 8, b"f", 0.0)
        entry = table.add(KEY, 1, number, 8, b"t", 0.0)
    assert entry is not None
    opens = 0
    while candidates := entry.candidates():
        entry.opens += 1
        opens += 1
        assert len(candidates) <= ENTRY_OPENS
    assert opens == ENTRY_OPENS


def test_a_third_version_of_a_slice_is_ignored() -> None:
    table = Reassembly()
    table.add(KEY, 1, 0, 2, b"1", 0.0)
    table.add(KEY, 1, 0, 2, b"2", 0.0)
    held = table.bytes_held
    assert table.add(KEY, 1, 0, 2, b"3", 0.0) is None and table.bytes_held == held


@pytest.mark.parametrize(("sessions", "size", "slices"), [(1, 1456, 45), (20, 1456, 45), (20, 1, 255), (3, 1456, 255)])
def test_a_flood_is_bounded_and_forgotten(sessions: int, size: int, slices: int) -> None:
    assert breach(sessions, size, slices) is None


def test_at_the_bound_of_a_session_its_own_oldest_go() -> None:
    table = Reassembly()
    table.add(b"other", 2, 0, 2, bytes(1456), 0.0)
    number = 0
    while not table.evicted:
        table.add(number.to_bytes(16), 1, 0, 2, bytes(1456), 0.0)
        number += 1
    assert SESSION_BYTES // 4096 < number < SESSION_BYTES // 1456
    assert table.add((0).to_bytes(16), 1, 1, 2, bytes(1456), 0.0) is None, "the first is gone"
    assert table.add((number - 1).to_bytes(16), 1, 1, 2, bytes(1456), 0.0) is not None, "the last is there"
    assert table.add(b"other", 2, 1, 2, bytes(1456), 0.0) is not None, "another session's are there"


def test_one_record_is_bounded_and_a_true_one_fits_beside_its_forgeries() -> None:
    table = Reassembly()
    for number in range(255):
        table.add(KEY, 1, number, 255, bytes(65_000), 0.0)
        assert table.bytes_held <= ENTRY_BYTES
    assert table.evicted >= 255 - ENTRY_BYTES // 65_000
    table = Reassembly()
    for number in range(255):
        table.add(KEY, 1, number, 255, b"f" * 251, 0.0)
        entry = table.add(KEY, 1, number, 255, b"t" * 250, 0.0)
    assert table.evicted == 0 and entry is not None and len(entry.alternates) == 255


@pytest.mark.parametrize(("size", "slices"), [(1, 255), (2, 255), (2, 1), (100, 45), (1456, 45)])
def test_entries_are_charged_for_what_they_take(size: int, slices: int) -> None:
    table = Reassembly()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            key = (number // min(slices, 40)).to_bytes(16)
            table.add(key, 1, number % slices, slices, os.urandom(size), 0.0)
        real = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert real <= 1.1 * table.bytes_held + 65_536 and table.bytes_held <= SESSION_BYTES


def test_what_waits_too_long_is_forgotten_the_oldest_alone() -> None:
    table = Reassembly()
    table.add(b"old", 1, 0, 2, b"x", 10.0)
    table.add(b"new", 1, 0, 2, b"x", 10.1)
    assert table.expire(10.0 + EXPIRE_S - 0.01) == 0
    assert table.expire(10.01 + EXPIRE_S) == 1 and len(table) == 1
    assert table.add(b"new", 1, 1, 2, b"y", 10.25) is not None
    table.remove(b"unknown")


def test_the_charge_agrees_with_what_is_held_whatever_happens() -> None:
    rng = random.Random(3)
    table = Reassembly()
    for step in range(5_000):
        key = bytes([rng.randrange(20)]) * 16
        entry = table.add(key, key[0] % 3, rng.randrange(4), 4, bytes([rng.randrange(3)]) * 5, step / 100)
        if entry is not None and rng.random() < 0.5:
            table.remove(key)
        if rng.random() < 0.01:
            table.expire(step / 100)
    assert table.bytes_held == sum(entry.charged for entry in table._entries.values())
    table.expire(1e9)
    assert table.bytes_held == len(table) == 0 and not table._shares
