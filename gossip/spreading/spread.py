"""How peers find and send each other what differs.

Purpose: anti-entropy whose idle cost does not grow with the state: one digest of fixed size every few seconds.
Rule: an owner's hash covers its statements' digests and its quarantined incarnations; a bucket's hash covers its
owners'. Digest -> (buckets differ) Owners -> (owners differ) their statements, and Want for the other side's. An answer
is cut at `MAX_BURST_B`; the host then asks again soon with a new digest. An owner that alone exceeds a burst is sent in
windows that move on with every answer.
Flow: `gossip.node` asks for messages; the view stays the only state (`gossip.state.owners` keeps the hash of each
owner), the hashes of buckets are a cache that `touch` clears.
Reference: design §5.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from hashlib import blake2s

from gossip import limits
from gossip.spreading.codec import Digest, Message, Owners, Proofs, Want, deltas, encode
from gossip.state.view import View

_EMPTY = bytes(8)


def bucket_of(owner: bytes) -> int:
    """The digest bucket of an owner."""
    return owner[0] % limits.DIGEST_BUCKETS


class Spread:
    """Hashes over a view, and the anti-entropy messages they call for."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._buckets: dict[int, bytes] = {}
        self._members: list[list[bytes]] = [[] for _ in range(limits.DIGEST_BUCKETS)]
        self._cursors: dict[bytes, int] = {}

    def touch(self, owner: bytes) -> None:
        """The owner's statements changed."""
        bucket = bucket_of(owner)
        self._buckets.pop(bucket, None)
        members = self._members[bucket]
        at = bisect_left(members, owner)
        if members[at : at + 1] != [owner] and owner in self._view.owners:
            members.insert(at, owner)

    def digest(self) -> bytes:
        """The encoded digest of everything held."""
        return encode(Digest([self._bucket(index) for index in range(limits.DIGEST_BUCKETS)]))

    def compare(self, theirs: Digest) -> list[bytes]:
        """The answer to a digest: the owners of the buckets that differ; nothing when none does."""
        differ = [i for i in range(limits.DIGEST_BUCKETS) if self._bucket(i) != theirs.buckets[i]]
        messages: list[Message] = []
        named: list[int] = []
        owners: list[tuple[bytes, bytes]] = []
        for index in differ:
            members = [(owner, self._owner(owner)) for owner in self._members[index]]
            if named and len(owners) + len(members) > limits.MAX_OWNERS_PER_MESSAGE:
                messages.append(Owners(named, owners))
                named, owners = [], []
            named = [*named, index]
            owners = [*owners, *members][: limits.MAX_OWNERS_PER_MESSAGE]
        if named:
            messages.append(Owners(named, owners))
        return [encode(message) for message in messages]

    def agrees(self, theirs: Digest, owner: bytes) -> bool:
        """Whether who sent the digest holds of the owner, and of its bucket, exactly what is held here."""
        index = bucket_of(owner)
        return theirs.buckets[index] == self._bucket(index)

    def reconcile(self, theirs: Owners) -> tuple[list[bytes], bool]:
        """The answer to a list of owners: own statements where they differ, and a request for the other's.

        Second item: whether the answer was cut.
        """
        heard = dict(theirs.owners)
        mine = [owner for index in sorted(dict.fromkeys(theirs.buckets)) for owner in self._members[index]]
        messages, cut = self.give(owner for owner in mine if heard.get(owner) != self._owner(owner))
        want = sorted(owner for owner in heard if self._owner(owner) != heard[owner])
        if want:
            messages.append(encode(Want(want)))
        return messages, cut

    def give(self, owners: Iterable[bytes]) -> tuple[list[bytes], bool]:
        """All statements and proofs of these owners, and whether the answer had to be cut."""
        wires: list[bytes] = []
        pairs: list[tuple[bytes, bytes]] = []
        room = limits.MAX_BURST_B
        cut = False
        for owner in dict.fromkeys(owners):
            entry = self._view.owners.find(owner)
            if entry is None:
                continue
            if room <= 0:
                cut = True
                break
            chosen, more = self._window(owner, [statement.wire() for statement in entry.in_order()], room)
            cut = cut or more
            room -= sum(map(len, chosen))
            wires += chosen
            pairs += [(one.wire(), two.wire()) for _, (one, two) in sorted(entry.proofs.items())]
        return [*deltas(wires), *_proofs(pairs)], cut

    def _window(self, owner: bytes, wires: list[bytes], room: int) -> tuple[list[bytes], bool]:
        if sum(map(len, wires)) <= room:
            return wires, False
        chosen = wires[:1]  # the peer statement, without which the rest is a stranger's
        at = self._cursors.get(owner, 1)
        room -= len(wires[0])
        while at < len(wires) and room > 0:
            chosen.append(wires[at])
            room -= len(wires[at])
            at += 1
        self._cursors[owner] = at if at < len(wires) else 1
        return chosen, True

    def _owner(self, owner: bytes) -> bytes:
        return self._view.owners.digest(owner) or _EMPTY

    def _bucket(self, index: int) -> bytes:
        known = self._buckets.get(index)
        if known is None:
            state = blake2s(digest_size=8)
            for owner in self._members[index]:
                state.update(owner + self._owner(owner))
            known = self._buckets[index] = state.digest()
        return known


def _proofs(pairs: list[tuple[bytes, bytes]]) -> list[bytes]:
    step = limits.MAX_PROOFS_PER_MESSAGE
    return [encode(Proofs(pairs[at : at + step])) for at in range(0, len(pairs), step)]
