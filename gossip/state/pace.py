"""How much of one owner's news is taken in per second, whoever brings it.

Purpose: an owner that says something new without end costs the mesh a bounded rate of writes, and of bytes on links.
Rule: a token bucket per owner, of `OWNER_BURST` statements and `OWNER_PER_S` a second. Only what the owner signed
counts, so nobody spends another's tokens. What finds none is dropped and not remembered; anti-entropy brings the last
of it once the owner has calmed down. An owner whose bucket is full again is forgotten.
Flow: `gossip.state.replica` asks after the signature holds and before the merge.
Reference: design §5; docs/threat-model.md.
"""

from __future__ import annotations

from gossip import limits


class Pace:
    """The buckets that are not full, by owner; at most one per owner that the view holds."""

    def __init__(self) -> None:
        self._spent: dict[bytes, tuple[float, float]] = {}  # tokens missing, as of when

    def __len__(self) -> int:
        return len(self._spent)

    def allows(self, owner: bytes, now: float) -> bool:
        """Take a token of the owner's; False when there is none."""
        spent = self._missing(owner, now)
        if spent + 1 > limits.OWNER_BURST:
            return False
        self._spent[owner] = (spent + 1, now)
        return True

    def forget(self, now: float) -> None:
        """Drop the buckets that are full again; called now and then."""
        self._spent = {each: self._spent[each] for each in self._spent if self._missing(each, now) > 0}

    def _missing(self, owner: bytes, now: float) -> float:
        spent, at = self._spent.get(owner, (0.0, now))
        return max(0.0, spent - (now - at) * limits.OWNER_PER_S)
