"""What an owner's statements take while nobody asks for them: their signed bytes, without what many repeat.

Purpose: most of a mesh is known and not spoken of, so most of what is held is held as this.
Rule: nothing is left out and nothing is guessed: `unpack(pack(x))` is x, byte for byte, whatever the bytes mean. What
a statement's fields say is not held a second time as its blob; a blob that its fields alone would not give again is
held as it is. A text that many statements repeat (the mesh, identities of owners, certificates of issuers) stands in
one table, and in its place a number. The table only grows, up to the owners there can be, `MAX_SHARED` certificates
and `MAX_KINDS` kinds; what finds no place in it stays where it is.
Flow: `gossip.state.owners` packs an owner that nobody asked for, and unpacks it when somebody does.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gossip import limits
from gossip.state.bodies import PEER, PeerBody, decode_body
from gossip.state.identities import Identities
from gossip.state.statements import Statement, blob_of, revived

DIGEST_B = 8  # the hash of an owner (gossip.spreading.spread), with which its packed form begins
_WHOLE = 0xFF  # the place of a kind's number: the blob as it is follows
_MARK = 0x80  # a number of two bytes begins with it, else so many bytes follow as they are
_RUN = 0x7F
_MESH = 0x7FFF
_SHARED = 0x7F00  # the number of the first certificate; smaller ones are identities
_HEADS = (b"\xc4\x10", b"\xc4\x20")
"""How msgpack begins a mesh's id and an identity."""


class Packer:
    """The tables of one view, and the two directions."""

    def __init__(self, identities: Identities) -> None:
        self._identities = identities
        self._mesh: bytes | None = None
        self._kinds: list[str] = []
        self._shared: list[bytes] = []

    def pack(self, digest: bytes, settled: int, statements: Iterable[Statement]) -> bytes:
        """The statements of one owner, its hash (8 B) and settled incarnation (-1: none) as one byte string."""
        parts = [digest, _varint(settled + 1)]
        for statement in statements:
            self._learn(statement)
            parts += self._one(statement)
        return b"".join(parts)

    def digest(self, packed: bytes) -> bytes:
        """The hash it was packed with."""
        return packed[:DIGEST_B]

    def settled(self, packed: bytes) -> int:
        """The settled incarnation it was packed with."""
        return _read(packed, DIGEST_B)[0] - 1

    def unpack(self, packed: bytes, owner: bytes) -> Iterator[Statement]:
        """The owner's statements again, in their order."""
        _, at = _read(packed, DIGEST_B)
        while at < len(packed):
            code = packed[at]
            if code == _WHOLE:
                size, at = _read(packed, at + 1)
                blob, at = self._unfold(packed, at, at + size), at + size
                yield revived(blob, packed[at : at + limits.SIGNATURE_B])
            else:
                size, at = _read(packed, at + 1)
                key, at = packed[at : at + size], at + size
                incarnation, at = _read(packed, at)
                seq, at = _read(packed, at)
                size, at = _read(packed, at)
                body = None
                if size:
                    body, at = self._unfold(packed, at, at + size - 1), at + size - 1
                signature = packed[at : at + limits.SIGNATURE_B]
                kind, mesh = self._kinds[code], self._mesh or b""
                blob = blob_of(mesh, owner, (kind, key), (incarnation, seq), body)
                yield Statement(mesh, owner, kind, key, incarnation, seq, body, blob, signature)
            at += limits.SIGNATURE_B

    # --- inside ---------------------------------------------------------------------------------------------------

    def _learn(self, statement: Statement) -> None:
        if self._mesh is None:
            self._mesh = statement.mesh
        if statement.kind not in self._kinds and len(self._kinds) < limits.MAX_KINDS:
            self._kinds.append(statement.kind)
        if statement.kind != PEER or statement.body is None:
            return
        body = decode_body(PEER, statement.body)
        assert isinstance(body, PeerBody)
        for certificate in body.chain[1:]:
            if certificate not in self._shared and len(self._shared) < limits.MAX_SHARED:
                self._shared.append(certificate)

    def _one(self, statement: Statement) -> list[bytes]:
        s = statement
        plain = s.mesh == self._mesh and s.kind in self._kinds
        if not plain or blob_of(s.mesh, s.owner, s.slot, s.version, s.body) != s.blob:
            folded = self._fold(s.blob)
            return [bytes((_WHOLE,)), _varint(len(folded)), folded, s.signature]
        head = [bytes((self._kinds.index(s.kind),)), _varint(len(s.key)), s.key, _varint(s.incarnation), _varint(s.seq)]
        if s.body is None:
            return [*head, _varint(0), s.signature]
        folded = self._fold(s.body)
        return [*head, _varint(len(folded) + 1), folded, s.signature]

    def _fold(self, data: bytes) -> bytes:
        parts: list[bytes] = []
        at = 0
        for start, end, number in sorted(self._known(data)):
            if start >= at:
                parts += [*_runs(data, at, start), bytes((_MARK | number >> 8, number & 0xFF))]
                at = end
        return b"".join([*parts, *_runs(data, at, len(data))])

    def _unfold(self, packed: bytes, at: int, end: int) -> bytes:
        parts: list[bytes] = []
        while at < end:
            first = packed[at]
            if first & _MARK:
                parts.append(self._text((first & _RUN) << 8 | packed[at + 1]))
                at += 2
            else:
                parts.append(packed[at + 1 : at + 1 + first])
                at += 1 + first
        return b"".join(parts)

    def _text(self, number: int) -> bytes:
        if number < _SHARED:
            return _HEADS[1] + self._identities[number]
        return _HEADS[0] + (self._mesh or b"") if number == _MESH else self._shared[number - _SHARED]

    def _known(self, data: bytes) -> Iterator[tuple[int, int, int]]:
        """(start, end, number) of each text of the tables; they may overlap."""
        for number, text in enumerate(self._shared):
            at = data.find(text)
            if at >= 0:
                yield at, at + len(text), _SHARED + number
        for head, size in zip(_HEADS, (limits.MESH_B, limits.IDENTITY_B), strict=True):
            at = data.find(head)
            while at >= 0:
                end = at + len(head) + size
                text = data[at + len(head) : end]
                known = self._identities.find(text) if head is _HEADS[1] else _MESH if text == self._mesh else None
                if known is not None and (known < _SHARED or known == _MESH):
                    yield at, end, known
                at = data.find(head, at + len(head))


def _runs(data: bytes, start: int, end: int) -> Iterator[bytes]:
    """The bytes as they are, each piece behind its length."""
    for at in range(start, end, _RUN):
        piece = data[at : min(at + _RUN, end)]
        yield bytes((len(piece),)) + piece


def _varint(value: int) -> bytes:
    """Seven bits a byte, the least first."""
    if value < 0x80:
        return bytes((value,))
    parts = bytearray()
    while value >= 0x80:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(parts) + bytes((value,))


def _read(data: bytes, at: int) -> tuple[int, int]:
    """(the integer at that place, where it ends)."""
    value = data[at]
    if value < 0x80:
        return value, at + 1
    value &= 0x7F
    shift = 7
    while True:
        at += 1
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        shift += 7
