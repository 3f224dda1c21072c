"""The bodies of statements about networks and addresses.

Purpose: the typed shapes by which networks are said, addresses used, given, lent and asked for, custody is settled, and
what a dead peer owned is taken over.
Rule: addresses of the pools travel as big-endian bytes of the least length, because msgpack integers end at 64 bits; an
IPv4 address is an integer below 2^32, an IPv6 address one above it (pools inside ::/96 do not exist).
Flow: see `gossip.state.bodies`, which has the codec of all kinds.
Reference: design §6; docs/wire.md.
"""

from __future__ import annotations

from hashlib import blake2s
from itertools import pairwise
from typing import Annotated

import msgspec

from gossip import limits
from gossip.ipam.ranges import MAX_ADDRESS, network_of, parse_interface
from gossip.state.body import (
    NAME,
    PRINTABLE,
    U32,
    Body,
    Count,
    Hash16,
    Held,
    Identity,
    Mac,
    Mtu,
    Name,
    Nonce,
    Pools,
    least_bytes,
)

NETWORK = "network"
ENDPOINT = "endpoint"
GRANT = "grant"
REQUEST = "request"
LOAN = "loan"
REGISTER = "=register"
SETTLED = "=settled"
ACK = "ack"
RECLAIM = "=reclaim"
CONSENT = "consent"
FENCE = "=fence"

NUMBER_POOL = 0
"""The network of grants that give numbers of networks, not addresses."""
DEFAULT_NETWORK = 1
"""The number of the network that the mesh's founder makes with the mesh."""

AGREED, ALIVE, ENGAGED = 0, 1, 2
"""What a consent says: yes; the peer was heard of lately; another run has this peer's word."""

AddressBytes = Annotated[bytes, msgspec.Meta(max_length=16)]
Id16 = Annotated[bytes, msgspec.Meta(max_length=16)]


class NetworkBody(Body, frozen=True):
    """A network: number, name, pools as CIDR text, MTU. Its statement's key is the number, 4 bytes."""

    number: U32
    name: Name
    pools: Pools
    mtu: Mtu

    def check(self) -> None:
        if not NAME.match(self.name):
            raise ValueError("the network's name is not of a-z, 0-9 and dashes")
        spans = sorted((pool.start, pool.end) for pool in map(network_of, self.pools))
        if any(left[1] > right[0] for left, right in pairwise(spans)):
            raise ValueError("the pools of one network overlap")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.number.to_bytes(4, "big")


class EndpointBody(Body, frozen=True):
    """A port on a network: MAC, addresses as ("a.b.c.d/len", lease number), a name. Key: number and MAC."""

    network: U32
    mac: Mac
    addresses: Held
    name: Name

    def check(self) -> None:
        if not PRINTABLE.match(self.name):
            raise ValueError("the endpoint's name holds unprintable characters")
        if self.mac[0] & 1 or self.mac == bytes(6):
            raise ValueError("the endpoint's MAC is not one interface's")
        values = [parse_interface(text)[0] for text, _ in self.addresses]
        if len(dict.fromkeys(values)) != len(values):
            raise ValueError("the endpoint names one address twice")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return endpoint_key(self.network, self.mac)


def endpoint_key(network: int, mac: bytes) -> bytes:
    """The key of an endpoint's statement."""
    return network.to_bytes(4, "big") + mac


class GrantWire(Body, frozen=True):
    """A grant as it travels: its end as bytes."""

    network: U32
    start: AddressBytes
    end: Annotated[bytes, msgspec.Meta(max_length=17)]
    to: Identity
    version: Count
    previous: Annotated[bytes, msgspec.Meta(max_length=16)]
    name: Name = ""
    answers: Annotated[bytes, msgspec.Meta(max_length=limits.NONCE_B)] = b""
    run: Annotated[bytes, msgspec.Meta(max_length=limits.NONCE_B)] = b""


class Grant(msgspec.Struct, frozen=True):
    """A half-open range given to `to` by the statement's owner.

    `version` 0 and an empty `previous` make a founding grant; else `previous` is the id of the grant by which the donor
    owns the range and `version` is one more than that grant's. `name`: the network that one number of the number pool
    is given for. `answers`: the nonce of the request of `to` that this grant answers, or empty. `run`: the nonce of the
    reclaim by which the statement's owner gives what another peer owned; empty in all other grants.
    """

    network: int
    start: int
    end: int
    to: bytes
    version: int
    previous: bytes
    name: str = ""
    answers: bytes = b""
    run: bytes = b""

    def check(self) -> None:
        """Raise ValueError on an empty or impossible range, an ancestor or a name where none can be."""
        if not 0 <= self.start < self.end <= MAX_ADDRESS + 1:
            raise ValueError("the granted range is empty or outside the address space")
        if (self.version == 0) != (self.previous == b"") or len(self.previous) not in (0, 16):
            raise ValueError("the grant's version and its ancestor do not fit")
        if len(self.answers) not in (0, limits.NONCE_B):
            raise ValueError("the grant answers what is no request")
        if len(self.run) not in (0, limits.NONCE_B) or (self.run and not self.previous):
            raise ValueError("the grant stands in for nobody")
        if self.name and not (self.network == NUMBER_POOL and self.end == self.start + 1 and NAME.match(self.name)):
            raise ValueError("the grant names what is no number")

    def wire(self) -> bytes:
        """The body's bytes."""
        start, end = least_bytes(self.start), least_bytes(self.end)
        fields = [self.network, start, end, self.to, self.version, self.previous, self.name, self.answers, self.run]
        while len(fields) > 6 and not fields[-1]:
            del fields[-1]
        return msgspec.msgpack.encode(fields)


def grant_of(wire: GrantWire) -> Grant:
    """The grant that the wire form says, not checked yet."""
    start, end = int.from_bytes(wire.start, "big"), int.from_bytes(wire.end, "big")
    return Grant(wire.network, start, end, wire.to, wire.version, wire.previous, wire.name, wire.answers, wire.run)


def grant_id(donor: bytes, body: bytes) -> bytes:
    """16 bytes that name a grant in its children's `previous`, and the key of its statement.

    It covers donor and body but neither incarnation nor seq; as the key is the content, no later statement of the donor
    can replace a grant, only add one.
    """
    return blake2s(donor + body, digest_size=16, person=b"mngrant").digest()


class RequestBody(Body, frozen=True):
    """Asks peer `of` for a grant: a number for network `name` (network 0), or addresses of a network.

    `start`: the address wanted, big-endian bytes of the least length; empty: any. `free`: how many addresses the asker
    has left. `nonce`: what the grant repeats, so that one request is answered once. Key: see `request_key`.
    """

    of: Identity
    network: U32
    name: Name
    start: Annotated[bytes, msgspec.Meta(max_length=16)]
    free: Count
    nonce: Nonce

    def check(self) -> None:
        if (self.network == NUMBER_POOL) != bool(self.name) or (self.name and not NAME.match(self.name)):
            raise ValueError("the request's network and name do not fit")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return request_key(self.network, self.name, self.start)


def request_key(network: int, name: str, start: bytes) -> bytes:
    """The key of a request's statement, 12 bytes: one slot for each network, name and address wanted."""
    return network.to_bytes(4, "big") + blake2s(name.encode() + b"/" + start, digest_size=8, person=b"mnask").digest()


class LoanBody(Body, frozen=True):
    """The address is lent to peer `to`, from the range of the statement's owner, with that lease number.

    It stays lent while `to` says a request for the address or an endpoint with it. `answers`: the nonce of the request
    that it was lent for, without which `to` begins no use of it; or empty. Key: see `loan_key`.
    """

    network: U32
    address: AddressBytes
    to: Identity
    number: Count
    answers: Annotated[bytes, msgspec.Meta(max_length=limits.NONCE_B)] = b""

    def check(self) -> None:
        if len(self.answers) not in (0, limits.NONCE_B):
            raise ValueError("the loan answers what is no request")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return loan_key(self.network, int.from_bytes(self.address, "big"))


def loan_key(network: int, address: int) -> bytes:
    """The key of a loan's statement, 4 to 20 bytes."""
    return network.to_bytes(4, "big") + least_bytes(address)


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One tile in a register: half-open range, owner, the version and id of the deed it is owned by.

    `name`, `holders`: of a number with a name in force, that name and who held the number under it, the newest first;
    holders without a name: the number was given for a name once, and is not free.
    """

    start: AddressBytes
    end: Annotated[bytes, msgspec.Meta(max_length=17)]
    owner: Identity
    version: Count
    deed: Hash16
    name: Name = ""
    holders: Annotated[list[Identity], msgspec.Meta(max_length=limits.MAX_HOLDERS)] = []


class RegisterBody(Body, frozen=True):
    """One of `chunks` pieces of an edition of a network's register: whose is what, without how it came to that.

    Its statement's key: network, edition, chunk (4, 4, 2 bytes).
    """

    network: U32
    edition: U32
    chunk: Annotated[int, msgspec.Meta(ge=0, lt=limits.MAX_CHUNKS)]
    chunks: Annotated[int, msgspec.Meta(ge=1, le=limits.MAX_CHUNKS)]
    rows: Annotated[list[Row], msgspec.Meta(max_length=limits.MAX_ROWS)]

    def check(self) -> None:
        if self.chunk >= self.chunks or self.edition == 0:
            raise ValueError("a chunk that its edition does not have")

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return register_key(self.network, self.edition, self.chunk)


def register_key(network: int, edition: int, chunk: int) -> bytes:
    """The key of a register chunk's statement, 10 bytes."""
    return network.to_bytes(4, "big") + edition.to_bytes(4, "big") + chunk.to_bytes(2, "big")


class SettledBody(Body, frozen=True):
    """Every member has acknowledged this edition (the hash of its chunks' bodies): custody begins with it.

    `held`: every member holds this statement too: the grants that led to the edition may be withdrawn. Its statement's
    key is the network, 4 bytes.
    """

    network: U32
    edition: U32
    digest: Hash16
    held: bool = False

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.network.to_bytes(4, "big")


class AckBody(Body, frozen=True):
    """The owner holds that edition of peer `of`, durably, and finds in it what it holds itself. Key: the network."""

    network: U32
    of: Identity
    edition: U32
    digest: Hash16

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.network.to_bytes(4, "big")


class ReclaimBody(Body, frozen=True):
    """An admin asks every member for its consent to take over what these peers, dead for good, own. Key: `run`."""

    run: Nonce
    peers: Annotated[list[Identity], msgspec.Meta(min_length=1, max_length=limits.MAX_RECLAIMED)]

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.run


class ConsentBody(Body, frozen=True):
    """To run `run` of admin `of`: whether the owner agrees that what `peer` owns is taken over.

    Whatever the `verdict` (AGREED, ALIVE or ENGAGED), what `peer` gives away is heeded no further, unless ENGAGED.
    `incarnation`: the greatest of `peer` the owner knows. `grants`, `digest`: how many ranges and loans of `peer` it
    knows, and the hash of that estate and of who must agree (`gossip.reclaiming.estates`). Its statement's key is
    `peer`.
    """

    of: Identity
    run: Nonce
    peer: Identity
    incarnation: Count
    verdict: Annotated[int, msgspec.Meta(ge=AGREED, le=ENGAGED)]
    grants: Count
    digest: Hash16

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.peer


class FenceBody(Body, frozen=True):
    """What `peer` owned, in that incarnation and before, is its own no more, by a reclaim; or a reclaim by it is void.

    `run` belongs to a reclaim and one of the peers it names (`gossip.reclaiming.fences.run_for`): the owner's own, on
    that very `peer`; or one that `peer` itself began and that nobody heard the end of. `forced`: without the consent of
    all.
    `grants`: how many grants in the peer's stead carry that `run`; who does not hold so many knows only half of it. Its
    statement's key: peer and run.
    """

    peer: Identity
    run: Nonce
    incarnation: Count
    forced: bool
    grants: Count = 0

    @property
    def key(self) -> bytes:
        """The key of its statement."""
        return self.peer + self.run
