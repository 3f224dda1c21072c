"""Which peers the graph of links reaches.

Purpose: liveness without trust in one side: an edge counts only if both its ends assert it.
Rule: the own links are known first-hand; any other edge needs both peers' `links` statements. Breadth first from this
peer; nothing here deletes state. A tree of the search is kept: a new edge grows it, the loss of an edge outside it
changes nothing, and only the loss of one of its own makes the search begin anew.
Flow: `hear` while statements come in, `judge` -> `survey`, as rarely as the caller likes -> the peers that changed;
`others` and `cost_ms` of the edges for `gossip.routes`.
Reference: design §5 (liveness).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gossip import limits
from gossip.pulse import step_ms


class Reach:
    """The peers reached from `own`, itself among them. `barred`: whose assertions do not count."""

    def __init__(self, own: bytes, barred: Callable[[bytes], bool]) -> None:
        self._own = own
        self._barred = barred
        self._linked: dict[bytes, None] = {}  # as of the last survey
        self._asserted: dict[bytes, tuple[bytes, ...]] = {}
        self._names: dict[bytes, bytes] = {}  # one object per identity, however often it is asserted
        self._parents: dict[bytes, bytes] = {own: own}
        self._grown: dict[bytes, None] = {}
        self._torn = True
        self._costs: dict[bytes, bytes] = {}
        self.changes = 0
        """Grows whenever edges or what they cost may have changed."""

    def __contains__(self, peer: bytes) -> bool:
        return peer in self._parents

    def __len__(self) -> int:
        return len(self._parents)

    @property
    def dirty(self) -> bool:
        """Whether a survey may find a change."""
        return self._torn or bool(self._grown)

    def judge(self) -> None:
        """Who is barred, or the own links, changed."""
        self._torn = True

    def hear(self, peer: bytes, peers: Sequence[bytes] | None, costs: Sequence[int] = ()) -> None:
        """What a peer says of its links, and of the cost of each; None when it says nothing (any more)."""
        self.changes += 1
        self._costs.pop(peer, None)
        if costs:
            self._costs[self._names.setdefault(peer, peer)] = bytes(costs)
        before = self._asserted.pop(peer, ())
        after = () if peers is None else tuple(self._names.setdefault(other, other) for other in peers)
        if peers is not None:
            self._asserted[self._names.setdefault(peer, peer)] = after
        if len(self._names) > 2 * limits.MAX_OWNERS:
            self._names = {}
        if peer == self._own or self._barred(peer):
            return
        for other in before:
            if other not in after:
                self._cut(peer, other)
        for other in after:
            if other not in before and self._edge(peer, other) and (peer in self) != (other in self):
                self._grown[peer if peer in self else other] = None

    def survey(self, linked: Iterable[bytes]) -> list[tuple[bytes, bool]]:
        """The peers that are newly reached (True) or no longer, sorted. `linked`: peers with a live link here."""
        before = self._parents
        self._linked = dict.fromkeys(peer for peer in linked if peer != self._own)
        self.changes += 1
        if self._torn:
            self._parents = {self._own: self._own}
            self._grown = {self._own: None}
        elif self._grown:
            self._parents = dict(before)
        self._torn = False
        edge, self._grown = [peer for peer in self._grown if peer in self._parents], {}
        while edge:
            edge = [other for peer in edge for other in self._grow(peer)]
        changed = [(peer, False) for peer in before if peer not in self._parents]
        changed += [(peer, True) for peer in self._parents if peer not in before]
        return sorted(changed)

    def others(self, peer: bytes) -> Iterable[bytes]:
        """Whom the peer may have an edge with."""
        return self._linked if peer == self._own else self._asserted.get(peer, ())

    def cost_ms(self, one: bytes, two: bytes) -> int | None:
        """What an edge costs: the more of what its ends say, so that none makes itself nearer; None: there is none."""
        return step_ms(max(self._said(one, two), self._said(two, one))) if self._edge(one, two) else None

    def _said(self, one: bytes, two: bytes) -> int:
        costs, peers = self._costs.get(one), self._asserted.get(one, ())
        return costs[peers.index(two)] if costs is not None and two in peers else 0

    def _grow(self, peer: bytes) -> list[bytes]:
        if peer != self._own and self._barred(peer):
            return []
        found = [other for other in self.others(peer) if other not in self._parents and self._edge(peer, other)]
        for other in found:
            self._parents[other] = peer
        return found

    def _edge(self, one: bytes, two: bytes) -> bool:
        if self._own in (one, two):
            return (two if one == self._own else one) in self._linked
        mutual = two in self._asserted.get(one, ()) and one in self._asserted.get(two, ())
        return mutual and not self._barred(one) and not self._barred(two)

    def _cut(self, one: bytes, two: bytes) -> None:
        if self._parents.get(two) == one or self._parents.get(one) == two:
            self._torn = True
