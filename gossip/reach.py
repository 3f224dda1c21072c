"""Which peers the graph of links reaches.

Purpose: liveness without trust in one side: an edge counts only if both its ends assert it.
Rule: the own links are known first-hand; any other edge needs both peers' `links` statements. Breadth first from this
peer; nothing here deletes state. A tree of the search is kept: a new edge grows it, the loss of an edge outside it
changes nothing, and only the loss of one of its own makes the search begin anew.
Flow: `hear` while statements come in, `judge` -> `survey`, as rarely as the caller likes -> the peers that changed.
Reference: design §5 (liveness).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gossip import limits


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

    def hear(self, peer: bytes, peers: Sequence[bytes] | None) -> None:
        """What a peer says of its links; None when it says nothing (any more)."""
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

    def _grow(self, peer: bytes) -> list[bytes]:
        others: Iterable[bytes] = self._linked if peer == self._own else self._asserted.get(peer, ())
        if peer != self._own and self._barred(peer):
            return []
        found = [other for other in others if other not in self._parents and self._edge(peer, other)]
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
