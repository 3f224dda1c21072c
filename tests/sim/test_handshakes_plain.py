"""Two hosts, one thing at a time: changes of keys without loss, races, restarts, silence, wrong clocks, load."""

from __future__ import annotations

import pytest

from meshnet.control.handshakes.answering import RACE_S
from meshnet.control.handshakes.peers import Peers
from tests.sim.handshake_life import AGREED_S, YEARS_10_NS
from tests.sim.handshakes import Host, World


def pair(seed: int, delay_s: float = 0.05) -> tuple[World, Host, Host]:
    """Two hosts over a whole link."""
    world = World(seed)
    world.clean(delay_s)
    world.run(1.0)
    one, two = world.hosts
    return world, one, two


def talking(seed: int, every: float = 0.3, delay_s: float = 0.05) -> tuple[World, Host, Host]:
    """Two hosts that talk to each other for a while."""
    world, one, two = pair(seed, delay_s)
    one.talk(two, every)
    two.talk(one, every)
    assert world.run(8.0, world.matching)
    world.run(10.0)
    return world, one, two


def wanting(world: World) -> None:
    """Both ends want a session at the same instant."""
    one, two = world.hosts
    one.wanted(two.identity)
    two.wanted(one.identity)


def total(world: World, name: str) -> int:
    return sum(getattr(host.forwarder, name) for host in world.hosts)


@pytest.mark.parametrize("seed", range(10))
def test_a_clean_link_loses_no_frame_to_changes_of_keys(seed: int) -> None:
    world, _, _ = talking(seed, every=0.5)
    waited, installed = total(world, "waited"), total(world, "installs")
    missing = total(world, "sent") - total(world, "got")
    world.run(1000.0)
    assert world.matching() and total(world, "waited") == waited
    assert 2 * 8 <= total(world, "installs") - installed <= 2 * 9, "one handshake every 120 s"
    assert abs(total(world, "sent") - total(world, "got") - missing) <= 2, "what is in flight"


def check_race(seed: int) -> None:
    """Both begin at the same instant; one of the two initiations makes a session, and that stays.

    The other's may arrive when all is over and be answered, but its sender takes no answer any more.
    """
    world, one, two = pair(seed, delay_s=0.4 * RACE_S)
    # Stamps are reserved by an earlier handshake, so that both initiations leave at once.
    wanting(world)
    world.run(20.0)
    completed = total(world, "completed")
    one.forwarder.restart()
    two.forwarder.restart()
    one.apply(peers(one).restarted(one.forwarder.boot, world.now))
    two.apply(peers(two).restarted(two.forwarder.boot, world.now))
    wanting(world)
    assert world.run(15.0, world.matching)
    world.run(30.0)
    assert world.matching() and total(world, "completed") - completed == 1


def peers(host: Host) -> Peers:
    assert host.peers is not None
    return host.peers


@pytest.mark.parametrize("seed", range(20))
def test_both_begin_at_the_same_instant(seed: int) -> None:
    check_race(seed)


@pytest.mark.parametrize("seed", range(10))
def test_a_restarted_forwarder_is_back_within_two_seconds(seed: int) -> None:
    world, one, two = talking(seed, delay_s=0.1)
    (one, two)[seed % 2].restart_forwarder()
    assert world.run(2.0, world.matching)


@pytest.mark.parametrize("seed", range(10))
def test_both_forwarders_restarted_at_once_are_back_within_two_seconds(seed: int) -> None:
    world, one, two = talking(seed, delay_s=0.1)
    one.restart_forwarder()
    two.restart_forwarder()
    assert world.run(2.0, world.matching)


@pytest.mark.parametrize("seed", range(20))
def test_sessions_are_made_again_when_only_one_end_s_initiations_come_through(seed: int) -> None:
    world, one, two = talking(seed)
    world.beginner = seed % 2
    for host in (one, two):
        host.restart_forwarder()
        assert world.run(AGREED_S, world.matching)


@pytest.mark.parametrize("seed", range(10))
def test_a_restarted_daemon_interrupts_nothing(seed: int) -> None:
    world, one, two = talking(seed)
    host = (one, two)[seed % 2]
    waited, installs = total(world, "waited"), total(world, "installs")
    host.kill_daemon()
    world.run(60.0)
    host.start_daemon()
    world.run(100.0)
    assert world.matching() and total(world, "waited") == waited
    assert total(world, "installs") - installs <= 4, "one change of keys by age, one by adoption"


@pytest.mark.parametrize("seed", range(10))
def test_a_host_that_forgot_everything_is_found_again(seed: int) -> None:
    world, one, two = talking(seed, delay_s=0.1)
    lost, other = (one, two) if seed % 2 else (two, one)
    lost.talk(other, 0.0)
    lost.kill_daemon()
    lost.forwarder.restart()
    lost.start_daemon()
    # It says nothing by itself, and gossip neither: the other end notices 15 s of silence.
    assert world.run(20.0, world.matching)


@pytest.mark.parametrize("sender", [0, 1])
def test_one_way_traffic_outlives_its_keys(sender: int) -> None:
    world, one, two = pair(3)
    if sender:
        one, two = two, one
    # The receiving end makes the first session, so that it is the one that has to change keys.
    two.forwarder.send_frame(one.identity)
    world.run(2.0)
    one.talk(two, 0.5)
    world.run(30.0)
    waited, got = one.forwarder.waited, two.forwarder.got
    world.run(600.0)
    assert world.matching() and one.forwarder.waited == waited and two.forwarder.got - got > 1000


def test_silence_makes_no_handshakes() -> None:
    world, one, two = pair(4)
    one.forwarder.send_frame(two.identity)
    world.run(30.0)
    assert world.matching()
    first = one.forwarder.current(two.identity)
    world.run(140.0)
    assert one.forwarder.current(two.identity) is first
    world.run(60.0)
    assert one.forwarder.current(two.identity) is two.forwarder.current(one.identity) is None
    assert peers(one).next_timer() is None and peers(two).next_timer() is None


@pytest.mark.parametrize("offset", [YEARS_10_NS, -YEARS_10_NS])
@pytest.mark.parametrize("restarted", ["neither", "the one", "the other", "both"])
def test_a_clock_that_jumps_by_years_and_back_stops_no_handshake(offset: int, restarted: str) -> None:
    world, one, two = talking(5)
    one.clock_offset_ns = offset
    for clock in (offset, 0):
        one.clock_offset_ns = clock
        for host, name in ((one, "the one"), (two, "the other")):
            if restarted in (name, "both"):
                host.kill_daemon()
                host.start_daemon()
        world.run(5.0)
        one.restart_forwarder()
        assert world.run(10.0, world.matching)
        two.restart_forwarder()
        assert world.run(10.0, world.matching)
    world.run(300.0)
    assert world.matching()


@pytest.mark.parametrize("seed", range(10))
def test_a_handshake_finds_its_way_to_forwarders_that_ask_for_cookies(seed: int) -> None:
    world, one, two = pair(seed)
    one.forwarder.loaded = two.forwarder.loaded = True
    one.talk(two, 0.5)
    two.talk(one, 0.5)
    assert world.run(4.0, world.matching)


@pytest.mark.parametrize("seed", range(10))
def test_a_changed_static_key_loses_no_frame(seed: int) -> None:
    world, one, two = talking(seed)
    waited = total(world, "waited")
    missing = total(world, "sent") - total(world, "got")
    first = one.forwarder.current(two.identity)
    one.rotate_static()
    world.run(200.0)
    assert world.matching() and one.forwarder.current(two.identity) is not first
    assert total(world, "waited") == waited
    assert abs(total(world, "sent") - total(world, "got") - missing) <= 2
