"""Networks founded by claim, and removed.

Purpose: one founder for a name, whoever claims it at once, and an answer within CLAIM_S.
Rule: the registrar gives a number for a name by its grant, once; who holds it founds the network in the step that sees
the grant, and all others are answered with that network. Who gave up waiting and gets the number all the same gives
the name up again. Each act adds to one `Output`: nobody hears of a grant or a network that is not durable.
Flow: `create` -> request to the registrar -> its `answer` -> grant -> `act` here -> NetworkSettled.
Reference: design §6 (founding is a claim).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2s

from gossip import limits
from gossip.errors import LocalError, Refusal
from gossip.events import NetworkSettled, Output
from gossip.ipam.addresses import Addresses
from gossip.ipam.ranges import network_of, show
from gossip.ipam.requests import Requests
from gossip.ipam.ring import Tile
from gossip.networks.networks import Directory
from gossip.networks.numbers import Named, number_of
from gossip.people.roster import Roster
from gossip.state.address_bodies import DEFAULT_NETWORK, NETWORK, NUMBER_POOL, Grant, NetworkBody, RequestBody
from gossip.state.bodies import encode_body
from gossip.state.replica import Replica

_DERIVED = network_of("10.128.0.0/9")
_DERIVED_SIZE = 2**16
_DEFAULT_NAME = "default"


@dataclass(slots=True)
class Claim:
    """A network wanted here: as `create` was told, when to give up, whom it asked by which request."""

    name: str
    pools: list[str]
    mtu: int | None
    until: float
    of: bytes | None = None
    request: RequestBody | None = None


class Claims:
    """The claims of this peer, and its answers to those of others."""

    def __init__(
        self, replica: Replica, directory: Directory, roster: Roster, addresses: Addresses, requests: Requests
    ) -> None:
        self._replica = replica
        self._directory = directory
        self._roster = roster
        self._addresses = addresses
        self._requests = requests
        self._identity = replica.identity
        self._claims: dict[str, Claim] = {}
        self._late: dict[bytes, str] = {}

    def create(
        self, out: Output, name: str, pools: Sequence[str], mtu: int | None, now: float
    ) -> NetworkBody | Refusal | None:
        """Found a network, find it founded, or begin to wait (None)."""
        claim = Claim(name, list(pools), mtu, now + limits.CLAIM_S)
        what = f"network {name!r:.80} was not founded"
        try:
            encode_body(NETWORK, _shape(claim))
        except LocalError as error:
            reason = str(error.__cause__ or error)
            return Refusal(what, reason[:200], "give a name of a-z, 0-9 and dashes, and pools as CIDR", "invalid")
        under_way = self._claims.get(name)
        if under_way is not None:
            same = (under_way.pools, under_way.mtu) == (claim.pools, claim.mtu)
            why = "it is being founded here otherwise"
            return None if same else Refusal(what, why, "wait for that to end", "taken")
        if len(self._claims) >= limits.MAX_WAITING:
            return Refusal(what, "too many networks are being founded here", "wait for them", "exhausted")
        answer = self._advance(out, claim)
        if answer is None:
            self._claims[name] = claim
        return answer

    def remove(self, out: Output, number: int) -> None:
        """Give a network's name up; raises Refusal when somebody uses it or it is not this peer's."""
        what = f"network {number} was not removed"
        body = self._directory.networks.get(number)
        if body is None:
            raise Refusal(what, "no such network is known here", "see the networks' list", "unknown-network")
        what = f"network {body.name} was not removed"
        if number == DEFAULT_NETWORK:
            raise Refusal(what, "it is the mesh's default network", "stop using it", "invalid")
        users = [self._name(peer) for peer in self._directory.users(number)]
        if any(lease.network == number for lease in self._addresses.allocator.leases()):
            users.append("this host (addresses are leased)")
        if users:
            fix = "detach everything from it there first"
            raise Refusal(what, f"it is in use on {', '.join(users[:4])}", fix, "in-use")
        named = self._directory.numbers.claims().get(number)
        owner = None if named is None else named.tile.owner
        if named is None or owner != self._identity:
            who = "another peer" if owner is None else self._name(owner)
            raise Refusal(what, f"it belongs to {who}", f"remove it on {who}", "not-founder")
        self._give_up(out, named)
        slot = (NETWORK, body.key)
        if self._replica.view.get(self._identity, slot) is not None:
            self._replica.publish(out, slot, None)

    def hand_on(self, out: Output, to: bytes) -> None:
        """Give every number that has no name to a peer, which is the registrar then; raises Refusal."""
        what = "the registrar was not changed"
        numbers = self._directory.numbers
        registrar = numbers.registrar()
        if registrar != self._identity:
            who = "it is not known who that is" if registrar is None else f"that is {self._name(registrar)}"
            fix = "wait, or start the peer that founded the mesh" if registrar is None else "do it there"
            raise Refusal(what, f"this host does not give out network numbers; {who}", fix, "not-founder")
        known = to in self._roster.bodies and not self._roster.gone(to)
        if to == self._identity or not known:
            why = "this host is it already" if to == self._identity else f"{self._name(to)} is no member"
            raise Refusal(what, why, "name another member", "invalid")
        if not self._roster.reachable(to):
            raise Refusal(what, f"{self._name(to)} cannot be reached", f"start {self._name(to)} first", "unreachable")
        named = numbers.claims()
        tiles = [] if numbers.ring is None else numbers.ring.owned(self._identity)
        free = [tile for tile in tiles if tile.start not in named]
        if self._addresses.full(len(free)):
            raise Refusal(what, "this peer has given out as many grants as it can", "wait for a register", "exhausted")
        for tile in free:
            self._deed(out, tile, to, "", b"")

    def answer(self, out: Output, asker: bytes, request: RequestBody) -> None:
        """Give the asker a number for its name, if this peer is the registrar and nobody has the name."""
        if not self._roster.gone(asker) and self._free(request.name):
            self._register(out, asker, request.name, request.nonce)

    def begin(self, out: Output) -> None:
        """A new life: what the one before claimed is withdrawn, and given up should it be granted yet."""
        for key, body in list(self._requests.own.items()):
            if self._addresses.borrows(body):
                continue
            if body.network == NUMBER_POOL:
                self._late[body.nonce] = body.name
            self._requests.withdraw(out, key)

    def act(self, out: Output, now: float) -> bool:
        """Settle what can be settled; whether anything was said."""
        before = self._replica.seq
        for claim in list(self._claims.values()):
            answer = self._advance(out, claim)
            if answer is None and now >= claim.until:
                answer = self._too_late(claim)
            if answer is not None:
                self._settle(out, claim, answer)
        for nonce, name in list(self._late.items()):
            self._give_back(out, nonce, name)
        return self._replica.seq != before

    def end(self, out: Output) -> None:
        """This peer leaves: no claim comes to anything."""
        for claim in list(self._claims.values()):
            why = Refusal(f"network {claim.name} was not founded", "this peer left the mesh", "join again", "invalid")
            self._settle(out, claim, why)

    def next_time(self) -> float | None:
        """When the next claim is given up."""
        return min((claim.until for claim in self._claims.values()), default=None)

    # --- inside -------------------------------------------------------------------------------------------------------

    def _advance(self, out: Output, claim: Claim) -> NetworkBody | Refusal | None:
        known = self._directory.named(claim.name)
        if known is not None:
            return known if _agrees(known, claim) else _otherwise(known)
        if claim.name == _DEFAULT_NAME:
            what, why = "network default was not founded", "it is founded with the mesh, and not known here yet"
            return Refusal(what, why, "wait until this host reaches the mesh's founder", "unreachable")
        numbers = self._directory.numbers
        holder, registrar = numbers.holder(claim.name), numbers.registrar()
        if holder is not None:
            return self._found(out, claim, holder.number) if holder.holders == [self._identity] else None
        if registrar == self._identity:
            number = self._register(out, self._identity, claim.name, b"")
            return self._full(claim) if number is None else self._found(out, claim, number)
        if registrar is not None and registrar != claim.of and not self._roster.barred(registrar):
            claim.of = registrar
            claim.request = self._requests.ask(out, registrar, NUMBER_POOL, claim.name, b"", 0)
        return None

    def _free(self, name: str) -> bool:
        numbers = self._directory.numbers
        mine = numbers.registrar() == self._identity and name != _DEFAULT_NAME
        return mine and numbers.holder(name) is None and self._directory.named(name) is None

    def _register(self, out: Output, to: bytes, name: str, nonce: bytes) -> int | None:
        tile = self._directory.numbers.free_from(number_of(self._replica.mesh, name))
        if tile is None or tile.owner != self._identity or self._addresses.full():
            return None
        self._deed(out, tile, to, name, nonce)
        return tile.start

    def _deed(self, out: Output, tile: Tile, to: bytes, name: str, nonce: bytes) -> None:
        deed = tile.deed
        version = deed.grant.version + 1
        self._addresses.grant(out, Grant(NUMBER_POOL, tile.start, tile.end, to, version, deed.id, name, nonce))

    def _found(self, out: Output, claim: Claim, number: int) -> NetworkBody:
        pools = claim.pools or [self._derived(claim.name)]
        mtu = limits.DEFAULT_MTU if claim.mtu is None else claim.mtu
        body = NetworkBody(number, claim.name, pools, mtu)
        self._addresses.publish(out, body)
        return body

    def _derived(self, name: str) -> str:
        digest = blake2s(name.encode(), digest_size=4, person=b"mnpool").digest()
        taken = [network_of(pool) for body in self._directory.networks.values() for pool in body.pools]
        count = (_DERIVED.end - _DERIVED.start) // _DERIVED_SIZE
        first = int.from_bytes(digest, "big") % count
        starts = [_DERIVED.start + (first + step) % count * _DERIVED_SIZE for step in range(count)]
        clear = [s for s in starts if all(p.end <= s or p.start >= s + _DERIVED_SIZE for p in taken)]
        return f"{show(clear[0] if clear else starts[0])}/16"  # with every one taken, networks may overlap as well

    def _settle(self, out: Output, claim: Claim, answer: NetworkBody | Refusal) -> None:
        del self._claims[claim.name]
        if claim.request is not None:
            self._requests.withdraw(out, claim.request.key)
            self._late[claim.request.nonce] = claim.name
            for nonce in list(self._late)[: -limits.MAX_LATE_CLAIMS]:
                del self._late[nonce]
        out.tell.append(NetworkSettled(claim.name, answer))

    def _give_back(self, out: Output, nonce: bytes, name: str) -> None:
        if nonce not in self._requests.replied or name in self._claims:
            return
        holder = self._directory.numbers.holder(name)
        if holder is None or holder.tile.deed.grant.answers != nonce:
            return
        del self._late[nonce]
        slot = (NETWORK, holder.number.to_bytes(4, "big"))
        if self._replica.view.get(self._identity, slot) is None:
            self._give_up(out, holder)

    def _give_up(self, out: Output, named: Named) -> None:
        registrar = self._directory.numbers.registrar()
        self._deed(out, named.tile, self._identity if registrar is None else registrar, "", b"")

    def _too_late(self, claim: Claim) -> Refusal:
        what = f"network {claim.name} was not founded"
        holder = self._directory.numbers.holder(claim.name)
        if holder is not None:
            who = self._name(holder.tile.owner)
            fix = f"start meshnet on {who}, or create {claim.name} there"
            return Refusal(what, f"{who} holds that name and has not founded it yet", fix, "taken")
        registrar = self._directory.numbers.registrar()
        if registrar is not None and self._roster.barred(registrar):
            why = f"{self._name(registrar)}, which gives out network numbers, does not count as a member any more"
            return Refusal(what, why, "use a network that exists already", "unreachable")
        if claim.of is None:
            why = "it is not known who gives out network numbers"
            return Refusal(what, why, "start the peer that founded the mesh, and try again", "unreachable")
        who = self._name(claim.of)
        why = f"{who}, which gives out network numbers, did not answer within {limits.CLAIM_S} s"
        return Refusal(what, why, f"start {who}, or use a network that exists already", "unreachable")

    def _full(self, claim: Claim) -> Refusal:
        what, why = f"network {claim.name} was not founded", "this peer has given out as many grants as it can"
        return Refusal(what, why, "use a network that exists already", "exhausted")

    def _name(self, peer: bytes) -> str:
        return "this host" if peer == self._identity else self._roster.name(peer)


def _shape(claim: Claim) -> NetworkBody:
    mtu = limits.DEFAULT_MTU if claim.mtu is None else claim.mtu
    return NetworkBody(DEFAULT_NETWORK, claim.name, claim.pools or [f"{show(_DERIVED.start)}/16"], mtu)


def _agrees(known: NetworkBody, claim: Claim) -> bool:
    same = not claim.pools or sorted(map(_span, claim.pools)) == sorted(map(_span, known.pools))
    return same and claim.mtu in (None, known.mtu)


def _span(pool: str) -> tuple[int, int]:
    found = network_of(pool)
    return found.start, found.end


def _otherwise(known: NetworkBody) -> Refusal:
    what, pools = f"network {known.name} was not founded", ", ".join(known.pools)
    fix = "use it as it is, or choose another name"
    return Refusal(what, f"it exists with {pools} and an MTU of {known.mtu}", fix, "taken")
