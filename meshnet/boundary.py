"""The boundary between meshnetd and the forwarder: every verb, every fact, one codec, one version.

Verbs go down (meshnetd to forwarder), facts go up.  Each is one SOCK_SEQPACKET message of at most MESSAGE_BYTES, a
msgpack map with the field `t` naming its type; file descriptors travel beside it (SCM_RIGHTS).  The forwarder opens
every connection with `Hello` and duplicates of its descriptors: first the data sockets, then the TAPs, in the order
in which `Hello` lists them.  Neither side ever blocks on the other (docs/architecture.md).

Rule: this file is the whole contract.  A change that an older forwarder or meshnetd could misread raises VERSION.
"""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

__all__ = [
    "FACTS_QUEUED",
    "FDS_PER_MESSAGE",
    "HANDSHAKE_KEYS",
    "MESSAGE_BYTES",
    "VERSION",
    "AddNetwork",
    "AddSocket",
    "Address",
    "BoundaryError",
    "Configure",
    "Counters",
    "DropNetwork",
    "DropPeer",
    "DropSession",
    "EndpointRow",
    "Fact",
    "Handshake",
    "HandshakeKeyRow",
    "Hello",
    "InstallSession",
    "Moved",
    "NetworkRow",
    "PeerCounters",
    "Progress",
    "ProgressRow",
    "ReadCounters",
    "SendDatagram",
    "SessionEnded",
    "SessionRow",
    "SetCookieSecrets",
    "SetEndpoints",
    "SetHandshakeKeys",
    "SetPath",
    "SocketRow",
    "Stop",
    "Trouble",
    "Verb",
    "Wanted",
    "decode_fact",
    "decode_verb",
    "encode",
]

VERSION: Final = 2
MESSAGE_BYTES: Final = 65_536
FDS_PER_MESSAGE: Final = 200
HANDSHAKE_KEYS: Final = 6
"""Rows of SetHandshakeKeys: three mesh secrets (next, current, previous) times two static keys (present, former)."""
FACTS_QUEUED: Final = {
    "Handshake": 256,
    "Moved": 64,
    "SessionEnded": 256,
    "Trouble": 64,
    "Counters": 8,
    "Progress": 4,
}
"""How many facts of a kind wait for a slow meshnetd before the oldest is dropped; `Wanted` waits once per peer."""

Id16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Key32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Owner = Annotated[bytes, Meta(max_length=32)]
Mac = Annotated[bytes, Meta(min_length=6, max_length=6)]
U32 = Annotated[int, Meta(ge=0, le=0xFFFFFFFF)]
Mtu = Annotated[int, Meta(ge=0, le=65_535)]
Port = Annotated[int, Meta(ge=0, le=65_535)]

Address = tuple[str, Port]
"""Underlay address of a peer: literal IPv4 or IPv6 host (a link-local one with %scope) and UDP port."""


class BoundaryError(Exception):
    """A message of the other process that is not of this version's form."""


def _without_keys(message: msgspec.Struct) -> str:
    return f"{type(message).__name__}(...)"


class _Message(msgspec.Struct, frozen=True, tag_field="t", tag=True, forbid_unknown_fields=True):
    pass


# --- verbs ---------------------------------------------------------------------------------------------------------


class Configure(_Message, frozen=True):
    """Who this forwarder works for; sent once, before any other verb."""

    mesh: Id16
    peer: Key32
    suite: str


class HandshakeKeyRow(msgspec.Struct, frozen=True, array_like=True):
    """What a handshake datagram of one epoch, addressed to one static key of this peer, is checked with."""

    epoch: Annotated[int, Meta(ge=0, le=255)]
    mac1_key: Key32
    """Under which the datagram carries its mac1."""
    cookie_key: Key32
    """Under which the cookie that answers it is sealed."""
    __repr__ = _without_keys


class SetHandshakeKeys(_Message, frozen=True):
    """Admit handshake datagrams made with these keys, and no others: one row for each mesh secret and static key."""

    keys: Annotated[list[HandshakeKeyRow], Meta(max_length=HANDSHAKE_KEYS)]


class SetCookieSecrets(_Message, frozen=True):
    """The secrets of cookies: the current one makes, both check; `previous` is empty before the first change."""

    current: Key32
    previous: Owner = b""
    __repr__ = _without_keys


class AddSocket(_Message, frozen=True):
    """Take one data socket (descriptor beside the message), already bound and configured."""

    family: int
    port: Port
    gso: bool
    gro: bool


class AddNetwork(_Message, frozen=True):
    """Take one TAP (descriptor beside the message) as the port of a network."""

    number: U32
    device: str
    mtu: Mtu
    features: U32
    """What this TAP takes; kept by the forwarder for the meshnetd that adopts it."""


class DropNetwork(_Message, frozen=True):
    """Forget a network; its TAP is closed."""

    number: U32


class EndpointRow(msgspec.Struct, frozen=True, array_like=True):
    """One endpoint's MAC and the peer that owns it; an empty peer means this host."""

    mac: Mac
    peer: Owner


class SetEndpoints(_Message, frozen=True):
    """Change the table of one network: rows set, MACs gone; with `replace` every other row goes too."""

    number: U32
    endpoints: list[EndpointRow]
    gone: list[Mac] = []
    replace: bool = False


class InstallSession(_Message, frozen=True):
    """A finished handshake.  The keys live in the forwarder alone from here on; an index is installed once."""

    peer: Key32
    index: U32
    remote_index: U32
    send_key: Key32
    receive_key: Key32
    initiator: bool
    address: Address
    mtu: Mtu
    """Path MTU towards the address in bytes, IP header included."""
    features: U32
    """What the peer's TAP takes (TSO4=1, TSO6=2, ECN=4, USO4=8, USO6=16)."""
    largest_record: Annotated[int, Meta(ge=1280, le=0xFFFFFFFF)]
    __repr__ = _without_keys


class SetPath(_Message, frozen=True):
    """Where a peer is to be reached, and the path MTU towards it."""

    peer: Key32
    address: Address
    mtu: Mtu


class DropSession(_Message, frozen=True):
    """End one session."""

    index: int


class DropPeer(_Message, frozen=True):
    """End all sessions of a peer and forget what waits for it."""

    peer: Key32


class SendDatagram(_Message, frozen=True):
    """Send a handshake datagram as it is."""

    address: Address
    data: bytes


class ReadCounters(_Message, frozen=True):
    """Ask for one `Counters` fact with this number."""

    request: int


class Stop(_Message, frozen=True):
    """End the forwarder process."""


Verb = (
    Configure
    | SetHandshakeKeys
    | SetCookieSecrets
    | AddSocket
    | AddNetwork
    | DropNetwork
    | SetEndpoints
    | InstallSession
    | SetPath
    | DropSession
    | DropPeer
    | SendDatagram
    | ReadCounters
    | Stop
)


# --- facts ---------------------------------------------------------------------------------------------------------


class SocketRow(msgspec.Struct, frozen=True, array_like=True):
    """A data socket the forwarder holds."""

    family: int
    port: int
    gso: bool
    gro: bool


class NetworkRow(msgspec.Struct, frozen=True, array_like=True):
    """A network the forwarder serves."""

    number: int
    device: str
    mtu: int
    features: int


class SessionRow(msgspec.Struct, frozen=True, array_like=True):
    """A live session: never its keys."""

    index: int
    peer: bytes
    age_s: float
    initiator: bool
    current: bool
    address: Address
    remote_index: int = 0


class Hello(_Message, frozen=True, forbid_unknown_fields=False):
    """First fact of every connection: what this forwarder is and holds.

    Fields of a later version are passed over, so that whoever replaces a newer forwarder can take its devices.
    """

    version: int
    mesh: bytes
    peer: bytes
    boot: bytes
    """8 random bytes of the forwarder process; an adopted forwarder keeps them, so peers see no restart."""
    pid: int
    sockets: list[SocketRow]
    networks: list[NetworkRow]
    sessions: list[SessionRow]


class Handshake(_Message, frozen=True):
    """A datagram of a handshake that was admitted: an initiation or response with a right mac1, or a cookie reply."""

    address: Address
    data: bytes


class Wanted(_Message, frozen=True):
    """A frame waits for a peer without a session."""

    peer: bytes


class ProgressRow(msgspec.Struct, frozen=True, array_like=True):
    """What a session did since it began; ages in seconds, -1 for never."""

    index: int
    sent_records: int
    received_records: int
    sent_bytes: int
    received_bytes: int
    last_sent_age_s: float
    """Since the last record that carried a frame (keepalives do not count)."""
    last_received_age_s: float
    """Since the last authenticated record of any kind."""


class Progress(_Message, frozen=True):
    """Once a second: the sessions whose counters changed."""

    sessions: list[ProgressRow]


class Moved(_Message, frozen=True):
    """A peer answered the probe of another address: records go there by now, within 1,280 bytes until `SetPath`."""

    peer: bytes
    address: Address


class SessionEnded(_Message, frozen=True):
    """The forwarder ended a session by itself (its key expired or its counter is used up)."""

    index: int
    reason: str


class PeerCounters(msgspec.Struct, frozen=True, array_like=True):
    """Sums over all sessions of a peer since the forwarder started."""

    peer: bytes
    sent_records: int
    received_records: int
    sent_bytes: int
    received_bytes: int
    mtu: int
    address: Address


class Counters(_Message, frozen=True):
    """Answer to `ReadCounters`."""

    request: int
    drops: dict[str, int]
    peers: list[PeerCounters]


class Trouble(_Message, frozen=True):
    """Something on this host that an operator may want to know: one line."""

    what: str


Fact = Hello | Handshake | Wanted | Progress | Moved | SessionEnded | Counters | Trouble

_encoder = msgspec.msgpack.Encoder()
_verbs: "msgspec.msgpack.Decoder[Verb]" = msgspec.msgpack.Decoder(Verb)
_facts: "msgspec.msgpack.Decoder[Fact]" = msgspec.msgpack.Decoder(Fact)


def encode(message: Verb | Fact) -> bytes:
    """Encode a verb or a fact; raises BoundaryError when it would exceed MESSAGE_BYTES."""
    data = _encoder.encode(message)
    if len(data) > MESSAGE_BYTES:
        raise BoundaryError(f"{type(message).__name__} of {len(data)} bytes exceeds {MESSAGE_BYTES}")
    return data


def decode_verb(data: bytes) -> Verb:
    """Decode what meshnetd sent; raises BoundaryError."""
    try:
        return _verbs.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
        raise BoundaryError(f"not a verb of version {VERSION}: {type(error).__name__}") from None


def decode_fact(data: bytes) -> Fact:
    """Decode what the forwarder sent; raises BoundaryError."""
    try:
        return _facts.decode(data)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # ValueError: text that is not UTF-8
        raise BoundaryError(f"not a fact of version {VERSION}: {type(error).__name__}") from None
