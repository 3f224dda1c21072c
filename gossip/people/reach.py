"""Which peers the graph of links reaches.

Purpose: liveness without trust in one side: an edge counts only if both its ends assert it.
Rule: the own links are known first-hand; any other edge needs both peers' `links` statements. Breadth first from this
peer; nothing here deletes state. A tree of the search is kept: a new edge grows it, the loss of an edge outside it
changes nothing, and only the loss of one of its own makes the search begin anew.
Flow: `hear` while statements come in, `judge` -> `survey`, as rarely as the caller likes -> the peers that changed;
`edges` for `gossip.people.routes`.
Reference: design §5 (liveness).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from struct import Struct

from gossip import limits
from gossip.spreading.pulse import step_ms
from gossip.state.identities import Identities

_NUMBERS = [Struct(f">{count}H") for count in range(limits.MAX_LINKS + 1)]
_MAX_NUMBER = 0xFFFF

Said = bytes | tuple[tuple[bytes, ...], bytes]
"""What a peer says of its links: how many (1 B), their numbers (2 B each), their costs (1 B each, or none).

Identities and costs as they are, while one of the identities has no number.
"""


class Reach:
    """The peers reached from `own`, itself among them. `barred`: whose assertions do not count."""

    def __init__(self, own: bytes, barred: Callable[[bytes], bool], identities: Identities | None = None) -> None:
        self._own = own
        self._identities = Identities() if identities is None else identities
        self._barred = barred
        self._linked: dict[bytes, None] = {}  # as of the last survey
        self._said: list[Said | None] = []  # by number
        self._named: dict[int, None] = {}  # who names one that has no number
        self._met = 0  # how many had one when that was last looked at
        self._parents: dict[bytes, bytes] = {own: own}
        self._grown: dict[bytes, None] = {}
        self._torn = True
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
        number = self._identities.add(peer)  # who says anything is among the owners, and has one
        before, after = self._asserted(peer), () if peers is None else tuple(peers)
        self._said += [None] * (number + 1 - len(self._said))
        self._named.pop(number, None)
        self._said[number] = None if peers is None else self._packed(number, after, bytes(costs))
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
        self._meet()
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

    def edges(self, peer: bytes) -> list[tuple[bytes, int]]:
        """Every edge of the peer: with whom, and its cost in ms."""
        said, own = self._of(peer), self._identities.find(peer)
        if peer == self._own or self._barred(peer) or not isinstance(said, bytes):
            costs = ((other, self.cost_ms(peer, other)) for other in self._others(peer))
            return [(other, cost) for other, cost in costs if cost is not None]
        found: list[tuple[bytes, int]] = []
        for number, there in zip(*_read(said), strict=True):
            other, back = self._identities[number], self._said[number] if number < len(self._said) else None
            if other == self._own or not isinstance(back, bytes):
                cost = self.cost_ms(peer, other)
                found += [] if cost is None else [(other, cost)]
                continue
            numbers, costs_back = _read(back)
            if own in numbers and not self._barred(other):
                found.append((other, step_ms(max(there, costs_back[numbers.index(own)]))))
        return found

    def _others(self, peer: bytes) -> Iterable[bytes]:
        return self._linked if peer == self._own else self._asserted(peer)

    def cost_ms(self, one: bytes, two: bytes) -> int | None:
        """What an edge costs: the more of what its ends say, so that none makes itself nearer; None: there is none."""
        return step_ms(max(self._cost(one, two), self._cost(two, one))) if self._edge(one, two) else None

    def _cost(self, one: bytes, two: bytes) -> int:
        said, peers = self._of(one), self._asserted(one)
        costs = b"" if said is None else said[1] if isinstance(said, tuple) else said[1 + 2 * said[0] :]
        return costs[peers.index(two)] if costs and two in peers else 0

    def _of(self, peer: bytes) -> Said | None:
        number = self._identities.find(peer)
        return None if number is None or number >= len(self._said) else self._said[number]

    def _asserted(self, peer: bytes) -> tuple[bytes, ...]:
        said = self._of(peer)
        if said is None or isinstance(said, tuple):
            return () if said is None else said[0]
        return tuple(map(self._identities.__getitem__, _NUMBERS[said[0]].unpack_from(said, 1)))

    def _asserts(self, one: bytes, two: bytes) -> bool:
        said = self._of(one)
        if said is None or isinstance(said, tuple):
            return said is not None and two in said[0]
        return self._identities.find(two) in _NUMBERS[said[0]].unpack_from(said, 1)

    def _packed(self, number: int, peers: tuple[bytes, ...], costs: bytes) -> Said:
        numbers = [each for each in map(self._identities.find, peers) if each is not None]
        if len(numbers) < len(peers) or max(numbers, default=0) > _MAX_NUMBER:
            self._named[number] = None
            return peers, costs
        return bytes((len(peers),)) + _NUMBERS[len(peers)].pack(*numbers) + costs

    def _meet(self) -> None:
        """Give those numbers that were named before they had one."""
        if len(self._identities) == self._met:
            return
        self._met = len(self._identities)
        named, self._named = self._named, {}
        for number in named:
            said = self._said[number]
            assert isinstance(said, tuple)
            self._said[number] = self._packed(number, *said)

    def _grow(self, peer: bytes) -> list[bytes]:
        if peer != self._own and self._barred(peer):
            return []
        found = [other for other in self._others(peer) if other not in self._parents and self._edge(peer, other)]
        for other in found:
            self._parents[other] = peer
        return found

    def _edge(self, one: bytes, two: bytes) -> bool:
        if self._own in (one, two):
            return (two if one == self._own else one) in self._linked
        mutual = self._asserts(one, two) and self._asserts(two, one)
        return mutual and not self._barred(one) and not self._barred(two)

    def _cut(self, one: bytes, two: bytes) -> None:
        if self._parents.get(two) == one or self._parents.get(one) == two:
            self._torn = True


def _read(said: bytes) -> tuple[tuple[int, ...], bytes]:
    """The numbers, and the cost of each, 0 where none is said."""
    numbers = _NUMBERS[said[0]].unpack_from(said, 1)
    return numbers, said[1 + 2 * len(numbers) :] or bytes(len(numbers))
