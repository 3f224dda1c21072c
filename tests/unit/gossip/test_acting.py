"""What a host does in the mesh is refused before anything changes, when it would not count."""

from __future__ import annotations

import pytest

from gossip.errors import LocalError, Refusal
from gossip.events import Lease
from gossip.ipam.ranges import show
from tests.sim.people import peer_body
from tests.unit.gossip.cores import DEFAULT, Core, founder, member


def test_nothing_is_done_before_the_start() -> None:
    core = Core("h0")
    with pytest.raises(LocalError):
        core.node.leave(0.0)


def test_who_left_does_nothing_any_more() -> None:
    core = Core("h0").begin()
    core.take(core.node.found_network(DEFAULT, 0.0))
    core.take(core.node.leave(1.0))
    before = core.node.summary()
    with pytest.raises(Refusal):
        core.node.update_peer(peer_body("h0", "elsewhere:1"), 2.0)
    with pytest.raises(Refusal):
        core.node.allocate(1, b"web", 2.0)
    assert core.node.summary() == before


def test_what_is_in_use_already_is_leased_in_doubt_too_if_it_is_own() -> None:
    core = founder()
    other = member("h1", core)
    core.take(core.node.absorb(other.node.export(), 0.0))
    mine, foreign = (core.node._directory.rings[1].owned(each.identity)[0].start + 9 for each in (core, other))
    again = core.rolled_back(core.store).begin(1.0)
    for address, in_use in ((mine, False), (foreign, True)):
        with pytest.raises(Refusal, match="older copy"):
            again.node.allocate(1, b"web", 1.0, show(address), in_use=in_use)
    output, lease = again.node.allocate(1, b"web", 1.0, show(mine), in_use=True)
    again.take(output)
    assert isinstance(lease, Lease) and lease.address.startswith(show(mine))
    with pytest.raises(Refusal, match="older copy"):
        again.node.reclaim([other.identity], True, 1.0)
    with pytest.raises(Refusal, match="older copy"):
        again.node.hand_registrar(other.identity, 1.0)
