"""Who is thrown out is out everywhere, soon and for good, through crashes, cuts and what those say who may not."""

from __future__ import annotations

import os

import pytest

from tests.sim.invariants import check_always
from tests.sim.people import chain_of, identity_of
from tests.sim.revoking import STAFF, lie, live, members, mesh, rest, revoke
from tests.sim.world import World

SEEDS = [int(os.environ["MESHNET_SEED"])] if "MESHNET_SEED" in os.environ else list(range(20))
H2, H3, H4, H5 = (identity_of(name) for name in ("h2", "h3", "h4", "h5"))
ALL = ["h0", "h1", "h2", "h3", "h4", "h5"]
WAYS = ("before", "after", "done")
SOON_S = 2.0


def without(*names: str) -> list[str]:
    return [name for name in ALL if name not in names]


def linked(world: World, name: str) -> list[str]:
    """Who has a link to the peer."""
    peers = [(host.name, peer) for host in world.hosts if host.name != name for _, peer in host.node.links()]
    return [host for host, peer in peers if peer == identity_of(name)]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mesh_with_admins_keeps_its_invariants(seed: int) -> None:
    live(seed)


@pytest.mark.parametrize("author", ["h0", "h1", "h2"])
def test_within_two_seconds_everybody_has_cut_the_revoked_off(author: str) -> None:
    world = mesh(1)
    revoke(next(host for host in world.hosts if host.name == author), "h3")
    world.clock.run(world.clock.now + SOON_S)
    for host in world.hosts:
        assert host.barred == {H3: None}, f"{host.name} was told, the revoked one too"
        assert H3 not in [owner for owner, _ in host.node.endpoints()]
    assert linked(world, "h3") == []
    rest(world)
    assert members(world) == without("h3")
    for host in world.hosts:
        host.crash()
    rest(world)
    assert members(world) == without("h3")
    assert linked(world, "h3") == []


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_each_write_forgets_nothing_that_was_told(way: str) -> None:
    struck = 0
    for write in range(1, 7):
        world = mesh(2)
        world.persists = 0
        world.strike_at = (write, way)
        revoke(world.hosts[1], "h3")
        world.clock.run(world.clock.now + 3.0)
        check_always(world)
        struck += world.persists >= write
        world.clock.run(world.clock.now + 10.0)
        rest(world)
        done = members(world)
        assert done == without("h3") or (done == ALL and (write, way) == (1, "before")), "or it was never said"
    assert struck == 6, "the scenario has fewer writes than are struck"


def test_behind_a_cut_it_is_heard_when_the_cut_heals() -> None:
    world = mesh(3)
    world.network.partition({0: 0, 1: 0, 2: 0, 3: 1, 4: 1, 5: 1})
    revoke(world.hosts[1], "h4", 6)
    world.clock.run(world.clock.now + 20.0)
    assert [host.name for host in world.hosts if H4 in host.barred] == ["h0", "h1", "h2"]
    assert [host.name for host in world.hosts if H5 in host.barred] == ["h0", "h1", "h2"], "its certificate is void"
    rest(world)
    assert members(world) == without("h4", "h5")
    assert sorted(world.hosts[3].barred) == sorted([H4, H5])


def test_the_revoked_one_tells_others_in_vain() -> None:
    world = mesh(4)
    revoke(world.hosts[0], "h2")
    world.clock.run(world.clock.now + 5.0)
    for name in ("h0", "h1", "h3"):
        lie(world.hosts[2], name)
    rest(world)
    assert members(world) == without("h2")


def test_a_stolen_admins_key_that_threw_everybody_out_is_undone_by_an_admin_above() -> None:
    world = mesh(5)
    for name in ("h0", "h1", "h3", "h4", "h5"):
        revoke(world.hosts[2], name, 0)
        lie(world.hosts[2], name)
    world.clock.run(world.clock.now + 30.0)
    assert members(world) == ["h0", "h1", "h2"], "it strikes nobody above itself"
    assert linked(world, "h4") == []
    assert revoke(world.hosts[1], "h2")
    rest(world)
    assert members(world) == without("h2")
    assert linked(world, "h4") != []


def test_of_two_admins_the_nearer_to_the_founder_wins_whoever_was_first() -> None:
    world = mesh(6)
    assert not revoke(world.hosts[2], "h1")
    lie(world.hosts[2], "h1")
    assert revoke(world.hosts[1], "h2")
    rest(world)
    assert members(world) == without("h2")


def test_two_admins_of_one_level_that_revoke_each_other_across_a_cut_are_both_out() -> None:
    world = mesh(6, {"h2": chain_of("h2", ("h0", 2), roles=STAFF)})
    world.network.partition({0: 0, 1: 0, 2: 1, 3: 1, 4: 1, 5: 1})
    assert revoke(world.hosts[1], "h2") and revoke(world.hosts[2], "h1")
    rest(world)
    assert members(world) == without("h1", "h2")


def test_who_may_not_is_heard_by_all_and_changes_nothing() -> None:
    world = mesh(7)
    before = [host.node.links() for host in world.hosts]
    for host in world.hosts[3:]:
        for name in ALL:
            assert not revoke(host, name)
            lie(host, name)
    world.clock.run(world.clock.now + 5.0)
    assert [host.node.links() for host in world.hosts] == before
    assert all(host.barred == {} for host in world.hosts)
    assert any(row[1] == "revoke" for row in world.hosts[0].node.summary()), "it is kept and relayed"
    rest(world)
    assert members(world) == ALL


def test_a_list_lets_stay_who_is_on_it_and_takes_the_rest_back_later() -> None:
    world = mesh(8)
    host = world.hosts[1]
    for name in ("h3", "h5"):
        host.apply(host.node.allow(identity_of(name), True, world.clock.now))
    host.apply(host.node.allow(None, True, world.clock.now))
    rest(world)
    assert members(world) == without("h4")
    host.apply(host.node.allow(H4, True, world.clock.now))
    rest(world)
    assert members(world) == ALL and linked(world, "h4") != []
