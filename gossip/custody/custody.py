"""Custody: every grant heard, the rings that they make, and the register that each ring begins with.

Purpose: the meaning of grants and registers, for networks and for the number pool alike, kept in step with the view.
Rule: a ring follows from the statements held, whatever their order: a grant that is withdrawn is not in it. Where a
settled edition covers the pools, the ring begins with its rows. Who may settle is asked anew whenever its statements
change; custody outlives revocation, so it is the certificate that matters alone.
Flow: `apply(change)` -> `settle()` says which networks moved -> gossip.networks.networks judges;
gossip.custody.register proposes.
Reference: design §6; docs/adr/0009-registers.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gossip.custody.editions import Edition, Editions
from gossip.ipam.ranges import Pool
from gossip.ipam.ring import Deed, Fenced, Ring, covers, never
from gossip.networks.numbers import NUMBERS, NumberPool
from gossip.state.address_bodies import FENCE, GRANT, NUMBER_POOL, Grant
from gossip.state.bodies import PEER, decode_body
from gossip.state.statements import Statement
from gossip.state.view import Change

Admits = Callable[[bytes], bool]
"""Whether an author's certificate has the role `admin`, whatever became of it since."""


def nobody(_author: bytes) -> bool:
    """No author may settle."""
    return False


@dataclass(slots=True)
class _Network:
    deeds: dict[bytes, Deed] = field(default_factory=dict)
    base: Edition | None = None
    roots: list[Deed] = field(default_factory=list)
    version: int = 0  # of its next ring


class Custody:
    """Grants by network and donor, rings by network, the number pool, and the editions that they begin with."""

    def __init__(self, admits: Admits = nobody, fenced: Fenced = never) -> None:
        self._admits = admits
        self._fenced = fenced
        self._networks: dict[int, _Network] = {}
        self._by_donor: dict[bytes, dict[bytes, int]] = {}
        self._unsure: dict[int, None] = {}  # another edition may be the base
        self._moved: dict[int, None] = {}
        self.changes = 0
        """How often anything changed that rings, names and editions follow from."""
        self.editions = Editions()
        self.rings: dict[int, Ring] = {}
        self.numbers = NumberPool(fenced)

    # --- what is heard --------------------------------------------------------------------------------------------

    def found(self, founder: bytes) -> None:
        """The mesh's founder is known: the number pool begins."""
        self.numbers.found(founder)
        self._moved[NUMBER_POOL] = self._unsure[NUMBER_POOL] = None

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind, key = change.slot
        if kind == GRANT:
            self._apply_grant(change.owner, key, change.new)
        elif kind == PEER:
            self._unsure.update(dict.fromkeys(self.editions.networks(change.owner)))
        elif kind == FENCE:
            self._touch()
        else:
            network = self.editions.apply(change)
            if network is not None:
                self._unsure[network] = None
                self.changes += 1

    def lay(self, network: int, pools: Sequence[Pool], founder: bytes) -> Ring:
        """The ring of a network that is known now, or is another than before."""
        self.lift(network)
        held = self._network(network)
        ring = Ring(pools, founder, self._fenced, held.version)
        held.base, held.roots = None, []
        for deed in held.deeds.values():
            ring.add(deed)
        self.rings[network] = ring
        self._rebase(network)
        return ring

    def lift(self, network: int) -> None:
        """The network is not known any more; its grants are kept."""
        ring = self.rings.pop(network, None)
        if ring is not None:
            self._network(network).version = ring.version + 1

    def settle(self) -> list[int]:
        """Let every ring begin with the edition that is its base now; returns the networks that may have moved."""
        for network in sorted(self._unsure):
            self._rebase(network)
        moved, self._unsure, self._moved = sorted(self._moved), {}, {}
        return moved

    # --- what it means --------------------------------------------------------------------------------------------

    def networks(self) -> list[int]:
        """The networks that have a ring, the number pool (0) first."""
        return [*([] if self.numbers.ring is None else [NUMBER_POOL]), *sorted(self.rings)]

    def ring(self, network: int) -> Ring | None:
        """The ring of a network, or of the number pool."""
        return self.numbers.ring if network == NUMBER_POOL else self.rings.get(network)

    def base(self, network: int) -> Edition | None:
        """The edition that the network's ring begins with."""
        known = self._networks.get(network)
        return None if known is None else known.base

    def roots(self, network: int) -> list[Deed]:
        """The rows of that edition, in address order."""
        return self._network(network).roots

    def fits(self, edition: Edition) -> bool:
        """Whether the edition covers the pools of its network."""
        pools = self._pools(edition.network)
        return pools is not None and covers(edition.roots(), pools)

    def above(self, network: int) -> list[tuple[bytes, int]]:
        """(author, number) of the editions that would take the base's place, were they settled, the first first."""
        return self.editions.above(network, self.base(network), self._admits)

    def deeds(self, network: int) -> list[Deed]:
        """Every grant of the network that stands, in no order."""
        known = self._networks.get(network)
        return [] if known is None else list(known.deeds.values())

    def given_by(self, donor: bytes) -> list[Deed]:
        """The grants of one donor that stand, by id."""
        held = sorted(self._by_donor.get(donor, {}).items())
        return [self._networks[network].deeds[key] for key, network in held]

    def forgotten(self, network: int) -> bool:
        """Whether nothing that was said of the addresses of a network is held any more."""
        known = self._networks.get(network)
        return not (known is not None and known.deeds) and not self.editions.any_settled(network)

    def counts(self) -> dict[bytes, int]:
        """How many grants of each donor stand."""
        return {donor: len(held) for donor, held in self._by_donor.items()}

    def troubles(self, network: int) -> list[str]:
        """What is odd about the custody of a network, in words."""
        ring = self.ring(network)
        return [] if ring is None else ring.forks

    # --- inside ---------------------------------------------------------------------------------------------------

    def _network(self, network: int) -> _Network:
        return self._networks.setdefault(network, _Network())

    def _pools(self, network: int) -> list[Pool] | None:
        if network == NUMBER_POOL:
            return [NUMBERS]
        ring = self.rings.get(network)
        return None if ring is None else ring.pools

    def _apply_grant(self, donor: bytes, key: bytes, new: Statement | None) -> None:
        old = self._by_donor.get(donor, {}).get(key)
        if new is None or new.body is None:
            if old is not None:
                self._forget(donor, key)
            return
        if old is None:
            grant = decode_body(GRANT, new.body)
            assert isinstance(grant, Grant)
            self._keep(Deed(key, donor, grant))

    def _keep(self, deed: Deed) -> None:
        network = deed.grant.network
        self._network(network).deeds[deed.id] = deed
        self._by_donor.setdefault(deed.donor, {})[deed.id] = network
        if network == NUMBER_POOL:
            self.numbers.add(deed)
        elif network in self.rings:
            self.rings[network].add(deed)
        self._moved[network] = None
        self.changes += 1

    def _forget(self, donor: bytes, key: bytes) -> None:
        held = self._by_donor[donor]
        network = held.pop(key)
        if not held:
            del self._by_donor[donor]
        del self._networks[network].deeds[key]
        if network == NUMBER_POOL:
            self.numbers.drop(key)
        elif network in self.rings:
            self.rings[network].drop(key)
        self._moved[network] = None
        self.changes += 1

    def _rebase(self, network: int) -> None:
        known = self._network(network)
        base = self.editions.base(network, self._admits, self.fits)
        if base == known.base:
            return
        known.base, known.roots = base, [] if base is None else base.roots()
        if network == NUMBER_POOL:
            self.numbers.rest_on(known.roots, {} if base is None else base.past())
        elif network in self.rings:
            self.rings[network].rest_on(known.roots)
        self._moved[network] = None

    def _touch(self) -> None:
        self.numbers.touch()
        for ring in self.rings.values():
            ring.touch()
        self._moved.update(dict.fromkeys(self.networks()))
        self.changes += 1
