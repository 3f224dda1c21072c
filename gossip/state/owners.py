"""What is held of every owner: parsed while somebody asks, packed at rest.

Purpose: an owner at rest is one byte string in a row of its number, and no object.
Rule: asking for an owner wakes it; at most `AWAKE_OWNERS` are awake, the first to wake rests first. An owner whose
proofs or quota need a place of their own stays an object, its statements packed. What is held is changed only by
`gossip.state.view`, which says so (`Owner.changed`).
Flow: `gossip.state.view` -> here -> `gossip.state.packing`; `gossip.spreading.spread` asks for an owner's hash.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2s

from gossip import limits
from gossip.state.bodies import LEFT, PEER
from gossip.state.identities import Identities
from gossip.state.packing import DIGEST_B, Packer
from gossip.state.statements import Slot, Statement, order

Proof = tuple[Statement, Statement]
Rank = tuple[int, str, bytes]

_NO_PROOFS: Mapping[int, Proof] = {}


class Owner:
    """What is held of one owner. `settled` is the newest incarnation whose manifest was satisfied.

    Valid for the step: not to be kept beyond it. `ranked`: the slots in order, kept only while the owner is at its
    quota.
    """

    __slots__ = ("_digest", "_held", "_number", "_owners", "_packed", "proofs", "ranked", "settled")

    def __init__(self, owners: Owners, number: int) -> None:
        self._owners = owners
        self._number = number
        self._held: dict[Slot, Statement] | None = {}
        self._packed: bytes | None = None
        self._digest: bytes | None = None
        self.proofs: Mapping[int, Proof] = _NO_PROOFS
        self.settled = -1
        self.ranked: list[Rank] | None = None

    @property
    def held(self) -> dict[Slot, Statement]:
        """Its statements by slot."""
        if self._held is not None:
            return self._held
        if self._packed is None:  # it rested while somebody had hold of it
            return self._owners.at(self._number).held
        self._fill(self._packed)
        return self._held or {}

    def left(self) -> int:
        """The incarnation in which the owner left, or -1."""
        statement = self.held.get((LEFT, b""))
        return -1 if statement is None else statement.incarnation

    def in_order(self) -> list[Statement]:
        """All statements, those first that others depend on."""
        return [self.held[slot] for slot in sorted(self.held, key=order)]

    def changed(self) -> None:
        """What is held of it, or proved against it, is about to change."""
        self._digest = None

    def digest(self) -> bytes:
        """The hash of its statements and quarantined incarnations, 8 bytes."""
        if self._digest is None:
            state = blake2s(digest_size=DIGEST_B)
            for digest in sorted(statement.digest for statement in self.held.values()):
                state.update(digest)
            for incarnation in sorted(self.proofs):
                state.update(incarnation.to_bytes(8, "big"))
            self._digest = state.digest()
        return self._digest

    def first(self) -> Statement | None:
        """The first of its statements in order; wakes nobody."""
        if self._held is not None:
            return self._held.get((PEER, b"")) or next(iter(self.in_order()), None)
        return next(self._owners.packer.unpack(self._packed or b"", self._owners.identities[self._number]), None)

    def rest(self) -> bytes | None:
        """Pack the statements; returns them if nothing else is to be kept of the owner."""
        packed = self._owners.packer.pack(self.digest(), self.settled, self.in_order())
        self._held = None
        alone = not self.proofs and self.ranked is None
        self._packed = None if alone else packed
        return packed if alone else None

    def wake(self, packed: bytes) -> None:
        """Take over what `rest` gave."""
        self.settled = self._owners.packer.settled(packed)
        self._digest = self._owners.packer.digest(packed)
        self._fill(packed)

    def _fill(self, packed: bytes) -> None:
        unpacked = self._owners.packer.unpack(packed, self._owners.identities[self._number])
        self._held = {statement.slot: statement for statement in unpacked}
        self._packed = None
        self._owners.woke(self._number, self)


class Owners(Mapping[bytes, Owner]):
    """Every owner of whom something is held, by identity."""

    def __init__(self) -> None:
        self.identities = Identities()
        self.packer = Packer(self.identities)
        self._rows: list[Owner | bytes] = []
        self._awake: dict[int, Owner] = {}
        self._met = 0  # how many identities there were at the last rest
        self._again = 0  # rows below this were packed with all identities known
        self._all_of = 0  # so many identities

    def __getitem__(self, identity: bytes) -> Owner:
        number = self.identities.find(identity)
        if number is None:
            raise KeyError(identity)
        return self.at(number)

    def find(self, identity: bytes) -> Owner | None:
        """The owner; None when nothing is held of it. As `get`, and quicker."""
        number = self.identities.find(identity)
        if number is None:
            return None
        row = self._rows[number]
        return row if isinstance(row, Owner) else self.at(number)

    def __contains__(self, identity: object) -> bool:
        return isinstance(identity, bytes) and self.identities.find(identity) is not None

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.identities.all())

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def awake(self) -> int:
        """How many are held parsed."""
        return len(self._awake)

    def at(self, number: int) -> Owner:
        """The owner of that number; wakes it."""
        row = self._rows[number]
        if isinstance(row, Owner):
            return row
        owner = self._rows[number] = Owner(self, number)
        owner.wake(row)
        return owner

    def add(self, identity: bytes) -> Owner:
        """A new owner, of whom nothing is held yet."""
        number = self.identities.add(identity)
        assert number == len(self._rows), "nobody else adds identities"
        owner = Owner(self, number)
        self._rows.append(owner)
        self.woke(number, owner)
        return owner

    def first(self, identity: bytes) -> Statement | None:
        """The first of the owner's statements in order; wakes nobody."""
        number = self.identities.find(identity)
        if number is None:
            return None
        row = self._rows[number]
        return row.first() if isinstance(row, Owner) else next(self.packer.unpack(row, identity), None)

    def digest(self, identity: bytes) -> bytes | None:
        """The owner's hash; None when nothing is held of it. Wakes nobody at rest."""
        number = self.identities.find(identity)
        if number is None:
            return None
        row = self._rows[number]
        return row.digest() if isinstance(row, Owner) else self.packer.digest(row)

    def woke(self, number: int, owner: Owner) -> None:
        """The owner is held parsed from now on; another may have to rest for it."""
        self._awake[number] = owner
        if len(self._awake) > limits.AWAKE_OWNERS:
            self._rest(next(iter(self._awake)))

    def rest(self) -> None:
        """Pack them all, and some once more that were packed before all whom they name were known."""
        for number in list(self._awake):
            self._rest(number)
        self._awake = {}  # one that was emptied keeps its room
        count = len(self.identities)
        if count != self._met:
            self._met = count
            return
        if self._all_of != count:
            self._all_of, self._again = count, 0
        for number in range(self._again, min(self._again + limits.REPACKED, count)):
            row = self._rows[number]
            if not isinstance(row, Owner):
                packer = self.packer
                said = packer.unpack(row, self.identities[number])
                self._rows[number] = packer.pack(packer.digest(row), packer.settled(row), said)
            self._again = number + 1

    def _rest(self, number: int) -> None:
        packed = self._awake.pop(number).rest()
        if packed is not None:
            self._rows[number] = packed
