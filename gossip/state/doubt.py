"""Whether this host may have promised what its stored state does not know of.

Purpose: state that was restored from an older copy may lack grants; until the mesh has said what they were, nothing is
given out, so that no address is given twice.
Rule: who has a link to this host agrees once it holds exactly the statements of this host that this host holds itself.
The doubt ends when all who are linked agree, not before DOUBT_S; where nobody else is known or linked, after LONE_S. It
cannot end what nobody reachable knows: two grants for one range are then told as such when they meet.
Flow: `gossip.node` -> `agrees` per digest, `settle` per step -> what is refused meanwhile, and the event `Heard`.
Reference: design §6 (rolled-back state); docs/threat-model.md.
"""

from __future__ import annotations

from collections.abc import Sequence

from gossip import limits


class Doubt:
    """`alive` while this host may lack what it said; `doubtful`: its state was rolled back."""

    def __init__(self, doubtful: bool) -> None:
        self.alive = doubtful
        self._began: float | None = None
        self._agreed: dict[bytes, None] = {}

    def agrees(self, peer: bytes) -> None:
        """A linked peer holds of this host's statements what this host holds."""
        if self.alive:
            self._agreed[peer] = None

    def settle(self, linked: Sequence[bytes], others: bool, now: float) -> bool:
        """Whether the doubt ends now. `others`: somebody else is known who is a member."""
        if not self.alive:
            return False
        if self._began is None:
            self._began = now
        self._agreed = {peer: None for peer in linked if peer in self._agreed}
        if linked:
            over = now >= self._began + limits.DOUBT_S and len(self._agreed) == len(linked)
        else:
            over = now >= self._began + limits.LONE_S and not others
        self.alive = not over
        return over
