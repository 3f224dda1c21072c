"""What part of its free space a peer gives away, and to whom it leaves its ranges: so that ranges stay few.

Purpose: a mesh whose peers come and go for years ends with about as many ranges as peers, not with dust.
Rule: given is about half of the largest free piece, as a block that is aligned to its size; or another, at least half
as large, that makes fewer ranges: one beside what the taker owns, at an end of the giver's range, or the whole of a
tile that is no more than five eighths of what is free. Ranges left behind go to a neighbour, so that they join its own.
Flow: `gossip.ipam.addresses` -> `spare_block`, `heir`.
Reference: design §6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gossip.ipam.ranges import aligned_block
from gossip.ipam.ring import Ring, Tile
from gossip.ipam.space import Piece, Space

_LOOKED_AT = 64  # free pieces, the largest


def spare_block(space: Space, ring: Ring, owner: bytes, to: bytes) -> Piece | None:
    """A part of the owner's free space for `to`, with usable addresses in it and beside it; None: too little is free.

    Of blocks half as large as the largest and more, the one that makes the fewest ranges, then the largest.
    """
    pieces = sorted(space.pieces(), key=lambda piece: (piece[1] - piece[2], -piece[1]))[:_LOOKED_AT]
    blocks = [block for piece in pieces for block in _parts(piece) if 0 < space.usable(*block[1:]) < space.free]
    most = space.free * 5 // 8
    blocks += [piece for piece in pieces if _whole(piece) and 0 < space.usable(*piece[1:]) <= most]
    if not blocks:
        return None
    least = (blocks[0][2] - blocks[0][1]) // 2

    def rank(block: Piece) -> tuple[int, int, int]:
        _, start, end = block
        return _ranges_added(ring, owner, to, start, end), start - end, -start

    return min((block for block in blocks if block[2] - block[1] >= least), key=rank)


def heir(ring: Ring, tile: Tile, heirs: Sequence[bytes], reachable: Callable[[bytes], bool]) -> bytes | None:
    """Who of `heirs` the owner's tile goes to: one that is reached, a neighbour of its range, its donor, the first."""
    tiles = ring.tiles()
    first = last = tiles.index(tile)
    while first > 0 and tiles[first].owner == tile.owner and tiles[first - 1].end == tiles[first].start:
        first -= 1
    while last + 1 < len(tiles) and tiles[last].owner == tile.owner and tiles[last].end == tiles[last + 1].start:
        last += 1
    beside = (tiles[first].owner, tiles[last].owner)
    ranked = [(not reachable(each), each not in beside, each != tile.deed.donor, at) for at, each in enumerate(heirs)]
    return heirs[min(ranked)[3]] if ranked else None


def _parts(piece: Piece) -> list[Piece]:
    """Blocks to choose from: about half of the piece, the first as near to that as can be; others at its very ends."""
    tile, left, right = piece
    half = (right - left) // 2
    if half == 0:
        return []
    start, end = aligned_block(left, right, 1 << (right - left - 1).bit_length() - 1)
    if end - start > half + half // 8 + 1:  # aligned, but much more than half: take the true half
        start, end = right - half, right
    most = 1 << half.bit_length() - 1
    low, high = (min(most, edge & -edge or most) for edge in (left, right))  # as large as the end is aligned
    return [(tile, start, end), (tile, left, left + low), (tile, right - high, right)]


def _whole(piece: Piece) -> bool:
    return (piece[1], piece[2]) == (piece[0].start, piece[0].end)


def _ranges_added(ring: Ring, owner: bytes, to: bytes, start: int, end: int) -> int:
    """How many ranges more the network has when that part of the owner's goes to `to`; -2 to 2."""
    before, after = ring.owner(start - 1), ring.owner(end)
    return (before != to) + (after != to) - (before != owner) - (after != owner)
