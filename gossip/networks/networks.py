"""The networks of the mesh, their rings, and which endpoints count.

Purpose: the meaning of network and endpoint statements, kept in step with the view; grants are
`gossip.custody.custody`'s.
Rule: network 1 counts if the mesh's founder says it; any other if its number was given to the one who says it, for that
very name, and the name is in force (`gossip.networks.numbers`). An endpoint counts while its network is known, its
owner is heeded (a member, and not quarantined), each of its addresses lies in a range its owner owns, or is lent to
that owner with the very number by whose range it is, and no other such endpoint holds the address with a greater lease
number (equal numbers: the smaller key). Else it waits, silently: the grant or the loan may still be on its way.
Flow: `apply(change)` for each change of the view -> `refresh()` -> events.
Reference: design §4.6, §6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gossip import limits
from gossip.custody.custody import Admits, Custody, nobody
from gossip.events import EndpointGone, EndpointSet, Event, NetworkGone, NetworkSeen, Trouble
from gossip.ipam.ranges import network_of, parse_interface
from gossip.ipam.ring import Fenced, never
from gossip.state.address_bodies import (
    DEFAULT_NETWORK,
    ENDPOINT,
    LOAN,
    NETWORK,
    NUMBER_POOL,
    EndpointBody,
    LoanBody,
    NetworkBody,
)
from gossip.state.bodies import decode_body
from gossip.state.statements import Statement
from gossip.state.view import Change

Place = tuple[bytes, bytes]  # owner, statement key
_LARGEST_NUMBER_HEEDED = limits.U64_MAX // 2


@dataclass(frozen=True, slots=True)
class Claim:
    """An endpoint statement: its body, its addresses as integers with lease numbers, the incarnation it is of."""

    body: EndpointBody
    numbers: dict[int, int]
    incarnation: int


class Directory:
    """Networks by number, their grants and rings, and endpoints by owner and key."""

    def __init__(
        self,
        identity: bytes,
        unheeded: Callable[[bytes, int], bool],
        admits: Admits = nobody,
        fenced: Fenced = never,
    ) -> None:
        self._identity = identity
        self._unheeded = unheeded
        self._founders: dict[bytes, None] = {}
        self._claimed: dict[int, dict[bytes, NetworkBody]] = {}
        self._claims: dict[Place, Claim] = {}
        self._by_address: dict[tuple[int, int], dict[Place, int]] = {}
        self._loans: dict[tuple[int, int], dict[bytes, LoanBody]] = {}
        self._of_network: dict[int, dict[Place, None]] = {}
        self._told: dict[Place, EndpointBody] = {}
        self._lapsed: dict[Place, None] = {}  # own ones that are told of when they count again
        self._changed: dict[Place, None] = {}
        self._stale: dict[int, None] = {}
        self._versions: dict[int, int] = {}  # of each ring, when its endpoints were judged last
        self._forks_told: dict[str, None] = {}
        self.networks: dict[int, NetworkBody] = {}
        self.custody = Custody(admits, fenced)
        self.rings = self.custody.rings
        self.numbers = self.custody.numbers

    def founder(self, owner: bytes) -> None:
        """The owner proved to be the mesh's founder: what it said of networks counts."""
        if owner not in self._founders:
            self._founders[owner] = None
            self.custody.found(owner)
            self._stale.update(dict.fromkeys(self._claimed))

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind, key = change.slot
        if kind == NETWORK:
            self._apply_network(change.owner, int.from_bytes(key, "big"), change.new)
        elif kind == ENDPOINT:
            self._apply_endpoint((change.owner, key), change.new)
        elif kind == LOAN:
            self._apply_loan(change.owner, key, change.new)
        else:
            self.custody.apply(change)

    def suspect(self, owners: Mapping[bytes, None]) -> None:
        """Whether these owners are heeded changed: look at their endpoints again."""
        self._changed.update(dict.fromkeys(place for place in self._claims if place[0] in owners))

    def refresh(self) -> list[Event]:
        """Bring rings and counting endpoints up to date; returns what changed for the host."""
        moved = self.custody.settle()
        self._stale.update(dict.fromkeys(self._claimed if NUMBER_POOL in moved else ()))
        events = self._tell_forks("the pool of network numbers", NUMBER_POOL) if NUMBER_POOL in moved else []
        self._stale.update(dict.fromkeys(number for number in moved if number != NUMBER_POOL))
        for number in sorted(self._stale):
            events += self._rebuild(number)
            ring = self.rings.get(number)
            version = -1 if ring is None else ring.version
            if self._versions.get(number, -1) != version:
                self._versions[number] = version
                self._changed.update(self._of_network.get(number, {}))
        self._stale = {}
        affected: dict[Place, None] = dict(self._changed)
        for place in self._changed:
            affected.update(self._rivals(place))
        self._changed = {}
        for place in sorted(affected):
            events += self._judge(place)
        return events

    def endpoints(self, network: int | None) -> list[tuple[bytes, EndpointBody]]:
        """The endpoints that count, own ones included, by owner and key."""
        places = sorted(self._told)
        return [(p[0], self._told[p]) for p in places if network in (None, self._told[p].network)]

    def named(self, name: str) -> NetworkBody | None:
        """The network of that name."""
        return next((body for _, body in sorted(self.networks.items()) if body.name == name), None)

    def users(self, network: int) -> list[bytes]:
        """The peers with endpoints in a network, by identity."""
        return sorted(dict.fromkeys(owner for owner, _ in self.endpoints(network)))

    def number_above(self, network: int, address: int) -> int:
        """The greatest lease number any statement gave the address; absurd ones are not heeded."""
        loans = self._loans.get((network, address), {}).values()
        numbers = [*self._by_address.get((network, address), {}).values(), *(loan.number for loan in loans)]
        return max((number for number in numbers if number <= _LARGEST_NUMBER_HEEDED), default=0)

    def lent(self, network: int, address: int) -> LoanBody | None:
        """The loan of the address that counts: the one by who owns the address."""
        said, ring = self._loans.get((network, address)), self.rings.get(network)
        owner = None if said is None or ring is None else ring.owner(address)
        return None if said is None or owner is None else said.get(owner)

    def holder(self, network: int, address: int) -> tuple[bytes, EndpointBody] | None:
        """The endpoint with that address that counts, and whose it is."""
        places = self._by_address.get((network, address), {})
        return next(((place[0], self._told[place]) for place in sorted(places) if place in self._told), None)

    def loans(self, network: int) -> list[tuple[int, LoanBody]]:
        """The loans of the network that count, by address."""
        found = ((address, self.lent(number, address)) for number, address in sorted(self._loans) if number == network)
        return [(address, loan) for address, loan in found if loan is not None]

    def waiting(self) -> list[tuple[bytes, EndpointBody]]:
        """The endpoints that do not count, by owner and key."""
        return [(place[0], self._claims[place].body) for place in sorted(self._claims) if place not in self._told]

    def says(self, owner: bytes, network: int, address: int) -> bool:
        """Whether the owner says an endpoint with that address, which need not count."""
        return any(place[0] == owner for place in self._by_address.get((network, address), {}))

    def _apply_network(self, owner: bytes, number: int, new: Statement | None) -> None:
        claimed = self._claimed.setdefault(number, {})
        claimed.pop(owner, None)
        if new is not None and new.body is not None:
            body = decode_body(NETWORK, new.body)
            assert isinstance(body, NetworkBody)
            claimed[owner] = body
        self._stale[number] = None

    def _apply_endpoint(self, place: Place, new: Statement | None) -> None:
        self._changed.update(self._rivals(place))
        self._changed[place] = None
        old = self._claims.pop(place, None)
        if old is not None:
            for address in old.numbers:
                holders = self._by_address[old.body.network, address]
                del holders[place]
                if not holders:
                    del self._by_address[old.body.network, address]
            del self._of_network[old.body.network][place]
        if new is None or new.body is None:
            return
        body = decode_body(ENDPOINT, new.body)
        assert isinstance(body, EndpointBody)
        numbers = {parse_interface(text)[0]: number for text, number in body.addresses}
        self._claims[place] = Claim(body, numbers, new.incarnation)
        self._of_network.setdefault(body.network, {})[place] = None
        for address, number in numbers.items():
            self._by_address.setdefault((body.network, address), {})[place] = number

    def _apply_loan(self, lender: bytes, key: bytes, new: Statement | None) -> None:
        place = (int.from_bytes(key[:4], "big"), int.from_bytes(key[4:], "big"))
        said = self._loans.setdefault(place, {})
        said.pop(lender, None)
        if new is not None and new.body is not None:
            body = decode_body(LOAN, new.body)
            assert isinstance(body, LoanBody)
            said[lender] = body
        if not said:
            del self._loans[place]
        self._changed.update(dict.fromkeys(self._by_address.get(place, {})))

    def _rebuild(self, number: int) -> list[Event]:
        owner, body = self._founded(number)
        known = self.networks.get(number)
        if owner is None or body is None:
            self.networks.pop(number, None)
            self.custody.lift(number)
            return [] if known is None else [NetworkGone(known)]
        events: list[Event] = []
        if known != body or self.rings[number].founder != owner:
            self.networks[number] = body
            self.custody.lay(number, [network_of(pool) for pool in body.pools], owner)
            if known != body:
                events.append(NetworkSeen(body))
        return events + self._tell_forks(f"network {body.name}", number)

    def _tell_forks(self, of: str, number: int) -> list[Event]:
        fresh = [f"{of}: {fork}" for fork in self.custody.troubles(number)]
        fresh = [text for text in fresh if text not in self._forks_told]
        fresh = fresh[: max(limits.MAX_FORKS - len(self._forks_told), 0)]
        self._forks_told.update(dict.fromkeys(fresh))
        return [Trouble(text) for text in fresh]

    def _founded(self, number: int) -> tuple[bytes | None, NetworkBody | None]:
        claimed = self._claimed.get(number, {})
        named = self.numbers.claims().get(number)
        holders = [] if named is None else named.holders
        if number == DEFAULT_NETWORK:
            holders = sorted(self._founders)
        for owner in holders:
            body = claimed.get(owner)
            if body is not None and (named is None or body.name == named.name):
                return owner, body
        return None, None

    def _rivals(self, place: Place) -> dict[Place, None]:
        claim = self._claims.get(place)
        if claim is None:
            return {}
        network = claim.body.network
        return {rival: None for address in claim.numbers for rival in self._by_address.get((network, address), {})}

    def _counts(self, place: Place, claim: Claim) -> bool:
        network = claim.body.network
        if network not in self.rings or self._unheeded(place[0], claim.incarnation):
            return False
        return all(self._winner(network, address) == place for address in claim.numbers)

    def _winner(self, network: int, address: int) -> Place | None:
        owner, loan = self.rings[network].owner(address), self.lent(network, address)
        borrowed = None if loan is None else (loan.to, loan.number)
        rivals = [
            (-number, place)
            for place, number in self._by_address.get((network, address), {}).items()
            if (place[0] == owner or (place[0], number) == borrowed)
            and not self._unheeded(place[0], self._claims[place].incarnation)
        ]
        return min(rivals)[1] if rivals else None

    def _judge(self, place: Place) -> list[Event]:
        claim, told = self._claims.get(place), self._told.get(place)
        own = place[0] == self._identity
        if claim is not None and self._counts(place, claim):
            if told == claim.body:
                return []
            self._told[place] = claim.body
            again = place in self._lapsed
            self._lapsed.pop(place, None)
            return [EndpointSet(place[0], claim.body)] if again or not own else []
        if own and claim is None:
            self._lapsed.pop(place, None)
        if told is None:
            return []
        del self._told[place]
        if own and claim is None:
            return []
        if own:
            self._lapsed[place] = None
        return [EndpointGone(place[0], told.network, told.mac)]
