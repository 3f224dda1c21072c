"""Whom a rotation of the mesh secret still waits for, without looking at all members each time. PURE.

Rule: who lacked the secret at the last look at everybody is asked one by one; while one of them still does, nobody else
has to be looked at. Only when none is left everybody is looked at again, so the answer is always that of a full look.
Flow: `rotation` asks, through its outlook, once the time of a phase has come -> `none`.
Reference: docs/adr/0008-secret-on-links.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from meshnet.control.keys.rotation import Announced, Member, Phase

__all__ = ["Stragglers"]


class Stragglers:
    """Remembers who lacked the secret; at most as many as there are members."""

    def __init__(self) -> None:
        self._of: tuple[bytes, Phase] | None = None
        self._left: list[bytes] = []

    def none(
        self,
        announced: Announced,
        member: Callable[[bytes], Member | None],
        everybody: Callable[[], Sequence[Member]],
    ) -> bool:
        """Whether all that the announced phase waits for hold its secret.

        member(identity): as it is now, None when it counts no more; everybody(): all members but this host, costly.
        """
        if self._of != (announced.commitment, announced.phase):
            self._of, self._left = (announced.commitment, announced.phase), []
        while self._left:
            one = member(self._left[-1])
            if one is not None and _waits(announced, one):
                return False
            self._left.pop()
        self._left = [one.identity for one in everybody() if _waits(announced, one)]
        return not self._left


def _waits(announced: Announced, member: Member) -> bool:
    """The switch waits for who can be reached, what comes after it for everybody."""
    counts = member.reachable or announced.phase is not Phase.INSTALL
    return counts and announced.tag not in member.tags
