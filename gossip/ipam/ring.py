"""The ring: who owns which part of a network's pools, by a chain of custody.

Purpose: ownership as a pure function of the set of grants heard, in whatever order they came.
Rule: a pool begins with its founder's founding grant over all of it. A grant counts where its donor owned the range by
the grant it names as `previous`, with a version one higher and a range inside that one's. Two grants of one donor for
one address are a fork: the smaller id holds there, and the fork is reported. The tiles are the leaves of that tree and
cover each pool exactly once, as soon as its founding grant is known. A grant whose ancestor has not come yet waits.
Flow: `add` every grant heard -> `tiles()` / `owner(address)`; cached until the next grant.
Reference: design §6.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from gossip.bodies import Grant
from gossip.ipam.ranges import Pool, show


@dataclass(frozen=True, slots=True)
class Deed:
    """A grant with who signed it and its id."""

    id: bytes
    donor: bytes
    grant: Grant


@dataclass(frozen=True, slots=True)
class Tile:
    """A half-open range, its owner, and the deed by which it is owned."""

    start: int
    end: int
    owner: bytes
    deed: Deed


class Ring:
    """The custody of one network's pools."""

    def __init__(self, pools: Sequence[Pool], founder: bytes) -> None:
        self.pools = sorted(pools, key=lambda pool: pool.start)
        self.founder = founder
        self._deeds: dict[bytes, Deed] = {}
        self._founding: dict[bytes, Deed] = {}
        self._children: dict[bytes, dict[bytes, Deed]] = {}
        self._tiles: list[Tile] | None = None
        self._starts: list[int] = []
        self.forks: list[str] = []

    def add(self, deed: Deed) -> None:
        """Take a grant in; what does not fit its ancestor is never looked at again, but waits for it."""
        self._deeds[deed.id] = deed
        if deed.grant.previous:
            self._children.setdefault(deed.grant.previous, {})[deed.id] = deed
        else:
            self._founding[deed.id] = deed
        self._tiles = None

    def tiles(self) -> list[Tile]:
        """The tiles, in address order."""
        if self._tiles is None:
            self.forks = []
            found = [tile for pool in self.pools for tile in self._pool_tiles(pool)]
            self._tiles = sorted(found, key=lambda tile: tile.start)
            self._starts = [tile.start for tile in self._tiles]
        return self._tiles

    def owned(self, identity: bytes) -> list[Tile]:
        """The tiles of one owner, in address order."""
        return [tile for tile in self.tiles() if tile.owner == identity]

    def owner(self, address: int) -> bytes | None:
        """Who owns the address; None outside the pools and before the founding grant is known."""
        tile = self.tile(address)
        return None if tile is None else tile.owner

    def tile(self, address: int) -> Tile | None:
        """The tile the address lies in; None outside the pools and before the founding grant is known."""
        tiles = self.tiles()
        at = bisect_right(self._starts, address) - 1
        return tiles[at] if at >= 0 and address < tiles[at].end else None

    def chain(self, tile: Tile) -> list[Deed]:
        """The deeds by which the tile came to its owner, the newest first, the founding one last."""
        deeds = [tile.deed]
        while deeds[-1].grant.previous:
            deeds.append(self._deeds[deeds[-1].grant.previous])
        return deeds

    def pool(self, address: int) -> Pool | None:
        """The pool an address lies in."""
        return next((pool for pool in self.pools if pool.start <= address < pool.end), None)

    def _pool_tiles(self, pool: Pool) -> list[Tile]:
        roots = [deed for _, deed in sorted(self._founding.items()) if self._founds(deed, pool)]
        if len(roots) > 1:
            self.forks.append(f"{show(pool.start)}/{pool.length} was founded {len(roots)} times")
        tiles: list[Tile] = []
        pending = [(roots[0], pool.start, pool.end)] if roots else []
        while pending:
            deed, start, end = pending.pop()
            free = [(start, end)]
            for child in self._heirs(deed):
                taken, free = _take(free, child.grant.start, child.grant.end)
                pending += [(child, left, right) for left, right in taken]
            tiles += [Tile(left, right, deed.grant.to, deed) for left, right in free]
        return tiles

    def _founds(self, deed: Deed, pool: Pool) -> bool:
        grant = deed.grant
        whole = (grant.start, grant.end) == (pool.start, pool.end)
        return whole and deed.donor == self.founder == grant.to and grant.version == 0

    def _heirs(self, deed: Deed) -> list[Deed]:
        parent = deed.grant
        heirs = [
            child
            for _, child in sorted(self._children.get(deed.id, {}).items())
            if child.donor == parent.to
            and child.grant.version == parent.version + 1
            and parent.start <= child.grant.start
            and child.grant.end <= parent.end
        ]
        spans = sorted((child.grant.start, child.grant.end) for child in heirs)
        reach = 0
        for start, end in spans:
            if start < reach:
                self.forks.append(f"{show(start)} was granted twice by one owner")
            reach = max(reach, end)
        return heirs


def _take(free: list[tuple[int, int]], start: int, end: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Cut start <= a < end out of the free pieces: (what was cut, what is left), both without empty pieces.

    `free` is in order and is changed in place: a pool of numbers is cut a thousand times.
    """
    first = max(bisect_right(free, (start, end)) - 1, 0)
    last = first
    taken: list[tuple[int, int]] = []
    left: list[tuple[int, int]] = []
    while last < len(free) and free[last][0] < end:
        low, high = free[last]
        last += 1
        inner = (max(low, start), min(high, end))
        if inner[0] >= inner[1]:
            left.append((low, high))
            continue
        taken.append(inner)
        left += [piece for piece in ((low, inner[0]), (inner[1], high)) if piece[0] < piece[1]]
    free[first:last] = left
    return taken, free
