"""A peer of a later version among peers of this one.

Rule: what it says reaches everybody over relays of this version exactly as it signed it: kinds that nobody here knows,
fields appended to known bodies, and bytes that this version would have written shorter.
"""

from __future__ import annotations

import msgspec

from gossip.spreading.codec import deltas
from gossip.state.bodies import LINKS, PEER
from gossip.state.statements import Statement
from tests.sim.hostile import NAME, Siege, say
from tests.sim.invariants import InvariantBroken
from tests.sim.people import chain_of, identity_of


def tomorrow() -> list[Statement]:
    """What a later version may say of itself."""
    peers = sorted(identity_of(f"h{number}") for number in range(3))
    body: tuple[object, ...] = (
        NAME,
        ["192.0.2.7:6799"],
        bytes(32),
        chain_of(NAME),
        bytes(8),
        "99.0",
        [],
        "a field of tomorrow",
        {"x": 1},
    )
    wordy = b"\x91\xdd\x00\x00\x00\x03" + b"".join(b"\xc6\x00\x00\x00\x20" + peer for peer in peers)
    return [
        say((PEER, b""), (9, 1), msgspec.msgpack.encode(body)),
        say((LINKS, b""), (9, 2), wordy),
        say(("tomorrow", b"key"), (9, 3), b"\x93who knows"),
        say(("tomorrow", b"gone"), (9, 4), None),
    ]


def check_relayed() -> None:
    """One neighbour hears it, and all must come to hold it; raises InvariantBroken."""
    mesh = Siege()
    link = min(mesh.villain.streams)
    for message in deltas(statement.wire() for statement in tomorrow()):
        mesh.world._send(mesh.villain, link, message, 0.0)
    mesh.world.run(mesh.world.now + 20.0)
    for host in mesh.honest:
        view = host.node._replica.view
        for statement in tomorrow():
            if view.get(statement.owner, statement.slot) != statement:
                raise InvariantBroken(f"h{host.index} does not hold a {statement.kind} statement as it was signed")
