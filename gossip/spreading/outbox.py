"""What waits to be sent on one link: news only, the newest of each slot once.

Purpose: a link that is slower than the mesh's changes gets the last of them, not all of them; and what the far end
shows that it has is not sent to it.
Rule: one place per (owner, slot); a newer statement takes the place of an older one. At most `MAX_PENDING` wait: a
link that is further behind is emptied and asks for what differs by a digest instead. At most `PUSH_BURST_B` leave at a
time, the owners in turn.
Flow: `put`, `heard` -> `take`, once per `PUSH_PACE_S` (`gossip.spreading.contacts`).
Reference: design §5.
"""

from __future__ import annotations

from collections.abc import Iterable

from gossip import limits
from gossip.spreading.codec import Proofs, deltas, encode
from gossip.state.owners import Proof
from gossip.state.statements import Slot, Statement, travel

_Key = tuple[bytes, Slot]


class Outbox:
    """The statements and proofs that one link waits for."""

    __slots__ = ("_keys", "_proofs", "_waiting")

    def __init__(self) -> None:
        self._waiting: dict[_Key, Statement] = {}
        self._keys: dict[bytes, _Key] = {}  # by signature, with which the wire form ends
        self._proofs: list[Proof] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._proofs)

    def put(self, statement: Statement) -> bool:
        """Let the statement wait; False when too much waits: nothing does any more."""
        key = (statement.owner, statement.slot)
        older = self._waiting.pop(key, None)
        if older is not None:
            self._keys.pop(older.signature, None)
        if len(self._waiting) >= limits.MAX_PENDING:
            self.clear()
            return False
        self._waiting[key] = statement
        self._keys[statement.signature] = key
        return True

    def put_proof(self, proof: Proof) -> None:
        """Let a proof wait; beyond `MAX_PROOFS_PER_MESSAGE` anti-entropy brings it."""
        if len(self._proofs) < limits.MAX_PROOFS_PER_MESSAGE:
            self._proofs.append(proof)

    def heard(self, wires: Iterable[bytes]) -> None:
        """The far end sent these statements: it has them."""
        for wire in wires if self._keys else ():
            key = self._keys.pop(wire[-limits.SIGNATURE_B :], None)
            if key is not None:
                del self._waiting[key]

    def take(self) -> list[bytes]:
        """The messages that leave now, with what others depend on first; the rest stays."""
        proofs, self._proofs = self._proofs, []
        chosen: list[Statement] = []
        room = limits.PUSH_BURST_B
        for key, statement in self._fairly():
            if room <= 0:
                break
            room -= len(statement.blob)
            chosen.append(statement)
            del self._waiting[key]
            self._keys.pop(statement.signature, None)
        messages = deltas(statement.wire() for statement in chosen)
        if proofs:
            messages.append(encode(Proofs([(one.wire(), two.wire()) for one, two in proofs])))
        return messages

    def _fairly(self) -> list[tuple[_Key, Statement]]:
        """What waits: peers first, then each owner's turn after the other's, so that none who says much delays all."""
        turns: dict[bytes, int] = {}
        ranked: list[tuple[tuple[int, int], tuple[_Key, Statement]]] = []
        for item in self._waiting.items():
            turn = turns[item[0][0]] = turns.get(item[0][0], 0) + 1
            ranked.append(((travel(item[1].kind), turn), item))
        return [item for _, item in sorted(ranked, key=lambda each: each[0])]

    def clear(self) -> None:
        """Forget everything."""
        self._waiting = {}
        self._keys = {}
