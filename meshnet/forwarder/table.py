"""What the forwarder knows: peers with their sessions and paths, and the sessions by index.

Rule: no I/O and no clock here; `now` is seconds on CLOCK_BOOTTIME.  A peer has three key slots, as WireGuard does:
`previous` still opens what is in flight, `current` seals, `next` is a responder's session that seals only after the
first record under it proved that the peer has it too.
"""

from collections import deque
from collections.abc import Callable
from typing import Final

from crypto.session import Opener, Sealer
from meshnet.boundary import Address
from meshnet.forwarder.candidates import Candidates, SocketAddress
from meshnet.forwarder.datagram import Train
from meshnet.forwarder.record import PLAINTEXT_BYTES

__all__ = [
    "ALL_FEATURES",
    "REJECT_AFTER_S",
    "STAGED_BYTES",
    "STAGED_FRAMES",
    "Peer",
    "Session",
]

REJECT_AFTER_S: Final = 180.0
STAGED_FRAMES: Final = 64
STAGED_BYTES: Final = 256 * 1024
ALL_FEATURES: Final = 0x1F


class Session:
    """One installed session: both keys, and what it did so far."""

    __slots__ = (
        "index",
        "initiator",
        "installed",
        "last_received",
        "last_sent",
        "opener",
        "peer",
        "received_bytes",
        "received_data",
        "received_records",
        "remote_index",
        "reported",
        "sealer",
        "sent_bytes",
        "sent_data",
        "sent_records",
        "ticked",
    )

    def __init__(
        self,
        peer: "Peer",
        index: int,
        remote_index: int,
        sealer: Sealer,
        opener: Opener,
        *,
        initiator: bool,
        now: float,
    ) -> None:
        self.peer = peer
        self.index = index
        self.remote_index = remote_index
        self.sealer = sealer
        self.opener = opener
        self.initiator = initiator
        self.installed = now
        self.sent_records = 0
        """Every record sealed, keepalives included."""
        self.sent_data = 0
        self.sent_bytes = 0
        self.received_records = 0
        self.received_data = 0
        self.received_bytes = 0
        self.ticked = (0, 0, 0, 0)
        """(sent_records, sent_data, received_records, received_data) at the last tick."""
        self.last_sent = -1.0
        """When the tick last saw a frame sent; -1 for never."""
        self.last_received = -1.0
        self.reported = False


class Peer:
    """One remote peer as the data plane sees it."""

    __slots__ = (
        "address",
        "candidates",
        "current",
        "features",
        "gso",
        "gso_off_until",
        "identity",
        "keepalive_due",
        "largest",
        "mtu",
        "next",
        "previous",
        "received_bytes",
        "received_records",
        "remote",
        "send",
        "sent_bytes",
        "sent_records",
        "staged",
        "staged_bytes",
        "train",
        "wanted",
    )

    def __init__(self, identity: bytes) -> None:
        self.identity = identity
        self.current: Session | None = None
        self.previous: Session | None = None
        self.next: Session | None = None
        self.remote: Address | None = None
        """The confirmed underlay address as the boundary spells it."""
        self.address: SocketAddress | None = None
        """The same as recvmsg reports it."""
        self.candidates = Candidates()
        self.send: Callable[..., int] | None = None
        """sendmsg of the socket that reaches `address`."""
        self.gso = False
        self.mtu = 0
        self.train: Train | None = None
        self.features = ALL_FEATURES
        self.largest = PLAINTEXT_BYTES
        """Most plaintext bytes in a record, as both ends agreed in the handshake."""
        self.gso_off_until = -1.0
        self.staged: deque[bytes] = deque()
        """Frame entries that wait for a session."""
        self.staged_bytes = 0
        self.wanted = False
        self.keepalive_due = -1.0
        self.sent_records = 0
        self.sent_bytes = 0
        self.received_records = 0
        self.received_bytes = 0

    def stage(self, entry: bytes) -> int:
        """Keep a frame entry until a session exists; return how many older ones were dropped for it."""
        self.staged.append(entry)
        self.staged_bytes += len(entry)
        dropped = 0
        while len(self.staged) > STAGED_FRAMES or self.staged_bytes > STAGED_BYTES:
            self.staged_bytes -= len(self.staged.popleft())
            dropped += 1
        return dropped

    def take_staged(self) -> list[bytes]:
        """Everything that waits, oldest first; nothing waits afterwards."""
        entries = list(self.staged)
        self.staged.clear()
        self.staged_bytes = 0
        return entries

    def sessions(self) -> list[Session]:
        """The live sessions, the sending one first."""
        return [s for s in (self.current, self.next, self.previous) if s is not None]

    def install(self, session: Session) -> list[Session]:
        """Put a new session into its slot; return those that fell out."""
        if session.initiator:
            out = [s for s in (self.previous, self.next) if s is not None]
            self.previous, self.current, self.next = self.current, session, None
        else:
            out = [self.next] if self.next is not None else []
            self.next = session
        return out

    def confirm(self, session: Session) -> list[Session]:
        """The first record under `next` opened: it becomes current; return the session that fell out."""
        out = [self.previous] if self.previous is not None else []
        self.previous, self.current, self.next = self.current, session, None
        return out

    def remove(self, session: Session) -> None:
        """Empty the slot that holds `session`."""
        if self.current is session:
            self.current = None
        if self.previous is session:
            self.previous = None
        if self.next is session:
            self.next = None
