"""The view: every statement this peer holds, and the merge.

Purpose: a replicated set that is the same at every peer once it has heard the same statements.
Rule: of one slot (owner, kind, key) the higher (incarnation, seq) wins; equal versions with different bytes prove
equivocation, the smaller digest stays and that (owner, incarnation) is quarantined by a proof that travels too. What
a statement means never decides whether it is merged, and merging never raises. Three rules drop statements, each a
function of the set itself, so that every peer ends at the same set:
- the owner's manifest of incarnation k is satisfied (the slots held of k, or said anew since, are the ones it counts):
  what is older and not lasting is void;
- the owner's `left` of incarnation k: what is not newer is void, but the peer statement, grants, networks, what
  `gossip.people.authority` judges by, and marked kinds (`statements.LASTING_MARK`), unless withdrawn before k;
- an owner over its quota keeps its first slots in `statements.order`.
Flow: `gate` verifies -> `merge` -> changes, which `gossip.node` persists, pushes and interprets.
Reference: design §5.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from hashlib import blake2s
from itertools import combinations, islice

from gossip import limits
from gossip.errors import RemoteError
from gossip.state.address_bodies import GRANT, NETWORK
from gossip.state.bodies import AUTHORITY, LEFT, MANIFEST, PEER, ManifestBody, decode_body
from gossip.state.owners import Owner, Owners, Proof
from gossip.state.statements import LASTING_MARK, Slot, Statement, order, travel


class Standing(Enum):
    """How a statement compares with what the view holds."""

    NEWER = "newer"
    OLD = "old"
    TWIN = "twin"  # the version that is held, in other bytes


@dataclass(frozen=True, slots=True)
class Change:
    """One slot changed from `old` to `new`; None means no statement."""

    owner: bytes
    slot: Slot
    old: Statement | None
    new: Statement | None


def manifest_of(statements: Iterable[Statement], incarnation: int) -> ManifestBody:
    """The manifest that the given statements of one owner satisfy for that incarnation."""
    return _manifest(s.slot for s in statements if s.incarnation == incarnation and not s.lasting)


def _manifest(slots: Iterable[Slot]) -> ManifestBody:
    slots = sorted(slots)
    state = blake2s(digest_size=16, person=b"mnmanif")
    for kind, key in slots:
        name = kind.encode()
        state.update(bytes((len(name), len(key))) + name + key)
    return ManifestBody(len(slots), state.digest())


class View:
    """Every statement held, by owner."""

    def __init__(self) -> None:
        self.owners = Owners()

    def get(self, owner: bytes, slot: Slot) -> Statement | None:
        """The statement held for that slot."""
        entry = self.owners.find(owner)
        return None if entry is None else entry.held.get(slot)

    def statements(self) -> list[Statement]:
        """Every statement: peers first, then what says who may stay, then the rest; each by owner."""
        by_owner = [statement for owner in sorted(self.owners) for statement in self.owners[owner].in_order()]
        return sorted(by_owner, key=lambda statement: travel(statement.kind))

    def peer(self, owner: bytes) -> Statement | None:
        """What the owner says of itself; as `get`, but costs an owner at rest none of it."""
        first = self.owners.first(owner)
        return first if first is not None and first.kind == PEER else None

    def rest(self) -> None:
        """Nobody asks for anything now: hold all of it packed (gossip.state.packing)."""
        self.owners.rest()

    def standing(self, statement: Statement) -> Standing:
        """Whether merging the statement would change anything."""
        entry = self.owners.find(statement.owner)
        if entry is None:
            return Standing.NEWER if len(self.owners) < limits.MAX_OWNERS else Standing.OLD
        held = entry.held.get(statement.slot)
        if held is not None:
            if statement.version == held.version:
                return Standing.OLD if statement.digest == held.digest else Standing.TWIN
            return Standing.NEWER if statement.version > held.version else Standing.OLD
        if _void(entry, statement):
            return Standing.OLD
        full = entry.ranked is not None and order(statement.slot) > entry.ranked[-1]
        return Standing.OLD if full else Standing.NEWER

    def merge(self, statement: Statement) -> list[Change]:
        """Take a verified statement in; returns what changed, nothing when it says nothing new. Never raises."""
        standing = self.standing(statement)
        if standing is Standing.OLD:
            return []
        entry = self.owners.find(statement.owner)
        if entry is None:
            entry = self.owners.add(statement.owner)
        entry.changed()
        held = entry.held.get(statement.slot)
        if held is not None and standing is Standing.TWIN:
            if held.blob != statement.blob:
                _convict(entry, held, statement)
            if held.digest < statement.digest:
                return []
        entry.held[statement.slot] = statement
        if held is None and entry.ranked is not None:
            insort(entry.ranked, order(statement.slot))
        return [Change(statement.owner, statement.slot, held, statement), *_sweep(entry, statement)]

    def convict(self, proof: Proof) -> bool:
        """Remember a verified proof of equivocation; False when that (owner, incarnation) was known, or no proof."""
        first, second = proof
        entry = self.owners.find(first.owner)
        if entry is None or not is_proof(first, second):
            return False
        return _convict(entry, first, second)

    def quarantined(self, owner: bytes, incarnation: int) -> bool:
        """Whether what the owner said in that incarnation is kept and relayed but not acted on."""
        entry = self.owners.find(owner)
        return entry is not None and incarnation in entry.proofs


def is_proof(first: Statement, second: Statement) -> bool:
    """Whether the two say different things in one slot at one version."""
    same = (first.owner, first.slot, first.version) == (second.owner, second.slot, second.version)
    return same and first.blob != second.blob


def _convict(entry: Owner, first: Statement, second: Statement) -> bool:
    if first.incarnation in entry.proofs:
        return False
    pair = sorted((first, second), key=lambda statement: statement.digest)
    entry.changed()
    proofs = {**entry.proofs, first.incarnation: (pair[0], pair[1])}
    entry.proofs = {incarnation: proofs[incarnation] for incarnation in sorted(proofs)[-limits.MAX_PROOFS_PER_OWNER :]}
    return first.incarnation in entry.proofs


def _void(entry: Owner, statement: Statement) -> bool:
    if not statement.lasting and statement.incarnation < max(entry.settled, entry.left()):
        return True
    stays = statement.kind in (*_AFTER_LEAVING, LEFT) or statement.kind.startswith(LASTING_MARK)
    return not stays and statement.incarnation <= entry.left()


_AFTER_LEAVING = (PEER, GRANT, NETWORK, *AUTHORITY)


def _sweep(entry: Owner, merged: Statement) -> list[Change]:
    """Drop what the three rules drop after that statement came in; returns the changes."""
    gone: list[Slot] = []
    if _settle(entry) or merged.kind == LEFT:
        gone = [slot for slot, statement in entry.held.items() if _void(entry, statement)]
    elif _void(entry, merged):  # a withdrawal that came late, of what outlived its incarnation
        gone = [merged.slot]
    changes = [Change(merged.owner, slot, entry.held.pop(slot), None) for slot in gone]
    if gone:
        entry.ranked = None
    if len(entry.held) >= limits.MAX_STATEMENTS_PER_OWNER and not entry.ranked:
        entry.ranked = sorted(map(order, entry.held))
    while entry.ranked and len(entry.held) > limits.MAX_STATEMENTS_PER_OWNER:
        _, kind, key = entry.ranked.pop()
        changes.append(Change(merged.owner, (kind, key), entry.held.pop((kind, key)), None))
    return changes


def _settle(entry: Owner) -> bool:
    manifest = entry.held.get((MANIFEST, b""))
    if manifest is None or manifest.body is None or manifest.incarnation <= entry.settled:
        return False
    try:
        wanted = decode_body(MANIFEST, manifest.body)
    except RemoteError:
        return False
    if not isinstance(wanted, ManifestBody) or not _satisfied(entry, manifest, wanted):
        return False
    entry.settled = manifest.incarnation
    return True


def _satisfied(entry: Owner, manifest: Statement, wanted: ManifestBody) -> bool:
    """Whether the slots said in its incarnation, before it, are those the manifest counts.

    Some may have been said anew after it, in this incarnation or a later one, and the manifest of that never came: its
    owner died. Who heard the later word first must end at the same set, so such slots are tried as the missing ones.
    """
    passing = [statement for statement in entry.held.values() if not statement.lasting]
    surely = [s.slot for s in passing if s.incarnation == manifest.incarnation and s.seq < manifest.seq]
    later = [s.slot for s in passing if s.version > manifest.version]
    missing = wanted.count - len(surely)
    if not 0 <= missing <= len(later):
        return False
    tries = islice(combinations(later, missing), limits.MAX_SETTLE_TRIES)
    return any(_manifest([*surely, *some]) == wanted for some in tries)
