"""What an admin does: revoke, allow, announce a new mesh secret.

Purpose: the acts of this host that `gossip.people.authority` judges at every peer, refused here when they would not
count.
Rule: an act is a statement, said once; a revocation cannot be taken back, the others can, by who said them. Each act
adds to one `Output`, so that it is durable before anybody hears of it; a refused act adds nothing.
Flow: `gossip.node` -> here -> `replica.publish`.
Reference: design §3; docs/threat-model.md.
"""

from __future__ import annotations

from gossip import limits
from gossip.errors import Refusal
from gossip.events import Output
from gossip.people.authority import ADMIN, Authority
from gossip.people.roster import Roster
from gossip.state.bodies import ALLOW, AUTHORITY, REVOKE, SECRET, AllowBody, RevokeBody, SecretBody, encode_body
from gossip.state.replica import Replica
from gossip.state.statements import Slot


class Acts:
    """The acts of this peer."""

    def __init__(self, replica: Replica, authority: Authority, roster: Roster) -> None:
        self._replica = replica
        self._authority = authority
        self._roster = roster
        self._identity = replica.identity

    def revoke(self, out: Output, identity: bytes, from_serial: int, reason: str) -> None:
        """Revoke an identity, and what it issued from that serial on; raises Refusal."""
        what = f"{self._roster.name(identity)} was not revoked"
        self._needs_role(what)
        data = encode_body(REVOKE, RevokeBody(identity, from_serial, reason))
        if self._authority.outranks(identity, self._identity):
            why = "it founded the mesh, or is an admin that stands nearer to the founder than this host"
            raise Refusal(what, why, "do it on a host that let that one in; nobody revokes the founder", "role")
        self._say(out, what, (REVOKE, identity), data)

    def allow(self, out: Output, identity: bytes | None, on: bool) -> None:
        """Put an identity on the allow-list or take it off; None: have one, or have none. Raises Refusal.

        Only the own word is taken back: who is on the list by that of others too stays on it.
        """
        key = identity or b""
        what = "the allow-list was not changed"
        self._needs_role(what)
        data = encode_body(ALLOW, AllowBody(key))
        held = self._replica.view.get(self._identity, (ALLOW, key))
        if on:
            self._say(out, what, (ALLOW, key), data)
            return
        if held is not None and held.body is not None:
            self._say(out, what, (ALLOW, key), None)
            return
        others = self._authority.allowers(key)
        if others:
            who = self._roster.name(others[0])
            raise Refusal(what, f"it is {who} that said so", f"do the same on {who}, or revoke {who}", "foreign")

    def announce(self, out: Output, generation: int, commitment: bytes, phase: int) -> None:
        """Announce a new mesh secret, or that its next phase begins; raises Refusal."""
        what = "the mesh secret was not announced"
        self._needs_role(what)
        data = encode_body(SECRET, SecretBody(generation, commitment, phase))
        known = self._authority.rotation()
        if known is not None and generation < known.generation:
            raise Refusal(what, f"generation {known.generation} is announced", "choose a higher one", "taken")
        if known is not None and generation == known.generation and commitment != known.commitment:
            who = self._roster.name(known.by)
            raise Refusal(what, f"{who} announced another of that generation", f"go on with that of {who}", "taken")
        if known is not None and generation == known.generation and phase < known.phase:
            raise Refusal(what, "it is further than that already", "look how far it is first", "invalid")
        self._say(out, what, (SECRET, b""), data)

    def _needs_role(self, what: str) -> None:
        if ADMIN not in self._authority.roles(self._identity):
            raise Refusal(what, "this host has not the role admin", "do it on a host that has it", "role")

    def _say(self, out: Output, what: str, slot: Slot, body: bytes | None) -> None:
        entry = self._replica.view.owners.get(self._identity)
        said = 0 if entry is None else sum(kind in AUTHORITY for kind, _ in entry.held)
        if said >= limits.MAX_OWN_AUTHORITY and (entry is None or slot not in entry.held):
            raise Refusal(what, "this host has said as much of that kind as it may", "do it on another", "exhausted")
        self._replica.publish(out, slot, body)
