"""The leases of this host: which of the own addresses are in use, and which comes next.

Purpose: allocation that asks nobody while the host owns free space, and that survives a crash.
Rule: one lease per (network, endpoint id), handed out round-robin, so that a freed address is not reused at once. Every
lease has a number greater than all this host has given or seen for the network. Nothing here knows peers or statements:
the owned tiles are arguments. Every change is a Put, and the rows alone rebuild the state.
Flow: `gossip.node` gives the own tiles -> `find` -> `grant_lease` -> Output; `spare_block` says what could be donated.
Reference: design §6.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from gossip import limits
from gossip.events import SPACE_LEASE, SPACE_OWN, Lease, Put
from gossip.ipam.ranges import Pool, aligned_block, show
from gossip.ipam.ring import Ring, Tile

_CURSOR = b"lease"


class _LeaseRow(msgspec.Struct, frozen=True, array_like=True):
    address: bytes
    length: int
    number: int


class _CursorRow(msgspec.Struct, frozen=True, array_like=True):
    last: bytes
    number: int


@dataclass(frozen=True, slots=True)
class Held:
    """A lease as it is kept."""

    address: int
    length: int
    number: int


@dataclass(slots=True)
class Book:
    """The leases of one network: by endpoint id, by address; the last address and number given."""

    by_id: dict[bytes, Held] = field(default_factory=dict)
    by_address: dict[int, bytes] = field(default_factory=dict)
    last: int = 0
    number: int = 0


class Allocator:
    """Every network's book."""

    def __init__(self) -> None:
        self._books: dict[int, Book] = {}

    def load(self, space: str, key: bytes, value: bytes) -> None:
        """Take one stored row of "gossip.lease" or "gossip.own" in; raises ValueError on a damaged one."""
        network = int.from_bytes(key[:4] if space == SPACE_LEASE else key[len(_CURSOR) :], "big")
        book = self.book(network)
        if space == SPACE_LEASE:
            row = msgspec.msgpack.decode(value, type=_LeaseRow)
            held = Held(int.from_bytes(row.address, "big"), row.length, row.number)
            book.by_id[key[4:]] = held
            book.by_address[held.address] = key[4:]
        else:
            cursor = msgspec.msgpack.decode(value, type=_CursorRow)
            book.last, book.number = int.from_bytes(cursor.last, "big"), cursor.number

    @staticmethod
    def owns_row(space: str, key: bytes) -> bool:
        """Whether a stored row is this class's."""
        return space == SPACE_LEASE or (space == SPACE_OWN and key[: len(_CURSOR)] == _CURSOR)

    def book(self, network: int) -> Book:
        """The network's book, made when missing."""
        return self._books.setdefault(network, Book())

    def leases(self) -> list[Lease]:
        """Every lease, by network and address."""
        return [
            _lease(network, held)
            for network, book in sorted(self._books.items())
            for held in sorted(book.by_id.values(), key=lambda held: held.address)
        ]

    def held(self, network: int, endpoint: bytes) -> Held | None:
        """The endpoint's lease."""
        return self.book(network).by_id.get(endpoint)

    def lease(self, network: int, pool: Pool, endpoint: bytes, address: int, above: int) -> tuple[Lease, list[Put]]:
        """Lease the address, which the caller found free and owned, with a number greater than `above`."""
        book = self.book(network)
        puts = self.release(network, endpoint)
        book.number = min(max(book.number, above) + 1, limits.U64_MAX)
        book.last = address
        held = Held(address, pool.length, book.number)
        book.by_id[endpoint] = held
        book.by_address[address] = endpoint
        row = msgspec.msgpack.encode(_LeaseRow(_bytes(address), held.length, held.number))
        cursor = msgspec.msgpack.encode(_CursorRow(_bytes(address), book.number))
        puts.append(Put(SPACE_LEASE, network.to_bytes(4, "big") + endpoint, row))
        puts.append(Put(SPACE_OWN, _CURSOR + network.to_bytes(4, "big"), cursor))
        return _lease(network, held), puts

    def release(self, network: int, endpoint: bytes) -> list[Put]:
        """Forget the endpoint's lease; nothing when there is none."""
        book = self.book(network)
        held = book.by_id.pop(endpoint, None)
        if held is None:
            return []
        book.by_address.pop(held.address, None)
        return [Put(SPACE_LEASE, network.to_bytes(4, "big") + endpoint, None)]

    def release_all(self) -> list[Put]:
        """Forget every lease."""
        return [
            put
            for network, book in sorted(self._books.items())
            for endpoint in sorted(book.by_id)
            for put in self.release(network, endpoint)
        ]

    def find(self, network: int, ring: Ring, tiles: Sequence[Tile]) -> int | None:
        """The next free address after the last one given, wrapping around, within the tiles (in address order)."""
        book = self.book(network)
        after = [(max(tile.start, book.last + 1), tile.end) for tile in tiles if tile.end > book.last + 1]
        before = [(tile.start, min(tile.end, book.last + 1)) for tile in tiles if tile.start <= book.last]
        for start, end in [*after, *before]:
            pool = ring.pool(start)
            for address in range(start, end):
                if address not in book.by_address and pool is not None and not pool.reserved(address):
                    return address
        return None

    def free(self, network: int, ring: Ring, tiles: Sequence[Tile]) -> int:
        """How many addresses of the tiles could be leased now."""
        return sum(_usable(ring, left, right) for _, left, right in self.gaps(network, tiles))

    def gaps(self, network: int, tiles: Sequence[Tile]) -> list[tuple[Tile, int, int]]:
        """The maximal pieces of each tile that hold no lease, as (tile, start, end)."""
        used = sorted(self.book(network).by_address)
        pieces: list[tuple[Tile, int, int]] = []
        for tile in tiles:
            start = tile.start
            for address in (a for a in used if tile.start <= a < tile.end):
                if start < address:
                    pieces.append((tile, start, address))
                start = address + 1
            if start < tile.end:
                pieces.append((tile, start, tile.end))
        return pieces

    def spare_block(self, network: int, ring: Ring, tiles: Sequence[Tile]) -> tuple[Tile, int, int] | None:
        """About half of the largest free piece, as an aligned block, so that usable addresses stay on both sides."""
        pieces = self.gaps(network, tiles)
        total = sum(_usable(ring, left, right) for _, left, right in pieces)
        for tile, left, right in sorted(pieces, key=lambda piece: (piece[1] - piece[2], -piece[1])):
            half = (right - left) // 2
            if half == 0:
                continue
            start, end = aligned_block(left, right, 1 << (right - left - 1).bit_length() - 1)
            if end - start > half + half // 8 + 1:  # aligned, but much more than half: take the true half
                start, end = right - half, right
            given = _usable(ring, start, end)
            if 0 < given < total:
                return tile, start, end
        return None


def _usable(ring: Ring, start: int, end: int) -> int:
    pool = ring.pool(start)
    return 0 if pool is None else pool.usable(start, end)


def _lease(network: int, held: Held) -> Lease:
    return Lease(network, f"{show(held.address)}/{held.length}", held.number)


def _bytes(address: int) -> bytes:
    return address.to_bytes(16, "big")
