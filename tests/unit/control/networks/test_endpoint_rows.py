"""What follows from an endpoint's id and its row."""

from __future__ import annotations

import msgspec

from meshnet.control.networks.endpoint_rows import Record, host_link, is_unclaimed, lease_ids, peer_link

ID = bytes.fromhex("0a1b2c3d4e")


def record(addresses: list[str], leases: list[int]) -> Record:
    return Record(1, b"\2\0\0\0\0\1", addresses, leases, "web", "4:1", "mesh0", True)


def test_both_ends_of_the_link_are_named_by_the_id() -> None:
    assert (host_link(ID), peer_link(ID)) == ("mv0a1b2c3d4e", "mp0a1b2c3d4e")


def test_every_address_has_a_key_of_its_own() -> None:
    assert lease_ids(ID, record([], [])) == [ID]
    assert lease_ids(ID, record(["10.32.0.2/12"], [1])) == [ID]
    assert lease_ids(ID, record(["10.32.0.2/12", "fd00::2/64"], [1, 2])) == [ID, ID + b"\x01"]


def test_addresses_without_leases_are_unclaimed() -> None:
    assert is_unclaimed(record(["10.32.0.2/12"], []))
    assert not is_unclaimed(record([], [])) and not is_unclaimed(record(["10.32.0.2/12"], [4]))


def test_a_row_is_read_back() -> None:
    row = record(["10.32.0.2/12"], [4])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(row), type=Record) == row
