"""Facts on their way up: one bounded queue per kind, so that a slow or absent meshnetd delays no frame.

The oldest fact of a kind is dropped (and counted) when its queue is full; "session wanted" waits once per peer.
"""

from collections import deque
from collections.abc import Callable

from meshnet.boundary import (
    FACTS_QUEUED,
    Address,
    Fact,
    Handshake,
    Moved,
    SessionEnded,
    Trouble,
    Wanted,
)
from meshnet.forwarder.counters import Drop, DropCounters

__all__ = ["Facts"]


class Facts:
    """The queues of one forwarder; `flush` is given by whoever owns the connection."""

    def __init__(self, drops: DropCounters) -> None:
        self._drops = drops
        self._queues: dict[str, deque[Fact]] = {kind: deque() for kind in FACTS_QUEUED}
        self._wanted: dict[bytes, None] = {}
        self.flush: Callable[[], None] = lambda: None
        """Called after a fact was queued."""

    def put(self, fact: Fact) -> None:
        """Queue a fact of a bounded kind."""
        kind = type(fact).__name__
        queue = self._queues[kind]
        if len(queue) >= FACTS_QUEUED[kind]:
            queue.popleft()
            self._drops[Drop.FACT_QUEUE] += 1
        queue.append(fact)
        self.flush()

    def wanted(self, peer: bytes) -> None:
        """A frame waits for a peer without a session."""
        self._wanted[peer] = None
        self.flush()

    def handshake(self, address: Address, datagram: bytes) -> None:
        """An admitted handshake datagram."""
        self.put(Handshake(address=address, data=datagram))

    def moved(self, peer: bytes, address: Address) -> None:
        """A peer has moved: it echoed the probe of another address."""
        self.put(Moved(peer=peer, address=address))

    def session_ended(self, index: int, reason: str) -> None:
        """A session ended by the forwarder's own decision."""
        self.put(SessionEnded(index=index, reason=reason))

    def trouble(self, what: str) -> None:
        """Something an operator may want to know."""
        self.put(Trouble(what=what))

    def take(self) -> Fact | None:
        """The next fact to send, handshakes before the rest; None when nothing waits."""
        for queue in self._queues.values():
            if queue:
                return queue.popleft()
        if self._wanted:
            peer = next(iter(self._wanted))
            del self._wanted[peer]
            return Wanted(peer=peer)
        return None

    def put_back(self, fact: Fact) -> None:
        """The connection would not take it now: first in line again."""
        if isinstance(fact, Wanted):
            self._wanted = {fact.peer: None, **self._wanted}
        else:
            self._queues[type(fact).__name__].appendleft(fact)
