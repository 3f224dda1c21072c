"""The rows of a register: written from a ring, and compared with one.

Purpose: what an edition says of a network, and whether another peer finds in it what it holds itself.
Rule: a row is a tile: whose it is, by which deed, of which version. Two peers that hold the same grants write the same
rows. An edition agrees with a ring when the ring, begun with its rows, gives each address to the same owner by the same
deed, and each row is a deed that counts there already: so it holds nothing that is not known here, and rests on nothing
that an earlier register has made needless. For numbers the names in force, and who held them, are the same as well; a
spent number may be left out, free again, when the registrar owns it and nothing that was said of its network is left.
Flow: `rows_of` -> chunks (gossip.custody.editions) -> `agrees` at every other peer (gossip.custody.register).
Reference: docs/adr/0009-registers.md.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence

from gossip import limits
from gossip.custody.custody import Custody
from gossip.custody.editions import Edition
from gossip.ipam.ring import Deed, Ring, Tile, same_tiles
from gossip.networks.numbers import Named, Names, names_of
from gossip.state.address_bodies import NUMBER_POOL, Row
from gossip.state.body import least_bytes


def rows_of(custody: Custody, network: int) -> list[Row] | None:
    """The rows of a network, or of the number pool (0), as they are now; None while they cannot be told.

    That is: no ring, a ring without beginning, or numbers without a registrar.
    """
    ring = custody.ring(network)
    if ring is None or not ring.tiles():
        return None
    if network != NUMBER_POOL:
        return [_row(tile, "", []) for tile in ring.tiles()]
    names = names_of(ring, custody.numbers.past)
    return None if names.registrar is None else [_number_row(custody, names, tile) for tile in ring.tiles()]


def agrees(custody: Custody, edition: Edition) -> bool:
    """Whether the edition says what this peer holds itself."""
    ring = custody.ring(edition.network)
    if ring is None or not ring.tiles() or not custody.fits(edition):
        return False
    roots = edition.roots()
    other = ring.under(roots)
    if not same_tiles(ring, other) or not _known(ring, roots):
        return False
    if edition.network != NUMBER_POOL:
        return not any(row.name or row.holders for row in edition.rows)
    return _same_names(custody, names_of(ring, custody.numbers.past), names_of(other, edition.past()))


def _row(tile: Tile, name: str, holders: Sequence[bytes]) -> Row:
    start, end, deed = least_bytes(tile.start), least_bytes(tile.end), tile.deed
    return Row(start, end, tile.owner, deed.grant.version, deed.id, name, list(holders))


def _number_row(custody: Custody, names: Names, tile: Tile) -> Row:
    named = names.named.get(tile.start)
    if named is not None:
        return _row(tile, named.name, named.holders[: limits.MAX_HOLDERS])
    spent = tile.start in names.spent and not _may_be_free(custody, names, tile)
    return _row(tile, "", [tile.owner] if spent else [])


def _may_be_free(custody: Custody, names: Names, tile: Tile) -> bool:
    return tile.owner == names.registrar and custody.forgotten(tile.start)


def _known(ring: Ring, roots: Sequence[Deed]) -> bool:
    """Whether each row is a deed of the ring's, as it counts there now for the whole of the row."""
    starts = [root.grant.start for root in roots]
    for tile in ring.tiles():
        chain = {deed.id: deed for deed in ring.chain(tile)}
        at = max(bisect_right(starts, tile.start) - 1, 0)
        while at < len(roots) and starts[at] < tile.end:
            known, row = chain.get(roots[at].id), roots[at].grant
            if known is None or (known.grant.version, known.grant.to) != (row.version, row.to):
                return False
            at += 1
    return True


def _same_names(custody: Custody, mine: Names, theirs: Names) -> bool:
    if mine.registrar is None or mine.registrar != theirs.registrar or _held(mine.named) != _held(theirs.named):
        return False
    freed = [tile for number, tile in mine.spent.items() if number not in theirs.spent]
    return all(number in mine.spent for number in theirs.spent) and all(
        _may_be_free(custody, mine, tile) for tile in freed
    )


def _held(named: Mapping[int, Named]) -> dict[int, tuple[str, list[bytes]]]:
    return {number: (each.name, each.holders[: limits.MAX_HOLDERS]) for number, each in named.items()}
