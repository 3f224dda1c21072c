"""This peer's copy of the state: what is stored, what is said, what is heard, and what of it must go out.

Purpose: one place where statements enter the view, by own word or from afar, and leave as writes and messages.
Rule: own statements carry (incarnation, seq); every start begins a new incarnation, persisted in the same step as the
first statement that uses it. Who hears an own statement it does not know begins a new incarnation above it (its state
was rolled back, or its identity runs twice); own grants, networks and acts heard that way bind it again. The own
manifest is the last statement of every step that changed the own slots.
Flow: `publish`, `hear`, `renew` collect `changes` and pushes; `persist` and `news` hand
them on as the step's writes and as what the links want.
Reference: design §5, §6 (persist before tell).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2s

import msgspec

from gossip import limits
from gossip.errors import RemoteError
from gossip.events import SPACE_OWN, SPACE_PROOF, SPACE_STATEMENT, Cloned, Output, Put, Trouble
from gossip.people.authority import Admit
from gossip.spreading.spread import Spread
from gossip.state.address_bodies import CONSENT, FENCE, GRANT, LOAN, NETWORK, RECLAIM, REGISTER, SETTLED
from gossip.state.bodies import AUTHORITY, LINKS, MANIFEST, PEER, PeerBody, decode_body, encode_body
from gossip.state.clones import Clones
from gossip.state.doubt import Doubt
from gossip.state.gate import Gate, Verify
from gossip.state.owners import Proof
from gossip.state.pace import Pace
from gossip.state.statements import Slot, Statement, author, parse
from gossip.state.view import Change, Standing, View, manifest_of

News = tuple[Statement, int | None]
"""A new statement and the link it came from; None for what this peer said itself."""

_INCARNATION = b"incarnation"
_BINDING = (GRANT, NETWORK, LOAN, REGISTER, SETTLED, CONSENT, RECLAIM, FENCE, *AUTHORITY)
"""Own statements that bind for ever: said once, and once more only as something else."""
EXHAUSTED = "this peer's identity has used up its incarnations; leave and join anew"


class Replica:
    """The view with its gate, its author and its outgoing side."""

    def __init__(
        self, mesh: bytes, identity: bytes, sign: Callable[[bytes], bytes], verify: Verify, admit: Admit
    ) -> None:
        self.mesh = mesh
        self.identity = identity
        self.view = View()
        self.spread = Spread(self.view)
        self.counters: dict[str, int] = {}
        self.gate = Gate(mesh, identity, self.view, verify, admit, self.counters)
        self.changes: list[Change] = []
        self.suspects: dict[bytes, None] = {}
        self.clones = Clones()
        self.doubt = Doubt(False)
        self.pace = Pace()
        self.incarnation = 0
        self.seq = 0
        self.started = False
        self._sign = sign
        self._heard = 0  # the greatest own incarnation heard or stored
        self._renewed_at = float("-inf")
        self.owed_at: float | None = None
        """When a new incarnation, put off by the pace, begins."""
        self._spoke = False
        self._pushes: dict[tuple[bytes, Slot], News] = {}
        self._proofs: list[tuple[Proof, int | None]] = []

    # --- what is stored -------------------------------------------------------------------------------------------

    def load(self, space: str, key: bytes, value: bytes) -> None:
        """Take one stored row in; raises RemoteError or ValueError on a damaged one. No signature is checked again."""
        if space == SPACE_STATEMENT:
            statement = parse(value)
            if statement.owner == self.identity:
                self._heard = max(self._heard, statement.incarnation)
            self._take(self.view.merge(statement))
        elif space == SPACE_PROOF:
            first, second = msgspec.msgpack.decode(value, type=tuple[bytes, bytes])
            self.view.convict((parse(first), parse(second)))
            self.spread.touch(parse(first).owner)
        elif space == SPACE_OWN and key == _INCARNATION:
            self._heard = max(self._heard, int.from_bytes(value, "big"))

    # --- what is said ---------------------------------------------------------------------------------------------

    @property
    def exhausted(self) -> bool:
        """Whether no further own statement can be made."""
        return self.seq >= limits.U64_MAX and max(self._heard, self.incarnation) >= limits.U64_MAX

    def publish(self, out: Output, slot: Slot, body: bytes | None) -> None:
        """Say something of the own state; a body of None withdraws the slot. What is said already is not said again."""
        held = self.view.get(self.identity, slot)
        same = held is not None and held.body == body
        if same and held is not None and (held.incarnation == self.incarnation or slot[0] in _BINDING):
            return
        if self.seq >= limits.U64_MAX and not self.renew(out):
            return
        self._write(out, slot, body)

    def renew(self, out: Output) -> bool:
        """Begin a new incarnation above all heard, and say all live own state again; False when that is impossible."""
        self._heard = max(self._heard, self.incarnation)
        if self._heard >= limits.U64_MAX:
            self.seq = limits.U64_MAX
            out.tell.append(Trouble(EXHAUSTED))
            return False
        self.incarnation = self._heard = self._heard + 1
        self.seq = 0
        out.persist.append(Put(SPACE_OWN, _INCARNATION, self.incarnation.to_bytes(8, "big")))
        entry = self.view.owners.get(self.identity)
        for statement in [] if entry is None else entry.in_order():
            again = statement.kind in (PEER, LINKS) or not statement.lasting
            if again and statement.body is not None and statement.incarnation < self.incarnation:
                self._write(out, statement.slot, statement.body)
        return True

    def surpass(self, incarnation: int) -> None:
        """The next incarnation is to be above that one."""
        self._heard = max(self._heard, incarnation)

    def close_step(self, out: Output) -> None:
        """Publish the own manifest if the own slots changed; a new incarnation forgets tombstones that abound."""
        entry = self.view.owners.get(self.identity)
        if not self._spoke or entry is None or entry.left() == self.incarnation:
            return
        self._spoke = False
        withdrawn = sum(s.body is None and not s.lasting for s in entry.held.values())
        if withdrawn > limits.MAX_OWN_TOMBSTONES or self.seq >= limits.U64_MAX:
            self.renew(out)
        body = encode_body(MANIFEST, manifest_of(entry.held.values(), self.incarnation))
        held = entry.held.get((MANIFEST, b""))
        stale = held is None or held.body != body or held.incarnation < self.incarnation
        if stale and self.seq < limits.U64_MAX:
            self._write(out, (MANIFEST, b""), body)
        self._spoke = False

    def _write(self, out: Output, slot: Slot, body: bytes | None) -> None:
        self._spoke = True
        self.seq += 1
        version = (self.incarnation, self.seq)
        statement = author(self._sign, self.mesh, self.identity, slot, version, body)
        self._take(self.view.merge(statement))
        self._pushes[statement.owner, slot] = (statement, None)

    # --- what is heard --------------------------------------------------------------------------------------------

    def hear(self, out: Output, wires: Iterable[bytes], link: int | None, now: float) -> list[bytes]:
        """Merge what verifies; returns the owners that are unknown yet, to be asked for."""
        strangers: dict[bytes, None] = {}
        for wire in wires:
            statement = self.gate.admit_wire(wire, strangers)
            if statement is None:
                continue
            if statement.owner == self.identity:
                self._hear_own(out, statement, link, now)
                continue
            if not self.pace.allows(statement.owner, now):
                self.gate.count("statement_too_often")
                continue
            proofs = self._known_proofs(statement.owner)
            changes = self.view.merge(statement)
            self._take(changes)
            if self._known_proofs(statement.owner) != proofs:
                self._suspect(out, statement.owner, statement.incarnation, link, proofs)
            if self.view.get(statement.owner, statement.slot) is statement:
                self._pushes[statement.owner, statement.slot] = (statement, link)
        return sorted(strangers)

    def hear_proofs(self, out: Output, pairs: Sequence[tuple[bytes, bytes]], link: int, now: float) -> None:
        """Take proofs of equivocation in."""
        for wires in pairs:
            proof = self.gate.admit_proof(wires)
            if proof is None:
                continue
            before = self._known_proofs(proof[0].owner)
            if not self.view.convict(proof):
                continue
            self._suspect(out, proof[0].owner, proof[0].incarnation, link, before)
            if proof[0].owner == self.identity and proof[0].incarnation >= self.incarnation:
                self._heard = max(self._heard, proof[0].incarnation)
                for statement in proof:
                    self._look_for_clone(out, statement, now)
                self._began_anew(out, now)

    def _hear_own(self, out: Output, statement: Statement, link: int | None, now: float) -> None:
        held = self.view.get(self.identity, statement.slot)
        if held is not None and self.view.standing(statement) is Standing.TWIN and held.blob == statement.blob:
            return
        if self.started:
            self._look_for_clone(out, statement, now)
        self._heard = max(self._heard, statement.incarnation)
        if statement.kind in _BINDING:
            changes = self.view.merge(statement)
            self._take(changes)
            self._pushes[statement.owner, statement.slot] = (statement, link)
            out.tell.append(Trouble(f"an own {statement.kind} statement was heard that this host no longer had"))
        if self.started and statement.incarnation >= self.incarnation:
            self._began_anew(out, now)

    def _look_for_clone(self, out: Output, statement: Statement, now: float) -> None:
        body = None if statement.kind != PEER or statement.body is None else decode_body(PEER, statement.body)
        if isinstance(body, PeerBody) and self.clones.sign(body.boot, statement.incarnation, self.incarnation, now):
            where = ", ".join(body.addresses[:3]) or "an unknown address"
            out.tell.append(Cloned(f"another host speaks as this one, at {where}; nothing is given out meanwhile"))
            self._renewed_at = float("-inf")  # one answer that is not paced, by which the other host learns it too

    def catch_up(self, out: Output, now: float) -> None:
        """Begin the incarnation that was put off, once it is time."""
        if self.owed_at is not None and now >= self.owed_at:
            self._began_anew(out, now)

    def _began_anew(self, out: Output, now: float) -> None:
        due = self._renewed_at + self.clones.pace(now)
        self.owed_at = due if now < due else None
        if now < due or not self.renew(out):
            return
        self._renewed_at = now
        self.clones.answered()
        if not self.clones.alive(now):
            out.tell.append(
                Trouble("this host's stored state was older than what the mesh knew of it; it began a new incarnation")
            )

    def _known_proofs(self, owner: bytes) -> list[int]:
        entry = self.view.owners.get(owner)
        return [] if entry is None else sorted(entry.proofs)

    def _suspect(self, out: Output, owner: bytes, incarnation: int, link: int | None, before: list[int]) -> None:
        proofs = self.view.owners[owner].proofs
        first, second = proofs[incarnation]
        wires = (first.wire(), second.wire())
        row = msgspec.msgpack.encode(wires)
        out.persist.append(Put(SPACE_PROOF, owner + incarnation.to_bytes(8, "big"), row))
        for forgotten in before:
            if forgotten not in proofs:
                out.persist.append(Put(SPACE_PROOF, owner + forgotten.to_bytes(8, "big"), None))
        if owner != self.identity:  # who hears it of itself begins anew
            text = f"peer {owner.hex()[:16]} said two different things at once and is not heeded until it restarts"
            out.tell.append(Trouble(text))
        self._proofs.append(((first, second), link))
        self.suspects[owner] = None
        self.gate.count("equivocation")
        self.spread.touch(owner)

    def _take(self, changes: list[Change]) -> None:
        self.changes += changes
        for change in changes:
            self.spread.touch(change.owner)

    # --- what goes out --------------------------------------------------------------------------------------------

    def persist(self, out: Output, changes: Iterable[Change]) -> None:
        """The writes of these changes; the last change of a slot is the one that stays."""
        last = {(change.owner, change.slot): change.new for change in changes}
        for (owner, slot), new in last.items():
            out.persist.append(Put(SPACE_STATEMENT, row_key(owner, slot), None if new is None else new.wire()))

    def news(self) -> tuple[list[News], list[tuple[Proof, int | None]]]:
        """What is new since the last time, each with the link it came from: statements, proofs."""
        statements, self._pushes = list(self._pushes.values()), {}
        proofs, self._proofs = self._proofs, []
        return statements, proofs


def row_key(owner: bytes, slot: Slot) -> bytes:
    """The store's key of a statement: 48 bytes."""
    name = slot[0].encode()
    return owner + blake2s(bytes((len(name),)) + name + slot[1], digest_size=16).digest()


def load_all(replica: Replica, rows: Iterable[tuple[str, bytes, bytes]]) -> None:
    """Load stored rows; a damaged one is counted and skipped, anti-entropy replaces it."""
    for space, key, value in rows:
        try:
            replica.load(space, key, value)
        except (RemoteError, ValueError, msgspec.MsgspecError):
            replica.gate.count("stored_row_damaged")
