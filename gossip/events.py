"""What the core hands to its host: writes, messages, events, and what it answers to queries.

Purpose: the whole output of `gossip.node.Node` as plain data, so that the daemon and the simulation drive one core.
Rule: an `Output` is applied in the order persist, send, tell, and nothing of send or tell may leave before the writes
of persist are durable. The writes of one `Output` are one transaction.
Flow: Node method -> Output -> host's runner. Peers are known by their 32-byte identity.
Own state is not told back: `PeerSeen` speaks of other peers, `NetworkSeen` of every network; `EndpointGone` of any
endpoint that stopped counting for another reason than this host's own `drop_endpoint`, and `EndpointSet` of those of
other peers, and of own ones that count again after that.
Reference: design §5, §6 (persist before tell).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from gossip.errors import Refusal
from gossip.state.address_bodies import EndpointBody, NetworkBody
from gossip.state.bodies import PeerBody

SPACE_STATEMENT = "gossip.statement"
SPACE_OWN = "gossip.own"
SPACE_LEASE = "gossip.lease"
SPACE_PROOF = "gossip.proof"
SPACES = (SPACE_STATEMENT, SPACE_OWN, SPACE_LEASE, SPACE_PROOF)
"""Every space of the store the core writes; all rows of all of them are what `Node(stored=...)` wants back."""


@dataclass(frozen=True, slots=True)
class Put:
    """One durable write; `value` None deletes the row."""

    space: str
    key: bytes
    value: bytes | None


@dataclass(frozen=True, slots=True)
class PeerSeen:
    """A peer is new, or its statement changed."""

    peer: bytes
    body: PeerBody


@dataclass(frozen=True, slots=True)
class PeerLeft:
    """A peer said it left the mesh for good."""

    peer: bytes


@dataclass(frozen=True, slots=True)
class PeerRevoked:
    """A peer, or this host itself, does not count as a member from now on: its sessions and links end.

    `by`: the admin by whose word. `reason`: of the revocation, or why it counts no longer although nobody revoked it (a
    certificate that became void, the allow-list). Should it count again, `PeerSeen` is told again, or `Readmitted`.
    """

    peer: bytes
    by: bytes
    reason: str


@dataclass(frozen=True, slots=True)
class Readmitted:
    """This host itself counts as a member again, after a `PeerRevoked` of it."""


@dataclass(frozen=True, slots=True)
class SecretRotation:
    """The announcement of a new mesh secret that counts: at start, and whenever it is another."""

    generation: int
    commitment: bytes
    phase: int
    by: bytes


@dataclass(frozen=True, slots=True)
class Heard:
    """This host's state was rolled back, and those it is linked with now hold of it what it holds itself."""


@dataclass(frozen=True, slots=True)
class Cloned:
    """Another live host speaks with this host's identity: nothing is given out until it was silent for CLONED_S."""

    detail: str


@dataclass(frozen=True, slots=True)
class Reachable:
    """The graph of links reaches the peer, or no longer does. Advice: it ends no session."""

    peer: bytes
    reachable: bool


@dataclass(frozen=True, slots=True)
class NetworkSeen:
    """A network is new, or its parameters changed."""

    body: NetworkBody


@dataclass(frozen=True, slots=True)
class NetworkGone:
    """A network was removed from the mesh; its number is never used again."""

    body: NetworkBody


@dataclass(frozen=True, slots=True)
class EndpointSet:
    """Another peer's endpoint counts from now on, or changed."""

    owner: bytes
    body: EndpointBody


@dataclass(frozen=True, slots=True)
class EndpointGone:
    """An endpoint no longer counts."""

    owner: bytes
    network: int
    mac: bytes


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a link to the peer: any of `addresses`, in order. A failure needs no report: the core tries again."""

    peer: bytes
    static: bytes
    addresses: list[str]


@dataclass(frozen=True, slots=True)
class CloseLink:
    """Close the link; the core has forgotten it already."""

    link: int
    reason: str


@dataclass(frozen=True, slots=True)
class Trouble:
    """What an operator should read: equivocation, rolled back state, two grants for one range, an act without role."""

    what: str


@dataclass(frozen=True, slots=True)
class Lease:
    """One address in use by one of this host's endpoints: "a.b.c.d/len" with the pool's length, and its number."""

    network: int
    address: str
    number: int


@dataclass(frozen=True, slots=True)
class NetworkSettled:
    """The answer to a `create_network` that had to ask: the network, founded here or by another, or why not.

    It may be told before whoever took the step hears of the step's end: the host waits for it from before the step on.
    """

    name: str
    answer: NetworkBody | Refusal


@dataclass(frozen=True, slots=True)
class LeaseSettled:
    """The answer to an `allocate` that had to ask for addresses; told as early as `NetworkSettled`."""

    network: int
    endpoint_id: bytes
    answer: Lease | Refusal


@dataclass(frozen=True, slots=True)
class ReclaimDone:
    """A reclaim that is through: by which run, from whom, and what this host owns of theirs now.

    `ranges`: (network, start, end), half-open, as integers; network 0 is the number pool. `quarantined`: (network,
    address text) that stay theirs until released.
    """

    run: bytes
    peers: list[bytes]
    ranges: list[tuple[int, int, int]]
    quarantined: list[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class ReclaimSettled:
    """The answer to a `reclaim` that had to ask the other members; told as early as `NetworkSettled`."""

    run: bytes
    answer: ReclaimDone | Refusal


Event = (
    PeerSeen
    | PeerLeft
    | PeerRevoked
    | Readmitted
    | SecretRotation
    | Cloned
    | Heard
    | Reachable
    | NetworkSeen
    | NetworkGone
    | EndpointSet
    | EndpointGone
    | Dial
    | CloseLink
    | Trouble
    | NetworkSettled
    | LeaseSettled
    | ReclaimSettled
)


@dataclass(slots=True)
class Output:
    """One step's consequences: durable writes, then (link id, message) pairs, then events."""

    persist: list[Put] = field(default_factory=list)
    send: list[tuple[int, bytes]] = field(default_factory=list)
    tell: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class PeerView:
    """What is known of one peer. `reachable` of the own entry is always true."""

    identity: bytes
    body: PeerBody
    reachable: bool
    left: bool
    incarnation: int
    revoked: bool = False
    """It does not count as a member: revoked, or as `PeerRevoked` tells."""


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation that counts: whom, by whose word, from which serial on what that peer issued is void, why."""

    identity: bytes
    by: bytes
    from_serial: int
    reason: str


@dataclass(frozen=True, slots=True)
class RotationView:
    """The mesh secret that is announced: generation, commitment 32 B, phase (0 install, 1 switch, 2 drop), by whom."""

    generation: int
    commitment: bytes
    phase: int
    by: bytes


@dataclass(frozen=True, slots=True)
class RangeView:
    """A half-open range of addresses as integers, and the identity of the peer that owns it."""

    start: int
    end: int
    owner: bytes


@dataclass(frozen=True, slots=True)
class Waiting:
    """An allocation that waits for addresses of other peers: for whom, the address wanted, when it began and ends.

    `asked`: the peers asked until now, in order. `why`: why it could not be had here.
    """

    network: int
    endpoint_id: bytes
    wanted: str | None
    since: float
    until: float
    asked: list[bytes]
    why: str


@dataclass(frozen=True, slots=True)
class ReclaimPlan:
    """What a reclaim of these peers would do, and who must agree.

    `ranges`: (network, start, end) they own, half-open, as integers; network 0 is the number pool. `in_use`: (network,
    address text, endpoint name) of theirs, quarantined until released. `must_consent`: every other member;
    `unreachable`: those of them who are. `heard_ago`: seconds since each named peer was heard of; None: not since this
    host started. `refusal`: why it would be refused now, unless forced where that helps; None: it may begin.
    """

    peers: list[bytes]
    ranges: list[tuple[int, int, int]]
    in_use: list[tuple[int, str, str]]
    must_consent: list[bytes]
    unreachable: list[bytes]
    heard_ago: dict[bytes, float | None]
    refusal: Refusal | None


@dataclass(frozen=True, slots=True)
class Share:
    """How much of a network's addresses a peer owns, uses (by its endpoints that count; own: leases), has lent.

    `lent`: to others, which are not among those used. `reachable`, `left`: as of `PeerView`.
    """

    network: int
    peer: bytes
    owned: int
    used: int
    lent: int
    reachable: bool
    left: bool
