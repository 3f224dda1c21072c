from __future__ import annotations

from gossip.events import SPACES
from tests.unit.gossip.cores import founder, member, say


def test_every_write_goes_to_a_space_that_is_read_back() -> None:
    core = founder()
    other = member("h1", core)
    core.take(core.node.absorb(other.node.export(), 0.0))
    core.take(core.node.allocate(1, b"e", 0.0)[0])
    for body in (b"1", b"2"):
        core.take(core.node.absorb([say("h1", ("note", b""), (1, 99), body).wire()], 0.0))
    assert {space for space, _ in core.store} == set(SPACES)
