"""Who counts as a member, with which roles, and what those who may decide decided.

Purpose: one judgement for everything that acts on peers, the same at every peer that heard the same statements.
Rule: it decides what counts, never what is merged, kept or relayed.
- A member: its own statement carries a chain that is admitted; no revocation that counts names it; no certificate of
  its chain is void (its issuer was revoked from that serial or an earlier one on); and, while there is an allow-list,
  it is on it, or founded the mesh, or has the role `admin` (who could put itself there).
- `revoke`, `allow` and `secret` statements count if their owner is a member with role `admin`. For revocations that is
  settled by levels, the authors with the shortest chains first: all authors of a level that no revocation of a shorter
  level strikes count at once; two of one level that revoke each other are both out. No revocation strikes the founder,
  nor an admin whose chain is shorter than its author's. So whoever stole an admin's key is undone by any admin nearer
  to the founder, and that one's word reaches everybody, because nobody was made to turn it away.
- There is an allow-list while any `allow` statement with an empty key counts. Of several announced secrets the highest
  generation counts, of those the smallest commitment, in the furthest phase that anybody announced.
Having left, and saying two things at once, change nothing here. Chains are admitted once.
Flow: `admitted` (by the gate) and `apply(change)` -> `settle()` -> who turned -> queries.
Reference: design §3; docs/threat-model.md; docs/adr/0007-authority-counts.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gossip import limits
from gossip.events import Revocation, RotationView
from gossip.people.proven import Admitted as Admitted
from gossip.people.proven import Proven, mark_of
from gossip.state.bodies import ALLOW, AUTHORITY, PEER, REVOKE, AllowBody, PeerBody, RevokeBody, SecretBody, decode_body
from gossip.state.statements import Statement
from gossip.state.view import Change

ADMIN = "admin"


Admit = Callable[[bytes, Sequence[bytes]], Admitted]
"""(identity, its chain) -> what the chain proves; raises ValueError when it does not hold."""


@dataclass(frozen=True, slots=True)
class Bar:
    """Why an identity does not count: by whose word, and words for people."""

    by: bytes
    reason: str


@dataclass(slots=True)
class Revoked:
    """The revocations that count, and what they mean for one identity."""

    rows: list[Revocation] = field(default_factory=list)
    _of: dict[bytes, list[tuple[int, Revocation]]] = field(default_factory=dict)

    def add(self, level: int, row: Revocation) -> None:
        """Count one more, of an author of that level."""
        self.rows.append(row)
        self._of.setdefault(row.identity, []).append((level, row))

    def identities(self) -> list[bytes]:
        """Whom they name."""
        return sorted(self._of)

    def bar(self, identity: bytes, known: Admitted | None) -> Bar | None:
        """Why the identity with that chain is out; None if it is not."""
        direct = min((row.by, row.reason) for _, row in self._of[identity]) if identity in self._of else None
        if direct is not None:
            return Bar(*direct)
        for issuer, serial in () if known is None else known.path:
            for level, row in self._of.get(issuer, ()):
                if row.from_serial <= serial and not _above(known, level):
                    why = f"its certificate is void: it was issued by {issuer.hex()[:16]}, which was revoked"
                    return Bar(row.by, why)
        return None


def revoked(admitted: Mapping[bytes, Admitted], said: Mapping[bytes, Mapping[bytes, RevokeBody]]) -> Revoked:
    """Which of the revocations count. `said`: by author, then by the identity revoked."""
    levels: dict[int, list[bytes]] = {}
    for author in sorted(said):
        known = admitted.get(author)
        if known is not None and ADMIN in known.roles:
            levels.setdefault(len(known.path), []).append(author)
    counting = Revoked()
    for level, authors in sorted(levels.items()):
        heeded = [author for author in authors if counting.bar(author, admitted[author]) is None]
        for author in heeded:
            for identity, body in sorted(said[author].items()):
                if not _above(admitted.get(identity), level):
                    counting.add(level, Revocation(identity, author, body.from_serial, body.reason))
    return counting


def _above(known: Admitted | None, level: int) -> bool:
    """Whether those are the founder's certificates, or those of an admin that stands nearer to it than the level."""
    return known is not None and (not known.path or (ADMIN in known.roles and len(known.path) < level))


class Authority:
    """The judgement, kept in step with the view."""

    def __init__(self, admit: Admit) -> None:
        self._admit = admit
        self._admitted = Proven()
        self._checked: dict[bytes, tuple[bytes, Admitted]] = {}  # of this step: the chain's hash, what it proves
        self._revokes: dict[bytes, dict[bytes, RevokeBody]] = {}
        self._allows: dict[bytes, dict[bytes, None]] = {}
        self._secrets: dict[bytes, SecretBody] = {}
        self._revoked = Revoked()
        self._switch: bytes | None = None
        self._listed: dict[bytes, None] = {}
        self._rotation: RotationView | None = None
        self._stale: dict[bytes, None] = {}
        self._all_stale = False
        self._unasked: dict[bytes, str] = {}
        self._unasked_told: dict[bytes, None] = {}
        self.bars: dict[bytes, Bar] = {}
        """Every identity that is known, or revoked, and does not count."""

    # --- what is heard --------------------------------------------------------------------------------------------

    def admitted(self, identity: bytes, chain: Sequence[bytes]) -> Admitted:
        """What the chain proves of the identity; raises ValueError. A chain that is held is checked once."""
        mark = mark_of(chain)
        known = self._admitted.by_chain(identity, mark)
        if known is not None:
            return known
        checked = self._checked.get(identity)
        if checked is not None and checked[0] == mark:
            return checked[1]
        found = self._admit(identity, chain)
        if identity not in self._checked and len(self._checked) >= limits.MAX_OWNERS:
            del self._checked[next(iter(self._checked))]
        self._checked[identity] = (mark, found)
        return found

    def apply(self, change: Change) -> None:
        """Follow one change of the view."""
        kind = change.slot[0]
        if kind == PEER:
            self._apply_peer(change.owner, change.new)
        elif kind in AUTHORITY:
            self._apply_act(change.owner, kind, change.slot[1], change.new)
            self._all_stale = self._all_stale or self._may(change.owner)  # else it costs nothing: it does not count

    def settle(self) -> list[bytes]:
        """Judge anew what changed; returns who no longer counts, or counts again, sorted.

        Who is known for the first time and counts is not among them.
        """
        self._checked = {}
        if self._all_stale:
            self._weigh()
            self._stale.update(dict.fromkeys([*self._admitted.known, *self._revoked.identities(), *self.bars]))
            self._all_stale = False
        turned: list[bytes] = []
        for identity in sorted(self._stale):
            before, bar = self.bars.pop(identity, None), self._judge(identity)
            if bar is not None:
                self.bars[identity] = bar
            if (before is None) != (bar is None):
                turned.append(identity)
        self._stale = {}
        return turned

    def unasked(self) -> list[tuple[bytes, str]]:
        """(owner, kind) of statements that came from a peer without the role; each such peer is named once."""
        found = [(owner, kind) for owner, kind in sorted(self._unasked.items()) if not self._may(owner)]
        self._unasked = {}
        self._unasked_told.update(dict.fromkeys(owner for owner, _ in found))
        return found

    # --- what counts ----------------------------------------------------------------------------------------------

    def member(self, identity: bytes) -> bool:
        """Whether the identity is known and counts."""
        return identity in self._admitted.known and identity not in self.bars

    def roles(self, identity: bytes) -> tuple[str, ...]:
        """Its roles; none unless it counts."""
        return self._admitted[identity].roles if self.member(identity) else ()

    def admits(self, identity: bytes) -> bool:
        """Whether its certificate has the role `admin`, whatever became of it since."""
        return self._may(identity)

    def barred(self, identity: bytes) -> bool:
        """Whether the identity is known, or revoked, and does not count."""
        return identity in self.bars

    def revocations(self) -> list[Revocation]:
        """Those that count, by identity and author."""
        return sorted(self._revoked.rows, key=lambda row: (row.identity, row.by))

    def allowed(self) -> tuple[bool, list[bytes]]:
        """Whether there is an allow-list, and who is on it."""
        return self._switch is not None, sorted(self._listed)

    def allowers(self, identity: bytes) -> list[bytes]:
        """Whose word puts the identity on the list (empty: whose word makes the list)."""
        return [owner for owner, said in sorted(self._allows.items()) if identity in said and self._heeded(owner)]

    def outranks(self, identity: bytes, author: bytes) -> bool:
        """Whether the author cannot strike the identity: the founder, or an admin with a shorter chain."""
        known = self._admitted.get(author)
        return known is not None and _above(self._admitted.get(identity), len(known.path))

    def rotation(self) -> RotationView | None:
        """The announcement of a secret that counts."""
        return self._rotation

    def highest_serial(self, issuer: bytes) -> int:
        """The greatest serial of the issuer's certificates that are known; -1 when none is."""
        serials = (serial for known in self._admitted.values() for who, serial in known.path if who == issuer)
        return max(serials, default=-1)

    # --- inside ---------------------------------------------------------------------------------------------------

    def _apply_peer(self, owner: bytes, new: Statement | None) -> None:
        before, known = self._admitted.get(owner), owner in self._admitted.known
        if new is not None and new.body is not None:
            body = decode_body(PEER, new.body)
            assert isinstance(body, PeerBody)
            try:
                found = self.admitted(owner, body.chain)
            except ValueError:
                found = None  # only a damaged store brings it here: the gate refuses it
            self._admitted.put(owner, mark_of(body.chain), found)
        else:
            self._admitted.drop(owner)
        if self._admitted.get(owner) != before or not known:
            self._stale[owner] = None
            named = any(owner in said for said in self._revokes.values())
            self._all_stale = self._all_stale or named or self._speaks(owner)

    def _apply_act(self, owner: bytes, kind: str, key: bytes, new: Statement | None) -> None:
        body = None if new is None or new.body is None else decode_body(kind, new.body)
        if kind == REVOKE:
            self._revokes.setdefault(owner, {}).pop(key, None)
        elif kind == ALLOW:
            self._allows.setdefault(owner, {}).pop(key, None)
        else:
            self._secrets.pop(owner, None)
        if isinstance(body, RevokeBody):
            self._revokes[owner][key] = body
        elif isinstance(body, AllowBody):
            self._allows[owner][key] = None
        elif isinstance(body, SecretBody):
            self._secrets[owner] = body
        if body is not None and owner not in self._unasked_told:
            self._unasked[owner] = kind

    def _speaks(self, owner: bytes) -> bool:
        return owner in self._revokes or owner in self._allows or owner in self._secrets

    def _may(self, owner: bytes) -> bool:
        known = self._admitted.get(owner)
        return known is not None and ADMIN in known.roles

    def _heeded(self, owner: bytes) -> bool:
        return self._may(owner) and self._revoked.bar(owner, self._admitted[owner]) is None

    def _weigh(self) -> None:
        """Everything that follows from the acts alone."""
        self._revoked = revoked(self._admitted, self._revokes)
        heeded = [owner for owner in sorted(self._allows) if self._heeded(owner)]
        self._switch = next((owner for owner in heeded if b"" in self._allows[owner]), None)
        self._listed = {identity: None for owner in heeded for identity in self._allows[owner] if identity}
        rows = [(owner, body) for owner, body in sorted(self._secrets.items()) if self._heeded(owner)]
        self._rotation = None
        if rows:
            _, best = min(rows, key=lambda row: (-row[1].generation, row[1].commitment))
            same = [row for row in rows if (row[1].generation, row[1].commitment) == (best.generation, best.commitment)]
            phase = max(body.phase for _, body in same)
            self._rotation = RotationView(best.generation, best.commitment, phase, same[0][0])

    def _judge(self, identity: bytes) -> Bar | None:
        known = self._admitted.get(identity)
        out = self._revoked.bar(identity, known)
        if out is not None or identity not in self._admitted.known:
            return out
        if known is None:
            return Bar(b"", "its certificates do not lead to the mesh's founder")
        if self._switch is None or not known.path or ADMIN in known.roles or identity in self._listed:
            return None
        return Bar(self._switch, "it is not on the allow-list")
