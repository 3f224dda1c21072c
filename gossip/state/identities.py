"""A small number for every identity that is held, so that tables about peers are rows instead of dictionaries.

Purpose: with a thousand peers, a dictionary entry and an object for each of a dozen concerns is most of what they take.
Rule: numbers count up from 0 and are this process's own: they leave it neither on a link nor to the disk. Nothing is
taken back, so whoever adds must be bounded: owners of statements are, by `MAX_OWNERS`.
Flow: `gossip.state.owners` adds; `gossip.state.packing`, `gossip.people.reach`, `gossip.spreading.dials` and
`gossip.people.peer_bodies` look up.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from collections.abc import Sequence


class Identities:
    """Identity to number and back."""

    __slots__ = ("_known", "_numbers")

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._known: list[bytes] = []

    def __len__(self) -> int:
        return len(self._known)

    def __getitem__(self, number: int) -> bytes:
        return self._known[number]

    def add(self, identity: bytes) -> int:
        """Its number, a new one if it had none."""
        number = self._numbers.get(identity)
        if number is None:
            number = self._numbers[identity] = len(self._known)
            self._known.append(identity)
        return number

    def find(self, identity: bytes) -> int | None:
        """Its number; None if it has none."""
        return self._numbers.get(identity)

    def all(self) -> Sequence[bytes]:
        """Every identity, by number; not to be changed."""
        return self._known
