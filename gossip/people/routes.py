"""By which neighbour, and how far, every other peer is reached.

Purpose: the next hop for who must go through others, and what an operator sees of the mesh's shape.
Rule: the path of least cost over edges that count (`gossip.people.reach`); of equal ones that of fewest hops, of those
that by the smallest first peer. An edge costs the same from both ends and never nothing, so each next hop is nearer to
the goal than who asks: where views are equal, routes do not loop. While news travels they may, so what is passed on by
them needs a bound of hops. Nothing is computed before somebody asks, and then once for all changes since.
Flow: `gossip.people.roster` -> `Routes.to` -> Route; the search is `search`.
Reference: design §5 (routes); docs/gossip.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from heapq import heappop, heappush

from gossip.people.reach import Reach


@dataclass(frozen=True, slots=True)
class Route:
    """The next hop to a peer (the peer itself where there is a link) and the cost of the path, ms of round trips."""

    via: bytes
    cost_ms: int


class Routes:
    """The routes from `own` over the edges of `reach`."""

    def __init__(self, own: bytes, reach: Reach) -> None:
        self._own = own
        self._reach = reach
        self._found: dict[bytes, Route] = {}
        self._seen = -1

    def to(self, peer: bytes) -> Route | None:
        """The route to a peer; None to this one and to whom no edges lead."""
        if self._seen != self._reach.changes:
            self._seen = self._reach.changes
            self._found = search(self._own, self._reach.edges)
        return self._found.get(peer)


def search(own: bytes, edges: Callable[[bytes], Iterable[tuple[bytes, int]]]) -> dict[bytes, Route]:
    """The route to every peer that edges lead to. `edges`: with whom a peer has one, and its cost."""
    settled: dict[bytes, None] = {}
    found: dict[bytes, Route] = {}
    heap: list[tuple[int, int, bytes, bytes]] = [(0, 0, own, own)]
    while heap:
        spent, hops, via, peer = heappop(heap)
        if peer in settled:
            continue
        settled[peer] = None
        if peer != own:
            found[peer] = Route(via, spent)
        for other, cost in edges(peer):
            if other not in settled:
                heappush(heap, (spent + cost, hops + 1, other if peer == own else via, other))
    return found
