"""The gate: which bytes from afar become statements.

Purpose: one place that decides, cheapest check first, and counts every refusal by name.
Rule: form and size; this mesh; newer than what is held; the owner is a member (its own peer statement carries a
certificate chain that `admit` accepts, all else needs that statement to be held); the signature. Nothing is buffered:
what came before its owner's peer statement is dropped, and anti-entropy brings it again.
Flow: message -> `admit_wire` -> Statement -> `gossip.state.view` merge.
Reference: design §3, §5; docs/threat-model.md.
"""

from __future__ import annotations

from collections.abc import Callable

from gossip.errors import RemoteError
from gossip.people.authority import Admit
from gossip.state.bodies import PEER, PeerBody, decode_body
from gossip.state.owners import Proof
from gossip.state.statements import Statement, parse, signed_bytes
from gossip.state.view import Standing, View, is_proof

Verify = Callable[[bytes, bytes, bytes], bool]


class Gate:
    """Verifies against the view it guards; `strangers` are owners whose statements came before their peer statement."""

    def __init__(
        self, mesh: bytes, identity: bytes, view: View, verify: Verify, admit: Admit, counters: dict[str, int]
    ) -> None:
        self._mesh = mesh
        self._identity = identity
        self._view = view
        self._verify = verify
        self._admit = admit
        self._counters = counters

    def count(self, name: str) -> None:
        """Add one to a counter."""
        self._counters[name] = self._counters.get(name, 0) + 1

    def admit_wire(self, wire: bytes, strangers: dict[bytes, None]) -> Statement | None:
        """The verified statement if it says something new, else None. Adds unknown owners to `strangers`."""
        statement = self._parsed(wire)
        if statement is None:
            return None
        if self._view.standing(statement) is Standing.OLD:
            self.count("statement_old")
            return None
        lone = statement.kind != PEER and statement.owner != self._identity
        if lone and self._view.get(statement.owner, (PEER, b"")) is None:
            self.count("statement_stranger")
            strangers[statement.owner] = None
            return None
        return statement if self._proven(statement) and self._member(statement) else None

    def admit_proof(self, wires: tuple[bytes, bytes]) -> Proof | None:
        """The verified proof of equivocation in two wire forms, else None."""
        first, second = self._parsed(wires[0]), self._parsed(wires[1])
        if first is None or second is None:
            return None
        known = self._view.get(first.owner, (PEER, b"")) is not None
        if not known or self._view.quarantined(first.owner, first.incarnation):
            return None
        if not is_proof(first, second):
            self.count("proof_invalid")
            return None
        return (first, second) if self._proven(first) and self._proven(second) else None

    def _parsed(self, wire: bytes) -> Statement | None:
        try:
            statement = parse(wire)
        except RemoteError:
            self.count("statement_malformed")
            return None
        if statement.mesh != self._mesh:
            self.count("statement_other_mesh")
            return None
        return statement

    def _proven(self, statement: Statement) -> bool:
        if self._verify(statement.owner, signed_bytes(statement.blob), statement.signature):
            return True
        self.count("statement_bad_signature")
        return False

    def _member(self, statement: Statement) -> bool:
        if statement.kind != PEER or statement.body is None:
            return True
        body = decode_body(PEER, statement.body)
        assert isinstance(body, PeerBody)
        try:
            self._admit(statement.owner, body.chain)
        except ValueError:
            self.count("statement_not_member")
            return False
        return True
