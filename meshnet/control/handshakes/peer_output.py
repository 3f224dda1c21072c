"""What the handshakes of all peers ask for: outputs of ``peers``, applied by its owner in order.

Rule: data alone. Keys are in ``InstallSession`` and nowhere else, and its ``repr`` does not show them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from crypto.handshake import Established
from meshnet.boundary import Address
from meshnet.control.handshakes.remote import Remote, State

__all__ = [
    "DropSession",
    "InstallSession",
    "Output",
    "PeerState",
    "PeerView",
    "ReserveStamps",
    "SendDatagram",
    "install",
    "state_change",
]


@dataclass(frozen=True)
class SendDatagram:
    """Send a handshake datagram."""

    address: Address
    data: bytes


@dataclass(frozen=True)
class InstallSession:
    """Hand a session to the forwarder. ``features`` are the peer's, ``largest_record`` (bytes) suits both ends."""

    peer_id: bytes
    local_index: int
    remote_index: int
    send_key: bytes = field(repr=False)
    receive_key: bytes = field(repr=False)
    initiator: bool
    address: Address
    features: int
    largest_record: int
    version: int


@dataclass(frozen=True)
class DropSession:
    """End a session in the forwarder."""

    local_index: int


@dataclass(frozen=True)
class PeerState:
    """A peer's state changed."""

    peer_id: bytes
    state: State


@dataclass(frozen=True)
class ReserveStamps:
    """Make it durable that our stamps up to ``until`` (12 bytes) may have been used, then say ``stamps_reserved``."""

    until: bytes


@dataclass(frozen=True)
class PeerView:
    """What status shows of a peer: ``session_age_s`` is ``None`` without a session in use."""

    state: State
    session_age_s: float | None
    address: Address | None


Output = SendDatagram | InstallSession | DropSession | PeerState | ReserveStamps


def install(
    peer_id: bytes, established: Established, address: Address, *, initiator: bool, features: int, record: int
) -> InstallSession:
    """The output for a finished handshake; ``features`` and ``record`` are what the two ends came to."""
    return InstallSession(
        peer_id=peer_id,
        local_index=established.local_index,
        remote_index=established.remote_index,
        send_key=established.send_key,
        receive_key=established.receive_key,
        initiator=initiator,
        address=address,
        features=features,
        largest_record=record,
        version=established.choice.version,
    )


def state_change(remote: Remote) -> list[Output]:
    """The output for a peer's state, if it is another than was told last."""
    state = remote.state
    if state == remote.reported:
        return []
    remote.reported = state
    return [PeerState(remote.peer_id, state)]
