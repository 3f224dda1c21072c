"""Whether another live host speaks with this host's identity.

Purpose: a copied disk is noticed by both hosts within seconds, before either hands out what the other has.
Rule: every start, and every own statement heard that this host did not make, makes it begin an incarnation above all it
heard. A peer statement of this identity at or above the own incarnation, with a boot id that is none of this run's, is
a sign: state that was rolled back shows one. If the same boot id answers again, at or above the incarnation that this
host began after the first sign, somebody alive answers. It counts for CLONED_S after the last sign. Each of the two
needs answers of the other, and they take links from each other: the first CLONED_ANSWERS answers of a host that knows
come as fast as before, then they are rare. (An earlier life that renewed itself, and of which two peers hold different
ends, looks the same to a host that was rolled back: it waits CLONED_S in vain.)
Flow: `gossip.state.replica` -> `sign`, `answered` -> `pace`, what is refused meanwhile (`gossip.node`).
Reference: docs/threat-model.md.
"""

from __future__ import annotations

from gossip import limits


class Clones:
    """The boot ids of this run, and those of others that spoke as this host."""

    def __init__(self) -> None:
        self._boots: dict[bytes, None] = {}
        self._rivals: dict[bytes, int] = {}
        self._until = float("-inf")
        self._answers = 0

    def own(self, boot: bytes) -> None:
        """This run says that boot id."""
        self._boots.pop(boot, None)
        self._boots[boot] = None
        if len(self._boots) > limits.MAX_BOOTS:
            del self._boots[next(iter(self._boots))]

    def sign(self, boot: bytes, incarnation: int, own: int, now: float) -> bool:
        """A peer statement of this identity was heard; `own`: the incarnation of this run when it was.

        True when it shows a clone that was not known of.
        """
        if boot in self._boots or incarnation < own:
            return False
        before = self._rivals.pop(boot, None)
        self._rivals[boot] = incarnation
        if len(self._rivals) > limits.MAX_BOOTS:
            del self._rivals[next(iter(self._rivals))]
        if before is None or own <= before:
            return False
        fresh = not self.alive(now)
        self._answers = 0 if fresh else self._answers
        self._until = now + limits.CLONED_S
        return fresh

    def answered(self) -> None:
        """This run began a new incarnation because of what it heard."""
        self._answers += 1

    def pace(self, now: float) -> float:
        """How long after one such incarnation the next begins at the earliest, in seconds."""
        rare = self.alive(now) and self._answers >= limits.CLONED_ANSWERS
        return limits.CLONED_PACE_S if rare else limits.RENEW_PACE_S

    def alive(self, now: float) -> bool:
        """Whether a clone spoke not long ago."""
        return now < self._until
