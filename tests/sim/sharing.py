"""Many cores in one process hold equal bytes once.

Rule: what a core does stays as it is; only the parsing of bytes that were parsed before, for whichever core, and the
packing of statements at rest are left out, so that a mesh of a thousand fits one machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import gossip.gate
import gossip.peer_bodies
import gossip.replica
import gossip.roster
import gossip.view
from gossip import limits
from gossip.bodies import decode_body
from gossip.statements import parse
from gossip.view import View


@contextmanager
def shared() -> Iterator[None]:
    """Equal bytes are parsed once for all peers of this process, and no peer packs what it holds."""
    statements: dict[bytes, object] = {}
    bodies: dict[tuple[str, bytes], object] = {}

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

    modules = (gossip.gate, gossip.replica, gossip.roster, gossip.view, gossip.peer_bodies)
    replaced: list[tuple[object, str, object]] = [
        (module, name, once)
        for name, once in (("parse", parse_once), ("decode_body", decode_once))
        for module in modules
        if hasattr(module, name)
    ]
    replaced += [(limits, "AWAKE_OWNERS", limits.MAX_OWNERS), (View, "rest", lambda view: None)]
    before = [(where, name, getattr(where, name)) for where, name, _ in replaced]
    _set(replaced)
    try:
        yield
    finally:
        _set(before)


def _set(values: list[tuple[object, str, object]]) -> None:
    for where, name, value in values:
        setattr(where, name, value)
