"""The peers that are known, and how each of them is found: by identity, static key, session, initiation, address. PURE.

Rules
- A static key belongs to one peer. For FORMER_STATIC_S after a peer changed its key the former one is found too: its
  initiations may be under way, and its statement may arrive here sooner than at itself.
- A session's or initiation's index is random, not 0 and unlike every other that is in use here.
- A peer without a session, an attempt and a former key has no timer, and costs nothing until it is needed.
- Bounded by the peers that gossip tells of; a peer's sessions, addresses and former keys have bounds of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from crypto.handshake import Initiation
from crypto.keys import Entropy
from meshnet.boundary import Address
from meshnet.control.handshakes.remote import Remote, Session

__all__ = ["FORMER_STATICS_KEPT", "FORMER_STATIC_S", "KnownPeers"]

FORMER_STATIC_S: Final = 600.0
FORMER_STATICS_KEPT: Final = 2


class KnownPeers:
    """The books of all handshakes; ``remotes`` is by identity, in the order in which peers became known."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self.remotes: dict[bytes, Remote] = {}
        self._by_static: dict[bytes, Remote] = {}
        self._by_session: dict[int, Remote] = {}
        self._by_initiation: dict[int, Remote] = {}
        self._proved: dict[Address, int] = {}
        self._stirring: dict[bytes, Remote] = {}

    # --- peers -----------------------------------------------------------------------------------------------------

    def by_static(self, static: bytes) -> Remote | None:
        """The peer whose static key (32 bytes) this is, or was a short time ago."""
        return self._by_static.get(static)

    def add(self, remote: Remote) -> None:
        """A peer is known from now on; its key must be nobody's."""
        self.remotes[remote.peer_id] = self._by_static[remote.static] = remote

    def change_static(self, remote: Remote, static: bytes, now: float) -> None:
        """A peer has another static key, which must be nobody else's."""
        former = [(old, until) for old, until in remote.former if old != static]
        remote.former = [*former, (remote.static, now + FORMER_STATIC_S)]
        self.stir(remote)
        for old, _ in remote.former[:-FORMER_STATICS_KEPT]:
            del self._by_static[old]
        del remote.former[:-FORMER_STATICS_KEPT]
        remote.static = static
        self._by_static[static] = remote

    def forget_former_statics(self, remote: Remote, now: float) -> None:
        """Former keys whose time is over are found no more."""
        for old, until in remote.former:
            if until <= now:
                del self._by_static[old]
        remote.former = [(old, until) for old, until in remote.former if until > now]

    def remove(self, remote: Remote) -> None:
        """Forgets a peer and everything that leads to it."""
        self.abandon(remote)
        for index in list(remote.sessions):
            self.lose(remote, index)
        del self.remotes[remote.peer_id]
        self._stirring.pop(remote.peer_id, None)
        for static in (remote.static, *(old for old, _ in remote.former)):
            del self._by_static[static]
        self._count(remote.proved, -1)

    # --- time ------------------------------------------------------------------------------------------------------

    def stir(self, remote: Remote) -> None:
        """Something of this peer may have its time from now on."""
        self._stirring[remote.peer_id] = remote

    def stirring(self) -> list[Remote]:
        """The peers of which something has its time; all others are at rest."""
        for peer in [peer for peer, remote in self._stirring.items() if remote.due() is None]:
            del self._stirring[peer]
        return list(self._stirring.values())

    # --- addresses -------------------------------------------------------------------------------------------------

    def prove(self, remote: Remote, address: Address) -> None:
        """The peer answered from, or was reached at, this address."""
        self._count(remote.proved, -1)
        remote.proved = address
        self._count(address, 1)

    def is_proved(self, address: Address) -> bool:
        """Whether a peer is known to be at this address."""
        return address in self._proved

    def _count(self, address: Address | None, change: int) -> None:
        if address is None:
            return
        count = self._proved.get(address, 0) + change
        if count:
            self._proved[address] = count
        else:
            self._proved.pop(address, None)

    # --- sessions and initiations ----------------------------------------------------------------------------------

    def new_index(self) -> int:
        """An index for a session (1 to 2^32-1)."""
        while True:
            index = int.from_bytes(self._entropy(4))
            if index and index not in self._by_initiation and index not in self._by_session:
                return index

    def of_session(self, index: int) -> Remote | None:
        """The peer of a session."""
        return self._by_session.get(index)

    def add_session(self, remote: Remote, session: Session) -> None:
        """A session was installed; the peer's oldest that is not in use makes room."""
        before: Sequence[int] = list(remote.sessions)
        remote.add(session)
        self.stir(remote)
        self._by_session[session.index] = remote
        for index in before:
            if index not in remote.sessions:
                del self._by_session[index]

    def lose(self, remote: Remote, index: int) -> None:
        """A session is gone."""
        remote.remove(index)
        del self._by_session[index]

    @property
    def under_way(self) -> int:
        """How many initiations may still be answered."""
        return len(self._by_initiation)

    def of_initiation(self, index: int) -> Remote | None:
        """The peer of an initiation that may still be answered."""
        return self._by_initiation.get(index)

    def sent(self, remote: Remote, initiation: Initiation) -> None:
        """An initiation may be answered from now on."""
        self._by_initiation[initiation.sender_index] = remote

    def abandon(self, remote: Remote) -> None:
        """Takes no answer any more to the initiation that is in flight."""
        attempt = remote.attempt
        if attempt is not None and attempt.initiation is not None:
            del self._by_initiation[attempt.initiation.sender_index]
            attempt.initiation = None
