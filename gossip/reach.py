"""Which peers the graph of links reaches.

Purpose: liveness without trust in one side: an edge counts only if both its ends assert it.
Rule: the own links are known first-hand; any other edge needs both peers' `links` statements. Breadth first from this
peer; nothing here deletes state.
Flow: `gossip.node` gives the own live links and every `links` statement -> the peers reached.
Reference: design §5 (liveness).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence


def reached(own: bytes, linked: Iterable[bytes], asserted: Mapping[bytes, Sequence[bytes]]) -> dict[bytes, None]:
    """The peers reached from `own`, itself among them, as an ordered set.

    `linked`: peers with a live link here. `asserted`: what each peer says of its links.
    """
    found: dict[bytes, None] = {own: None}
    edge: list[bytes] = [peer for peer in linked if peer != own]
    found.update(dict.fromkeys(edge))
    while edge:
        following: list[bytes] = []
        for peer in edge:
            for other in asserted.get(peer, ()):
                if other not in found and peer in asserted.get(other, ()):
                    found[other] = None
                    following.append(other)
        edge = following
    return found
