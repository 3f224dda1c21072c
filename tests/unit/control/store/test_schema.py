"""Rows and their sums: every part counts, nothing runs together, and a row that does not fit is found."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from meshnet.control.store import schema


@pytest.fixture
def tables() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        for table in schema.TABLES:
            connection.execute(table)
        yield connection


def test_the_sum_covers_every_part_and_where_it_ends() -> None:
    parts = [
        ("a", b"b", b"c"),
        ("ab", b"", b"c"),
        ("", b"ab", b"c"),
        ("a", b"bc", b""),
        ("a", b"", b"bc"),
        ("", b"", b""),
    ]
    assert len({schema.checksum(*row) for row in parts}) == len(parts)


def test_rows_are_written_changed_and_deleted(tables: sqlite3.Connection) -> None:
    assert schema.get(tables, "a", b"k") is None
    for value in (b"1", b"2"):
        schema.put(tables, "a", b"k", value)
        assert schema.get(tables, "a", b"k") == value and schema.wrong_row(tables) is None
    schema.put(tables, "a", b"k", None)
    schema.put(tables, "a", b"k", None)
    assert schema.get(tables, "a", b"k") is None


@pytest.mark.parametrize(
    "change", ["value = x'00'", "value = 'text'", "value = 7", "key = x'00'", "space = 'b'", "space = x'ff'", "sum = 1"]
)
def test_a_row_that_was_changed_otherwise_is_found(tables: sqlite3.Connection, change: str) -> None:
    schema.put(tables, "a", b"k", b"v")
    schema.put(tables, "other", b"k", b"v")
    assert schema.wrong_row(tables) is None
    tables.execute(f"UPDATE kv SET {change} WHERE space = 'a'")
    assert "wrong sum" in str(schema.wrong_row(tables))
