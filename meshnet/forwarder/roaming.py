"""Peers that move: a record from another address begins a probe, the probe's echo from there moves the peer.

Flow: `elsewhere` (a newest record came whole from an address that is not the peer's) → one probe there; `entry` gets
what a record holds beside frames: a probe is echoed to where it came from, an echo moves the peer at once, within
FLOOR_MTU until meshnetd, which hears of it by a `Moved` fact, has looked the path's MTU up.
Rule: bulk goes to the confirmed address alone.  What an address that is not confirmed is sent is never more than one
record of 44 bytes for one received, of a peer and authenticated; a record with a probe is echoed and begins none.
Reference: docs/wire.md, "Moving".
"""

from collections.abc import Callable
from typing import Final

from meshnet.forwarder.candidates import TOKEN_BYTES, SocketAddress
from meshnet.forwarder.counters import Drop
from meshnet.forwarder.facts import Facts
from meshnet.forwarder.outbound import Outbound
from meshnet.forwarder.record import KIND_ECHO, KIND_PROBE
from meshnet.forwarder.state import State
from meshnet.forwarder.table import Session

__all__ = ["FLOOR_MTU", "Roaming"]

FLOOR_MTU: Final = 1280


class Roaming:
    """Moves the peers of one forwarder; `entropy(count)` gives random bytes."""

    def __init__(self, state: State, outbound: Outbound, facts: Facts, entropy: Callable[[int], bytes]) -> None:
        self._state = state
        self._outbound = outbound
        self._facts = facts
        self._entropy = entropy
        self._echoed: tuple[Session, int] | None = None
        """The last record that was echoed: its session, and which of its records it was."""

    def elsewhere(self, session: Session, address: SocketAddress) -> None:
        """The newest record of `session` came from `address`, which is not where its peer is known to be."""
        peer = session.peer
        if peer.current is None or self._echoed == (session, session.received_records):
            return
        token = peer.candidates.probe(address, self._entropy(TOKEN_BYTES), self._state.now)
        if token is not None:
            self._send(peer.current, KIND_PROBE, token, address)

    def entry(self, session: Session, kind: int, body: bytes, address: SocketAddress) -> None:
        """An entry that is no frame, in a record of `session` that came from `address`."""
        if kind not in (KIND_PROBE, KIND_ECHO):
            self._state.drops[Drop.UNKNOWN_ENTRY] += 1
        elif len(body) != TOKEN_BYTES:
            self._state.drops[Drop.MALFORMED_ENTRY] += 1
        elif kind == KIND_PROBE:
            self._echo(session, body, address)
        elif session.peer.candidates.confirm(address, body, self._state.now):
            self._move(session, address)
        else:
            self._state.drops[Drop.UNKNOWN_ECHO] += 1

    def _echo(self, session: Session, token: bytes, address: SocketAddress) -> None:
        record = (session, session.received_records)
        sealing = session.peer.current
        if self._echoed == record or sealing is None:
            self._state.drops[Drop.PROBE_LIMIT] += 1
            return
        self._echoed = record
        self._send(sealing, KIND_ECHO, token, address)

    def _send(self, sealing: Session, kind: int, token: bytes, address: SocketAddress) -> None:
        self._outbound.send_aside(sealing, bytes((kind, 0, 0, len(token))) + token, address)

    def _move(self, session: Session, address: SocketAddress) -> None:
        peer, state = session.peer, self._state
        before = peer.address
        if address != before and state.set_path(peer, (address[0], address[1]), min(peer.mtu, FLOOR_MTU)):
            peer.candidates.left(before, state.now)
            self._facts.moved(peer.identity, (address[0], address[1]))
