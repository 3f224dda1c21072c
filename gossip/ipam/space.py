"""The free space in the tiles of one peer, kept in step with every address taken and given back.

Purpose: an allocation that costs the same with ten leases and ten thousand: the free pieces are kept in order.
Rule: a piece is a maximal run of addresses of one tile of which none is in use; a piece never spans two tiles, for each
tile is owned by a deed of its own. What is in use outside the tiles (borrowed addresses) is known apart.
Flow: `gossip.ipam.allocator` makes one of tiles and used addresses -> `take`, `give` -> `find`, `free`, `pieces`.
Reference: design §6.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from gossip.ipam.ranges import Pool
from gossip.ipam.ring import Ring, Tile

Piece = tuple[Tile, int, int]
"""Part of a tile, half open."""


class Space:
    """The free pieces of some tiles. `used`: addresses in use, in order; those outside the tiles are `outside`."""

    def __init__(self, ring: Ring, tiles: Sequence[Tile], used: Iterable[int]) -> None:
        self.tiles = tiles
        self.outside: dict[int, None] = {}
        self._pools: list[Pool] = []
        for tile in tiles:
            pool = ring.pool(tile.start)
            assert pool is not None  # tiles lie in pools
            self._pools.append(pool)
        self._tile_starts = [tile.start for tile in tiles]
        self.owned = sum(pool.usable(tile.start, tile.end) for tile, pool in zip(tiles, self._pools, strict=True))
        """How many addresses the tiles have for leasing, those in use included."""
        self.free = self.owned
        """How many of them are not in use."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._cut(used)

    def take(self, address: int) -> None:
        """The address, which was not in use, is."""
        index = self._tile(address)
        if index is None:
            self.outside[address] = None
            return
        at = bisect_right(self._starts, address) - 1
        start, end = self._starts[at], self._ends[at]
        if start == address and end == address + 1:
            del self._starts[at], self._ends[at]
        elif start == address:
            self._starts[at] = address + 1
        else:
            self._ends[at] = address
            if address + 1 < end:
                self._starts.insert(at + 1, address + 1)
                self._ends.insert(at + 1, end)
        self.free -= not self._pools[index].reserved(address)

    def give(self, address: int) -> None:
        """The address, which was in use, is not."""
        index = self._tile(address)
        if index is None:
            self.outside.pop(address, None)
            return
        tile = self.tiles[index]
        at = bisect_right(self._starts, address)
        left = at > 0 and self._ends[at - 1] == address > tile.start
        right = at < len(self._starts) and self._starts[at] == address + 1 < tile.end
        if left and right:
            self._ends[at - 1] = self._ends[at]
            del self._starts[at], self._ends[at]
        elif left:
            self._ends[at - 1] = address + 1
        elif right:
            self._starts[at] = address
        else:
            self._starts.insert(at, address)
            self._ends.insert(at, address + 1)
        self.free += not self._pools[index].reserved(address)

    def find(self, after: int) -> int | None:
        """The first free address that may be leased and is greater than `after`, else the first of all."""
        first = bisect_right(self._ends, after + 1)
        # passed over are only pieces of reserved addresses alone, of which a pool has two
        for at in range(first, len(self._starts)):
            found = self._leasable(max(self._starts[at], after + 1), self._ends[at])
            if found is not None:
                return found
        for at in range(min(first + 1, len(self._starts))):
            found = self._leasable(self._starts[at], self._ends[at])
            if found is not None:
                return found
        return None

    def pieces(self) -> list[Piece]:
        """The free pieces, in address order."""
        found: list[Piece] = []
        for start, end in zip(self._starts, self._ends, strict=True):
            index = self._tile(start)
            assert index is not None
            found.append((self.tiles[index], start, end))
        return found

    def piece(self, address: int) -> Piece | None:
        """The free piece the address lies in."""
        at = bisect_right(self._starts, address) - 1
        index = self._tile(address)
        if index is None or at < 0 or address >= self._ends[at]:
            return None
        return self.tiles[index], self._starts[at], self._ends[at]

    def usable(self, start: int, end: int) -> int:
        """How many addresses of a part of one tile may be leased."""
        index = self._tile(start)
        return 0 if index is None else self._pools[index].usable(start, end)

    def _cut(self, used: Iterable[int]) -> None:
        """The free pieces, from scratch."""
        numbers = iter(used)
        address = next(numbers, None)
        for tile, pool in zip(self.tiles, self._pools, strict=True):
            at = tile.start
            while address is not None and address < tile.end:
                if address < tile.start:
                    self.outside[address] = None
                else:
                    self._add(at, address)
                    self.free -= not pool.reserved(address)
                    at = address + 1
                address = next(numbers, None)
            self._add(at, tile.end)
        while address is not None:
            self.outside[address] = None
            address = next(numbers, None)

    def _add(self, start: int, end: int) -> None:
        if start < end:
            self._starts.append(start)
            self._ends.append(end)

    def _tile(self, address: int) -> int | None:
        at = bisect_right(self._tile_starts, address) - 1
        return at if at >= 0 and address < self.tiles[at].end else None

    def _leasable(self, start: int, end: int) -> int | None:
        index = self._tile(start)
        assert index is not None
        pool = self._pools[index]
        # at most the first two and the last address of a pool are reserved
        return next((address for address in range(start, min(end, start + 3)) if not pool.reserved(address)), None)
