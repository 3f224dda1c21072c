"""What an owner's statements take while nobody asks for them: their signed bytes, without what many repeat.

Purpose: most of a mesh is known and not spoken of, so most of what is held is held as this.
Rule: nothing is left out and nothing is guessed: `unpack(pack(x))` is x, byte for byte, whatever the bytes mean. A
text that many statements repeat (the mesh, identities of owners, certificates of issuers) stands in one table, and in
its place a number. The table only grows, up to the owners there can be and `MAX_SHARED` certificates; what finds no
place in it stays where it is.
Flow: `gossip.view` packs an owner that nobody asked for, and unpacks it when somebody does.
Reference: design §5 (memory of an idle peer).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct

from gossip import limits
from gossip.bodies import PEER, PeerBody, decode_body
from gossip.statements import Statement, revived

_U16 = Struct(">H")
_END = 0xFFFF
_BINARY = ((b"\xc4\x10", limits.MESH_B), (b"\xc4\x20", limits.IDENTITY_B))
"""How msgpack begins a mesh's id and an identity."""


class Packer:
    """The table of texts, and the two directions."""

    def __init__(self) -> None:
        self._numbers: dict[bytes, int] = {}
        self._texts: list[bytes] = []
        self._shared: dict[bytes, int] = {}

    def pack(self, statements: Iterable[Statement]) -> bytes:
        """The statements of one owner as one byte string."""
        parts: list[bytes] = []
        for statement in statements:
            self._learn(statement)
            parts += self._split(statement.blob + statement.signature)
        return b"".join(parts)

    def unpack(self, packed: bytes) -> Iterator[Statement]:
        """The statements again, in their order."""
        parts: list[bytes] = []
        at = 0
        while at < len(packed):
            start = at + 2
            end = start + _U16.unpack_from(packed, at)[0]
            number = _U16.unpack_from(packed, end)[0]
            parts.append(packed[start:end])
            at = end + 2
            if number != _END:
                parts.append(self._texts[number])
                continue
            sealed = b"".join(parts)
            yield revived(sealed[: -limits.SIGNATURE_B], sealed[-limits.SIGNATURE_B :])
            parts = []

    def _learn(self, statement: Statement) -> None:
        for text in (statement.mesh, statement.owner):
            if text not in self._numbers and len(self._numbers) <= limits.MAX_OWNERS:
                self._numbers[text] = self._add(text)
        if statement.kind != PEER or statement.body is None:
            return
        body = decode_body(PEER, statement.body)
        assert isinstance(body, PeerBody)
        for certificate in body.chain[1:]:
            if certificate not in self._shared and len(self._shared) < limits.MAX_SHARED:
                self._shared[certificate] = self._add(certificate)

    def _add(self, text: bytes) -> int:
        self._texts.append(text)
        return len(self._texts) - 1

    def _split(self, sealed: bytes) -> list[bytes]:
        parts: list[bytes] = []
        at = 0
        for start, end, number in sorted(self._known(sealed)):
            if start >= at:
                parts += (_U16.pack(start - at), sealed[at:start], _U16.pack(number))
                at = end
        return [*parts, _U16.pack(len(sealed) - at), sealed[at:], _U16.pack(_END)]

    def _known(self, sealed: bytes) -> Iterator[tuple[int, int, int]]:
        """(start, end, number) of each text of the table; they may overlap."""
        for text, number in self._shared.items():
            at = sealed.find(text)
            if at >= 0:
                yield at, at + len(text), number
        for mark, size in _BINARY:
            at = sealed.find(mark)
            while at >= 0:
                start = at + len(mark)
                known = self._numbers.get(sealed[start : start + size])
                if known is not None:
                    yield start, start + size, known
                at = sealed.find(mark, start)
