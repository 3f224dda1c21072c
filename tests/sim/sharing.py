"""Many cores in one process hold equal bytes once.

Rule: what a core does stays as it is; only the parsing of bytes that were parsed before, for whichever core, is left
out, and an owner at rest is one object for all cores instead of bytes packed for each, so that a mesh of thousands fits
one machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import gossip.people.peer_bodies
import gossip.people.roster
import gossip.state.gate
import gossip.state.replica
import gossip.state.view
from gossip.state.bodies import decode_body
from gossip.state.packing import Packer
from gossip.state.statements import Statement, parse

Packed = tuple[bytes, int, tuple[Statement, ...]]


@contextmanager
def shared() -> Iterator[None]:
    """Equal bytes are parsed once for all peers of this process, and equal owners are held once at rest."""
    statements: dict[bytes, object] = {}
    bodies: dict[tuple[str, bytes], object] = {}
    packed: dict[tuple[bytes, int], Packed] = {}

    def parse_once(wire: bytes) -> object:
        found = statements.get(wire)
        if found is None:
            found = statements[wire] = parse(wire)
        return found

    def decode_once(kind: str, data: bytes) -> object:
        found = bodies.get((kind, data))
        if found is None:
            found = bodies[kind, data] = decode_body(kind, data)
        return found

    def pack_once(packer: Packer, digest: bytes, settled: int, statements: Iterable[Statement]) -> Packed:
        found = packed.get((digest, settled))
        if found is None:
            found = packed[digest, settled] = (digest, settled, tuple(statements))
        return found

    modules = (
        gossip.state.gate,
        gossip.state.replica,
        gossip.people.roster,
        gossip.state.view,
        gossip.people.peer_bodies,
    )
    replaced: list[tuple[object, str, object]] = [
        (module, name, once)
        for name, once in (("parse", parse_once), ("decode_body", decode_once))
        for module in modules
        if hasattr(module, name)
    ]
    replaced += [
        (Packer, "pack", pack_once),
        (Packer, "digest", lambda packer, held: held[0]),
        (Packer, "settled", lambda packer, held: held[1]),
        (Packer, "unpack", lambda packer, held, owner: iter(held[2])),
    ]
    before = [(where, name, getattr(where, name)) for where, name, _ in replaced]
    _set(replaced)
    try:
        yield
    finally:
        _set(before)


def _set(values: list[tuple[object, str, object]]) -> None:
    for where, name, value in values:
        setattr(where, name, value)
