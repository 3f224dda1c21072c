"""The ring: who owns which part of a network's pools, by a chain of custody.

Purpose: ownership as a pure function of the set of grants held, in whatever order they came.
Rule: a pool begins with its founder's founding grant over all of it, or, once a register is settled, with the rows of
that (`rest_on`). A grant counts where its donor owned the range by the grant or row it names as `previous`, with a
version one higher and a range inside that one's; a grant that stands in for a fenced owner counts for that owner's, and
before any of its own. Two grants for one address are a fork: the smaller id holds there, and the fork is reported. The
tiles are the leaves of that tree and cover each pool exactly once, as soon as its beginning is known. A grant whose
ancestor has not come yet waits.
Flow: `add` every grant heard, `drop` every one withdrawn -> `tiles()` / `owner(address)`. One more grant out of one
tile cuts that tile alone; whatever else changes, all tiles are laid anew when they are asked for next.
Reference: design §6; docs/adr/0009-registers.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gossip import limits
from gossip.ipam.ranges import Pool, show
from gossip.state.address_bodies import Grant

Fenced = Callable[[bytes, bytes, bytes], bool]
"""(donor, owner, run) -> whether by that reclaim the donor may give what the owner owned."""


@dataclass(frozen=True, slots=True)
class Deed:
    """A grant with who signed it and its id; or a register's row as one, with its author and an empty `previous`."""

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


@dataclass(slots=True)
class _Laid:
    tiles: list[Tile] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    counted: dict[bytes, None] = field(default_factory=dict)
    forks: dict[str, None] = field(default_factory=dict)

    def tell(self, fork: str) -> None:
        if len(self.forks) < limits.MAX_FORKS:
            self.forks[fork] = None


def never(_donor: bytes, _owner: bytes, _run: bytes) -> bool:
    """Nobody is fenced."""
    return False


class Ring:
    """The custody of one network's pools. `version`: what the version of its first tiles is above."""

    def __init__(self, pools: Sequence[Pool], founder: bytes, fenced: Fenced = never, version: int = 0) -> None:
        self.pools = sorted(pools, key=lambda pool: pool.start)
        self.founder = founder
        self._fenced = fenced
        self._deeds: dict[bytes, Deed] = {}
        self._founding: dict[bytes, Deed] = {}
        self._children: dict[bytes, dict[bytes, Deed]] = {}
        self._instead = 0
        self._roots: list[Deed] = []
        self._laid = _Laid()
        self._stale = True
        self._version = version
        self._owned: dict[bytes, list[Tile]] = {}

    # --- what is heard --------------------------------------------------------------------------------------------

    def add(self, deed: Deed) -> None:
        """Take a grant in; what does not fit its ancestor is never looked at again, but waits for it."""
        if deed.id in self._deeds:
            return
        self._deeds[deed.id] = deed
        self._instead += bool(deed.grant.run)
        if deed.grant.previous:
            self._children.setdefault(deed.grant.previous, {})[deed.id] = deed
        else:
            self._founding[deed.id] = deed
        if not self._stale:
            self._stale = not self._cut(deed)

    def drop(self, deed_id: bytes) -> None:
        """A grant was withdrawn, or is not heeded now; nothing when it is not here."""
        deed = self._deeds.pop(deed_id, None)
        if deed is None:
            return
        self._instead -= bool(deed.grant.run)
        self._founding.pop(deed_id, None)
        siblings = self._children.get(deed.grant.previous, {})
        siblings.pop(deed_id, None)
        if not siblings:
            self._children.pop(deed.grant.previous, None)
        self._stale = self._stale or deed_id in self._laid.counted

    def rest_on(self, roots: Sequence[Deed]) -> None:
        """Begin with these rows of a register, which cover the pools (see `covers`); with none: by founding grants."""
        ordered = sorted(roots, key=lambda root: root.grant.start)
        if ordered != self._roots:
            self._roots = ordered
            self._stale = True

    def touch(self) -> None:
        """Who is fenced changed: look at the grants that stand in for others again."""
        self._stale = self._stale or self._instead > 0

    def under(self, roots: Sequence[Deed]) -> Ring:
        """This ring as it would be with those rows to begin with. Shares its grants: for use within one step."""
        other = Ring(self.pools, self.founder, self._fenced)
        other._deeds, other._founding, other._children = self._deeds, self._founding, self._children
        other.rest_on(roots)
        return other

    # --- what it means --------------------------------------------------------------------------------------------

    def tiles(self) -> list[Tile]:
        """The tiles, in address order."""
        if self._stale:
            before, self._laid = self._laid, self._lay()
            self._stale = False
            if before.tiles != self._laid.tiles:
                self._moved()
        return self._laid.tiles

    @property
    def version(self) -> int:
        """Grows whenever the tiles are others than before."""
        self.tiles()
        return self._version

    @property
    def forks(self) -> list[str]:
        """Ranges that were given twice, in words; the first MAX_FORKS."""
        self.tiles()
        return list(self._laid.forks)

    def owned(self, identity: bytes) -> list[Tile]:
        """The tiles of one owner, in address order; not to be changed."""
        tiles = self.tiles()
        if identity not in self._owned:
            self._owned[identity] = [tile for tile in tiles if tile.owner == identity]
        return self._owned[identity]

    def owner(self, address: int) -> bytes | None:
        """Who owns the address; None outside the pools and before the beginning is known."""
        tile = self.tile(address)
        return None if tile is None else tile.owner

    def tile(self, address: int) -> Tile | None:
        """The tile the address lies in; None outside the pools and before the beginning is known."""
        tiles = self.tiles()
        at = bisect_right(self._laid.starts, address) - 1
        return tiles[at] if at >= 0 and address < tiles[at].end else None

    def chain(self, tile: Tile) -> list[Deed]:
        """The deeds by which the tile came to its owner, the newest first, the founding one or a row last."""
        deeds = [tile.deed]
        root = self._root(tile.start)
        while deeds[-1].grant.previous:
            previous = deeds[-1].grant.previous
            deeds.append(root if root is not None and root.id == previous else self._deeds[previous])
        return deeds

    def counts(self, deed_id: bytes) -> bool:
        """Whether a grant, or a row with that deed, has part in who owns what."""
        self.tiles()
        return deed_id in self._laid.counted

    def pool(self, address: int) -> Pool | None:
        """The pool an address lies in."""
        return next((pool for pool in self.pools if pool.start <= address < pool.end), None)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _moved(self) -> None:
        self._version += 1
        self._owned = {}

    def _root(self, address: int) -> Deed | None:
        at = bisect_right(self._roots, address, key=lambda root: root.grant.start) - 1
        return self._roots[at] if at >= 0 and address < self._roots[at].grant.end else None

    def _lay(self) -> _Laid:
        laid = _Laid()
        found: list[Tile] = []
        if self._roots:
            found = self._descend(laid, [(root, root.grant.start, root.grant.end) for root in self._roots])
        for pool in [] if self._roots else self.pools:
            founding = [deed for _, deed in sorted(self._founding.items()) if self._founds(deed, pool)]
            if len(founding) > 1:
                laid.tell(f"{show(pool.start)}/{pool.length} was founded {len(founding)} times")
            found += self._descend(laid, [(deed, pool.start, pool.end) for deed in founding[:1]])
        laid.tiles = sorted(found, key=lambda tile: tile.start)
        laid.starts = [tile.start for tile in laid.tiles]
        return laid

    def _descend(self, laid: _Laid, pending: list[tuple[Deed, int, int]]) -> list[Tile]:
        """The tiles of these deeds in these ranges, in no order."""
        tiles: list[Tile] = []
        while pending:
            deed, start, end = pending.pop()
            laid.counted[deed.id] = None
            free = [(start, end)]
            for child in self._heirs(laid, deed):
                taken, free = _take(free, child.grant.start, child.grant.end)
                pending += [(child, left, right) for left, right in taken]
            tiles += [Tile(left, right, deed.grant.to, deed) for left, right in free]
        return tiles

    def _founds(self, deed: Deed, pool: Pool) -> bool:
        grant = deed.grant
        whole = (grant.start, grant.end) == (pool.start, pool.end)
        return whole and deed.donor == self.founder == grant.to and grant.version == 0

    def _fits(self, child: Deed, parent: Grant) -> bool:
        grant = child.grant
        inside = parent.start <= grant.start and grant.end <= parent.end
        if not inside or grant.version != parent.version + 1:
            return False
        return self._fenced(child.donor, parent.to, grant.run) if grant.run else child.donor == parent.to

    def _heirs(self, laid: _Laid, deed: Deed) -> list[Deed]:
        children = self._children.get(deed.id)
        if not children:
            return []
        fitting = [child for child in children.values() if self._fits(child, deed.grant)]
        for stead in (True, False):  # what a reclaim took over was nobody's to give any more: no fork
            reach = 0
            for start, end in sorted((c.grant.start, c.grant.end) for c in fitting if bool(c.grant.run) is stead):
                if start < reach:
                    laid.tell(f"{show(start)} was granted twice")
                reach = max(reach, end)
        return sorted(fitting, key=lambda child: (not child.grant.run, child.id))

    def _cut(self, deed: Deed) -> bool:
        """Bring the tiles up to date with one more deed; False when they must be laid anew."""
        grant = deed.grant
        if not grant.previous:
            return bool(self._roots)
        if grant.previous not in self._laid.counted:
            return True
        siblings = self._children[grant.previous]
        if any(s is not deed and s.grant.start < grant.end and grant.start < s.grant.end for s in siblings.values()):
            return False
        at = bisect_right(self._laid.starts, grant.start) - 1
        tile = self._laid.tiles[at] if at >= 0 else None
        if tile is None or tile.deed.id != grant.previous or tile.end < grant.end or tile.end <= grant.start:
            return False
        if not self._fits(deed, tile.deed.grant):
            return True
        pieces = self._descend(self._laid, [(deed, grant.start, grant.end)])
        pieces += [Tile(low, high, tile.owner, tile.deed) for low, high in _around(tile, grant) if low < high]
        pieces.sort(key=lambda piece: piece.start)
        tiles = self._laid.tiles
        self._laid.tiles = [*tiles[:at], *pieces, *tiles[at + 1 :]]
        self._laid.starts[at : at + 1] = [piece.start for piece in pieces]
        self._moved()
        return True


def covers(roots: Sequence[Deed], pools: Sequence[Pool]) -> bool:
    """Whether the rows, in address order, cover each of the pools exactly once, and nothing else."""
    spans = iter(sorted((root.grant.start, root.grant.end) for root in roots))
    for pool in sorted(pools, key=lambda pool: pool.start):
        at = pool.start
        while at < pool.end:
            start, end = next(spans, (-1, -1))
            if start != at or not at < end <= pool.end:
                return False
            at = end
    return next(spans, None) is None


def same_tiles(one: Ring, other: Ring) -> bool:
    """Whether two rings say the same of every address: the same owner by the same deed."""
    return _spans(one.tiles()) == _spans(other.tiles())


def outgrown(deed: Deed, roots: Sequence[Deed]) -> bool:
    """Whether the deed can never count with those rows to begin with: each that it touches has its version or more.

    `roots`: rows in address order that cover the pools. A deed outside of them is not outgrown.
    """
    grant = deed.grant
    at = max(bisect_right(roots, grant.start, key=lambda root: root.grant.start) - 1, 0)
    touched = False
    while at < len(roots) and roots[at].grant.start < grant.end:
        if grant.start < roots[at].grant.end:
            touched = True
            if roots[at].grant.version < grant.version:
                return False
        at += 1
    return touched


def _around(tile: Tile, grant: Grant) -> tuple[tuple[int, int], tuple[int, int]]:
    return (tile.start, grant.start), (grant.end, tile.end)


def _spans(tiles: Sequence[Tile]) -> list[tuple[int, int, bytes, bytes]]:
    spans: list[tuple[int, int, bytes, bytes]] = []
    for tile in tiles:
        if spans and spans[-1][1:] == (tile.start, tile.owner, tile.deed.id):
            spans[-1] = (spans[-1][0], tile.end, tile.owner, tile.deed.id)
        else:
            spans.append((tile.start, tile.end, tile.owner, tile.deed.id))
    return spans


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
