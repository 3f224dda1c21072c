"""What one peer knows: the parts of the core, how changes are understood, and the answers to questions.

Purpose: everything of a core but its acts: statements in, meaning and events out, queries.
Rule: one change reaches the parts in one order: stored, judged (who counts), then people, networks, requests, and last
what follows from all of them. Queries change nothing.
Flow: `gossip.node` collects changes in the replica -> `_interpret` -> events; the daemon asks.
Reference: design §5, §6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from gossip.custody.register import Register
from gossip.events import (
    Lease,
    Output,
    PeerRevoked,
    PeerSeen,
    PeerView,
    RangeView,
    Readmitted,
    ReclaimPlan,
    Revocation,
    RotationView,
    SecretRotation,
    Share,
    Trouble,
    Waiting,
)
from gossip.ipam.addresses import Addresses
from gossip.ipam.asking import Asking
from gossip.ipam.oddities import oddities
from gossip.ipam.utilisation import shares_of
from gossip.networks.networks import Directory
from gossip.people.acts import Acts
from gossip.people.authority import Admit, Authority
from gossip.people.roster import Roster
from gossip.people.routes import Route
from gossip.people.sightings import Sightings
from gossip.reclaiming.consents import Consents
from gossip.reclaiming.estates import Estates
from gossip.reclaiming.fences import Fences
from gossip.reclaiming.reclaim import Reclaims
from gossip.reclaiming.succession import Succession
from gossip.spreading.contacts import Contacts
from gossip.state.address_bodies import EndpointBody, NetworkBody
from gossip.state.bodies import LEFT, PEER
from gossip.state.doubt import Doubt
from gossip.state.gate import Verify
from gossip.state.replica import Replica, load_all
from gossip.state.view import Change

if TYPE_CHECKING:
    from random import Random

_NEVER = float("-inf")


class Knowledge:
    """The parts of one peer's core, kept in step with what is stored, said and heard."""

    def __init__(
        self,
        *,
        mesh: bytes,
        identity: bytes,
        sign: Callable[[bytes], bytes],
        verify: Verify,
        admit: Admit,
        rng: Random,
        stored: Iterable[tuple[str, bytes, bytes]] = (),
        rolled_back: bool = False,
    ) -> None:
        self.identity = identity
        self._authority = Authority(admit)
        self._replica = Replica(mesh, identity, sign, verify, self._authority.admitted)
        self._replica.doubt = Doubt(rolled_back)
        self._roster = Roster(identity, self._authority.barred, self._replica.view)
        self._contacts = Contacts(self._replica, self._roster, rng)
        self._links = self._contacts.links
        self._fences = Fences(self._authority.admits, self._roster.bodies.incarnation)
        self._directory = Directory(identity, self._unheeded, self._authority.admits, self._fences.fenced)
        self._addresses = Addresses(self._replica, self._directory, self._roster)
        self._asking = Asking(self._replica, self._directory, self._roster, self._addresses)
        parts = (self._replica, self._directory.custody, self._roster, self._authority)
        self._register = Register(*parts, self._fences.fenced_out)
        self._acts = Acts(self._replica, self._authority, self._roster)
        self._rotation: RotationView | None = None
        self._inherit()
        rows = list(stored)
        self._consents.load(rows)
        load_all(self._replica, rows)
        self._addresses.load(rows)
        self._register.load(rows)
        self._interpret(Output(), _NEVER)

    def _inherit(self) -> None:
        """The parts by which what a dead peer owned is taken over."""
        replica, roster, authority, directory = self._replica, self._roster, self._authority, self._directory
        fences = self._fences
        self._sightings = Sightings(roster, lambda peer: self._links.of(peer) is not None)
        estates = self._estates = Estates(replica, directory, roster, fences)
        self._consents = Consents(replica, roster, authority, fences, estates, self._sightings)
        loans = self._asking.loans
        self._succession = Succession(replica, directory, roster, self._addresses, loans, estates, fences)
        parts = (replica, roster, authority, fences, estates, self._consents, self._sightings, self._succession)
        self._reclaims = Reclaims(*parts)

    # --- people ---------------------------------------------------------------------------------------------------

    @property
    def counters(self) -> dict[str, int]:
        """What was refused or odd, by name."""
        return self._replica.counters

    @property
    def incarnation(self) -> int:
        """The own incarnation; 0 before `start`."""
        return self._replica.incarnation

    def peers(self) -> list[PeerView]:
        """Every peer known, this one included, by identity."""
        return self._roster.views()

    def peer(self, identity: bytes) -> PeerView | None:
        """One peer, this one included; None when it is unknown. Costs the same however many are known."""
        return self._roster.one(identity)

    def member(self, identity: bytes) -> bool:
        """Whether the identity is known and counts as a member (`gossip.people.authority`); leaving changes nothing."""
        return self._authority.member(identity)

    def barred(self, identity: bytes) -> bool:
        """Whether the identity is known, or revoked, and does not count as a member; unknown ones are neither."""
        return self._authority.barred(identity)

    def roles(self, identity: bytes) -> tuple[str, ...]:
        """The roles of its certificate; none unless it counts."""
        return self._authority.roles(identity)

    def revocations(self) -> list[Revocation]:
        """The revocations that count, by identity and author."""
        return self._authority.revocations()

    def allowed(self) -> tuple[bool, list[bytes]]:
        """Whether there is an allow-list, and the identities on it, sorted."""
        return self._authority.allowed()

    def rotation(self) -> RotationView | None:
        """The announcement of a new mesh secret that counts; the last one stays when it is through."""
        return self._authority.rotation()

    def highest_serial(self, issuer: bytes) -> int:
        """The greatest serial among the known certificates of the issuer; -1 when it issued none that is known."""
        return self._authority.highest_serial(issuer)

    def cloned(self, now: float) -> bool:
        """Whether another live host spoke with this identity in the last CLONED_S."""
        return self._replica.clones.alive(now)

    # --- networks and addresses -----------------------------------------------------------------------------------

    def networks(self) -> list[NetworkBody]:
        """Every network known, by number."""
        return [body for _, body in sorted(self._directory.networks.items())]

    def endpoints(self, network: int | None = None) -> list[tuple[bytes, EndpointBody]]:
        """The endpoints that count, own ones included, by owner and MAC."""
        return self._directory.endpoints(network)

    def ranges(self, network: int) -> list[RangeView]:
        """Who owns what of a network, in address order, neighbours of one owner joined; empty when unknown.

        Network 0 is the number pool.
        """
        return self._addresses.ranges(network)

    def registrar(self) -> bytes | None:
        """The peer that gives out network numbers; None while that is not known."""
        return self._directory.numbers.registrar()

    def names(self) -> list[tuple[str, int, bytes]]:
        """The names of networks in force, as (name, number, owner), by number; the default network's is not claimed."""
        return [(c.name, number, c.tile.owner) for number, c in sorted(self._directory.numbers.claims().items())]

    def leases(self) -> list[Lease]:
        """The own leases, by network and address."""
        return self._addresses.allocator.leases()

    def held(self) -> list[tuple[int, bytes, Lease]]:
        """The own leases with the endpoints they are for, by network and endpoint id."""
        return self._addresses.allocator.held_by()

    def utilisation(self) -> list[Share]:
        """How much of each network each peer owns, uses and has lent, by network and peer."""
        return shares_of(self.identity, self._directory, self._roster, self._addresses.allocator)

    def check(self) -> list[str]:
        """What is odd about networks and addresses, in words for people; empty when all is well."""
        return oddities(self._directory, self._roster, self._fences, self._addresses, self._consents)

    def reclaim_plan(self, peers: Sequence[bytes], now: float) -> ReclaimPlan:
        """What a reclaim of these peers would do, who must agree, and why it would be refused now."""
        return self._reclaims.plan(peers, now)

    def free(self, network: int) -> int:
        """How many addresses could be leased here now."""
        return self._addresses.free(network)

    def pending(self) -> list[Waiting]:
        """The allocations that wait for other peers, by network and endpoint id."""
        return self._asking.shares.pending()

    def links(self) -> list[tuple[int, bytes]]:
        """The live links as (link id, peer), by id."""
        return [(link.id, link.peer) for link in self._links.all()]

    def route(self, peer: bytes) -> Route | None:
        """Next hop and cost to a peer by the links that count; None to this one and whom no links lead to.

        A search through all links when these changed since the last question (ms with a thousand peers), else nothing.
        """
        return self._roster.route(peer)

    def summary(self) -> list[tuple[bytes, str, bytes, bytes]]:
        """(owner, kind, key, digest) of every statement held: equal at two peers whose views are equal."""
        return [(s.owner, s.kind, s.key, s.digest) for s in self._replica.view.statements()]

    # --- inside ---------------------------------------------------------------------------------------------------

    def _unheeded(self, owner: bytes, incarnation: int) -> bool:
        return self._authority.barred(owner) or self._replica.view.quarantined(owner, incarnation)

    def _interpret(self, out: Output, now: float) -> None:
        changes, self._replica.changes = self._replica.changes, []
        self._replica.persist(out, changes)
        for change in changes:
            self._authority.apply(change)
        turned = self._authority.settle()
        seen: dict[bytes, None] = {}
        for change in changes:
            events = self._roster.apply(change)
            seen.update({event.peer: None for event in events if isinstance(event, PeerSeen)})
            out.tell += events
            self._sightings.apply(change, now)
            if not self._consents.keeps_back(change):
                self._understand(change)
            self._follow(change, now)
        for peer in turned:
            self._turn(out, peer, peer in seen, now)
        self._tell_acts(out)
        suspects, self._replica.suspects = {**self._replica.suspects, **dict.fromkeys(turned)}, {}
        if suspects:
            self._directory.suspect(suspects)
        out.tell += self._directory.refresh()

    def _understand(self, change: Change) -> None:
        self._fences.apply(change)
        self._estates.apply(change)
        self._directory.apply(change)
        self._register.apply(change)
        self._asking.apply(change)
        self._consents.apply(change)
        self._reclaims.apply(change)

    def _follow(self, change: Change, now: float) -> None:
        kind = change.slot[0]
        if kind == PEER and self._roster.founder(change.owner):
            self._directory.founder(change.owner)
        moved = kind == PEER and (change.old is None or change.new is None or change.old.body != change.new.body)
        if moved or kind == LEFT:
            self._contacts.consider(change.owner, now)

    def _turn(self, out: Output, peer: bytes, seen: bool, now: float) -> None:
        """The peer counts no longer, or counts again."""
        bar, body = self._authority.bars.get(peer), self._roster.bodies.get(peer)
        if bar is not None:
            out.tell.append(PeerRevoked(peer, bar.by, bar.reason))
        elif peer == self.identity:
            out.tell.append(Readmitted())
        elif body is not None and not seen and not self._roster.left(peer):
            out.tell.append(PeerSeen(peer, body))
        self._contacts.consider(peer, now)
        self._roster.stir()

    def _tell_acts(self, out: Output) -> None:
        for owner, kind in self._authority.unasked():
            text = f"peer {self._roster.name(owner)} made a statement of kind {kind} without the role admin"
            out.tell.append(Trouble(f"{text}; it does not count"))
        rotation = self._authority.rotation()
        if rotation not in (None, self._rotation):
            self._tell_rotation(out)
        self._rotation = rotation

    def _tell_rotation(self, out: Output) -> None:
        found = self._authority.rotation()
        if found is not None:
            out.tell.append(SecretRotation(found.generation, found.commitment, found.phase, found.by))

    def _heirs(self) -> list[bytes]:
        """Who may take what this peer owns: those it reaches first, and last those it knows by their ranges alone."""
        views = sorted(self.peers(), key=lambda view: (not view.reachable, view.identity))
        owners = sorted({each.owner for body in self.networks() for each in self.ranges(body.number)})
        known = dict.fromkeys([*(view.identity for view in views), *owners])
        return [each for each in known if each != self.identity and not self._roster.gone(each)]
