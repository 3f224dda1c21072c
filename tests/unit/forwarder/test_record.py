"""Entries: the prefix written before a frame is the documented one."""

from __future__ import annotations

from crypto.session import TAG_BYTES
from meshnet.forwarder.record import (
    FRAME_PREFIX,
    KEEPALIVE,
    KIND_FRAME,
    KIND_KEEPALIVE,
    PLAINTEXT_BYTES,
    RECORD_BYTES,
    read_prefix,
    write_prefix,
)


def test_a_frame_entry_is_kind_length_network_and_body() -> None:
    buffer = bytearray(b"\xee" * 100)
    write_prefix(buffer, 10, 70, 0x01020304)
    assert buffer[10 : 10 + FRAME_PREFIX] == bytes([KIND_FRAME]) + (4 + 70).to_bytes(3) + bytes((1, 2, 3, 4))
    assert buffer[:10] == b"\xee" * 10 and buffer[18:] == b"\xee" * 82
    assert read_prefix(buffer, 10) == (KIND_FRAME << 24 | 74, 0x01020304)


def test_the_largest_frame_entry_has_a_length_of_24_bits() -> None:
    buffer = bytearray(FRAME_PREFIX)
    write_prefix(buffer, 0, PLAINTEXT_BYTES - FRAME_PREFIX, 0xFFFFFFFF)
    word, number = read_prefix(buffer, 0)
    assert (word >> 24, word & 0xFFFFFF, number) == (KIND_FRAME, PLAINTEXT_BYTES - 4, 0xFFFFFFFF)


def test_a_keepalive_is_one_empty_entry() -> None:
    assert bytes([KIND_KEEPALIVE]) + bytes(3) == KEEPALIVE
    assert RECORD_BYTES - TAG_BYTES == PLAINTEXT_BYTES
