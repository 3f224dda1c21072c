"""Handshakes joined to forwarder, clock and routes: facts in, verbs out in their order, one timer, path MTUs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from crypto import lifetime
from meshnet.boundary import (
    Address,
    Counters,
    DropPeer,
    DropSession,
    Fact,
    Handshake,
    Hello,
    InstallSession,
    Moved,
    Progress,
    ProgressRow,
    SendDatagram,
    SessionEnded,
    SessionRow,
    SetPath,
    Trouble,
    Wanted,
)
from meshnet.control.handshakes import paths
from meshnet.control.handshakes.paths import SMALLEST_MTU
from meshnet.control.handshakes.sessions import LARGEST_RECORD, SessionFacts, parse_address
from meshnet.host.errors import HostError
from tests.unit.control.handshaking import AT_LARGE, AT_SMALL, LARGE, LARGE_ID, SMALL, SMALL_ID, STRANGER
from tests.unit.control.session_hosts import (
    AT_STRANGER,
    BOOT,
    NEW_BOOT,
    ROUTE_MTU,
    STRANGER_ID,
    Host,
    Pair,
    turns,
)
from tests.unit.forwarder.fakes import until


@pytest.fixture
def hosts() -> Iterator[list[Host]]:
    made: list[Host] = []
    yield made
    for host in made:
        host.sessions.close()


@pytest.fixture
async def pair(hosts: list[Host]) -> Pair:
    made = Pair()
    hosts += made.hosts
    return made


@pytest.fixture
async def lone(hosts: list[Host]) -> Host:
    """A host that has begun and knows nobody."""
    host = Host(SMALL_ID, SMALL, AT_SMALL)
    hosts.append(host)
    host.start()
    return host


def progress(index: int, *, received: int = 1, received_age: float = 0.0) -> Progress:
    return Progress(sessions=[ProgressRow(index, 1, received, 100, 100, 0.0, received_age)])


# What gossip says


@pytest.mark.parametrize(
    ("text", "address"),
    [("192.0.2.1:6799", ("192.0.2.1", 6799)), ("[2001:db8::1]:1", ("2001:db8::1", 1)), ("h:65535", ("h", 65535))],
)
def test_an_address_is_host_and_port(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", "192.0.2.1", ":1", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "a:b", "a:-1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_address(text)


async def test_bad_addresses_of_a_peer_are_passed_over(lone: Host) -> None:
    lone.sessions.know(LARGE_ID, LARGE.public, ["nonsense", "192.0.2.9:0", "192.0.2.2:6799"], BOOT)
    lone.sessions.fact(Wanted(peer=LARGE_ID))
    assert lone.the(SendDatagram).address == AT_LARGE


async def test_this_host_itself_is_no_peer(lone: Host) -> None:
    lone.sessions.know(SMALL_ID, SMALL.public, ["192.0.2.1:6799"], BOOT)
    lone.sessions.fact(Wanted(peer=SMALL_ID))
    assert not lone.take()


async def test_who_was_known_before_the_start_is_tried_after_it(hosts: list[Host]) -> None:
    host = Host(SMALL_ID, SMALL, AT_SMALL)
    hosts.append(host)
    host.sessions.know(LARGE_ID, LARGE.public, ["192.0.2.2:6799"], BOOT)
    host.sessions.fact(Wanted(peer=LARGE_ID))
    assert not host.take()
    assert host.sessions.describe(LARGE_ID) == SessionFacts("idle", None, None, None)
    host.start()
    host.sessions.fact(Wanted(peer=LARGE_ID))
    assert host.the(SendDatagram).address == AT_LARGE


async def test_a_peer_that_left_loses_its_sessions_and_is_dropped(pair: Pair) -> None:
    ours, _ = await pair.settled()
    pair.small.sessions.forget(LARGE_ID)
    assert pair.small.take() == [DropSession(index=ours.index), DropPeer(peer=LARGE_ID)]
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    assert not pair.small.take()


async def test_a_peer_with_a_new_forwarder_is_tried_at_once(pair: Pair) -> None:
    await pair.settled()
    pair.small.now += 10.0
    pair.small.know(pair.large)
    assert not pair.small.take(), "the same boot id is no occasion"
    pair.small.know(pair.large, NEW_BOOT)
    assert pair.small.the(SendDatagram).address == AT_LARGE


# A handshake


async def test_two_ends_come_to_one_session(pair: Pair) -> None:
    ours, theirs = pair.shake()
    assert (ours.peer, theirs.peer) == (LARGE_ID, SMALL_ID)
    assert (ours.index, ours.remote_index) == (theirs.remote_index, theirs.index)
    assert (ours.send_key, ours.receive_key) == (theirs.receive_key, theirs.send_key)
    assert ours.send_key != ours.receive_key
    assert (ours.initiator, theirs.initiator) == (True, False)
    assert (ours.address, theirs.address) == (AT_LARGE, AT_SMALL)
    assert (ours.features, theirs.features) == (4, 31), "each end is told what the other's TAP takes"
    assert ours.largest_record == theirs.largest_record == LARGEST_RECORD


async def test_the_session_is_installed_before_the_response_is_sent(pair: Pair) -> None:
    pair.shake()
    assert pair.large.supervisor.kinds() == ["InstallSession", "SendDatagram"]
    assert pair.small.supervisor.kinds() == ["SendDatagram", "InstallSession"]


async def test_both_begin_and_still_come_to_one_session(pair: Pair) -> None:
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    pair.large.sessions.fact(Wanted(peer=SMALL_ID))
    pair.carry()
    ours, theirs = pair.small.the(InstallSession), pair.large.the(InstallSession)
    assert (ours.index, ours.send_key) == (theirs.remote_index, theirs.receive_key)


async def test_what_is_no_handshake_is_counted_and_changes_nothing(lone: Host) -> None:
    lone.sessions.fact(Handshake(address=AT_LARGE, data=b"\1" * 40))
    lone.sessions.fact(Handshake(address=AT_LARGE, data=b""))
    assert not lone.take()
    assert lone.sessions.counters_of_handshakes.total() == 2


# Facts of a session


async def test_a_session_that_ended_leaves_room_for_the_next(pair: Pair) -> None:
    ours, _ = await pair.settled()
    pair.small.now += 1.0
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    assert not pair.small.take(), "the wish crossed the session"
    pair.small.sessions.fact(SessionEnded(index=ours.index, reason="its key expired"))
    assert pair.small.sessions.describe(LARGE_ID).state == "idle"
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    assert pair.small.the(SendDatagram)


async def test_progress_of_an_old_key_makes_the_next(pair: Pair) -> None:
    ours, _ = await pair.settled()
    pair.small.now += lifetime.REKEY_AFTER_TIME_S - 1.0
    pair.small.sessions.fact(progress(ours.index))
    assert not pair.small.take()
    pair.small.now += 1.0
    pair.small.sessions.fact(progress(ours.index))
    assert pair.small.the(SendDatagram)


async def test_a_peer_that_moved_has_a_new_path_and_is_tried_there(pair: Pair) -> None:
    ours, _ = await pair.settled()
    pair.small.netlink.mtus["192.0.2.77"] = 1300
    pair.small.sessions.fact(Moved(peer=LARGE_ID, address=("192.0.2.77", 7)))
    await until(lambda: len(pair.small.supervisor.all(SetPath)) == 2)
    assert pair.small.take() == [
        SetPath(peer=LARGE_ID, address=("192.0.2.77", 7), mtu=SMALLEST_MTU),
        SetPath(peer=LARGE_ID, address=("192.0.2.77", 7), mtu=1300),
    ]
    assert pair.small.sessions.describe(LARGE_ID).address == ("192.0.2.77", 7)
    pair.small.sessions.fact(SessionEnded(index=ours.index, reason="its key expired"))
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    assert pair.small.the(SendDatagram).address == ("192.0.2.77", 7)


@pytest.mark.parametrize(
    "fact",
    [
        Progress(sessions=[ProgressRow(77, 1, 1, 1, 1, 0.0, 0.0)]),
        SessionEnded(index=77, reason="its key expired"),
        Counters(request=77, drops={}, peers=[]),
        Trouble(what="a socket is full"),
        Wanted(peer=STRANGER_ID),
        Hello(1, bytes(16), SMALL_ID, BOOT, 1, [], [], []),
    ],
)
async def test_a_fact_about_nothing_we_know_changes_nothing(lone: Host, fact: Fact) -> None:
    lone.sessions.fact(fact)
    assert not lone.take()


async def test_trouble_is_in_the_log(lone: Host, caplog: pytest.LogCaptureFixture) -> None:
    lone.sessions.fact(Trouble(what="a socket is full"))
    assert "a socket is full" in caplog.text


# Path MTU


async def test_the_smallest_mtu_serves_until_the_route_says_its_own(pair: Pair) -> None:
    ours, _ = pair.shake()
    assert ours.mtu == SMALLEST_MTU
    await until(lambda: bool(pair.small.supervisor.all(SetPath)))
    assert pair.small.the(SetPath) == SetPath(peer=LARGE_ID, address=AT_LARGE, mtu=ROUTE_MTU)
    assert pair.small.supervisor.kinds() == ["SendDatagram", "InstallSession", "SetPath"]


async def test_a_known_mtu_serves_the_next_session_at_once(pair: Pair) -> None:
    ours, _ = await pair.settled()
    for host in pair.hosts:
        host.now += 10.0
    pair.small.sessions.fact(SessionEnded(index=ours.index, reason="its key expired"))
    again, _ = pair.shake()
    await turns()
    assert again.mtu == ROUTE_MTU
    assert not pair.small.supervisor.all(SetPath), "nothing new to say"


async def test_the_operators_mtu_wins(hosts: list[Host]) -> None:
    pair = Pair(underlay_mtu=1350)
    hosts += pair.hosts
    ours, theirs = pair.shake()
    pair.small.sessions.fact(Moved(peer=LARGE_ID, address=AT_STRANGER))
    await turns()
    assert ours.mtu == theirs.mtu == 1350
    assert pair.small.the(SetPath).mtu == 1350


async def test_without_a_route_the_smallest_mtu_stays(pair: Pair) -> None:
    pair.small.netlink.fail_next("route_mtu", HostError("no route", "ENETUNREACH", "add a route"))
    ours, _ = pair.shake()
    await turns()
    assert ours.mtu == SMALLEST_MTU
    assert not pair.small.supervisor.all(SetPath)


async def test_a_route_that_changes_is_noticed(hosts: list[Host], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "ROUTES_S", 0.005)
    pair = Pair()
    hosts += pair.hosts
    await pair.settled()
    pair.small.netlink.mtus[AT_LARGE[0]] = 1390
    await until(lambda: bool(pair.small.supervisor.all(SetPath)))
    assert pair.small.take()[-1] == SetPath(peer=LARGE_ID, address=AT_LARGE, mtu=1390)


async def test_every_peer_behind_one_address_hears_of_its_mtu(lone: Host) -> None:
    """Two peers behind one NAT differ in their port alone; both sessions began with the smallest MTU."""
    addresses = {LARGE_ID: ("192.0.2.2", 1), STRANGER_ID: ("192.0.2.2", 2)}
    lone.netlink.mtus["192.0.2.2"] = ROUTE_MTU
    for peer, static in ((LARGE_ID, LARGE), (STRANGER_ID, STRANGER)):
        lone.sessions.know(peer, static.public, [], BOOT)
        lone.sessions.fact(Moved(peer=peer, address=addresses[peer]))
    await turns()
    last = {verb.peer: (verb.address, verb.mtu) for verb in lone.supervisor.all(SetPath)}
    assert last == {peer: (address, ROUTE_MTU) for peer, address in addresses.items()}


# Forwarders that come and go


async def test_a_new_forwarder_makes_every_session_anew(pair: Pair) -> None:
    await pair.settled()
    pair.small.now += 30.0
    pair.small.sessions.forwarder_is_fresh(NEW_BOOT)
    assert pair.small.supervisor.kinds() == ["SetHandshakeKeys", "SetCookieSecrets", "SendDatagram"]
    assert pair.small.sessions.forwarder_since == pair.small.now
    pair.carry()
    ours, theirs = pair.small.the(InstallSession), pair.large.the(InstallSession)
    assert (ours.index, ours.send_key) == (theirs.remote_index, theirs.receive_key)
    assert ours.mtu == ROUTE_MTU


async def test_sessions_of_an_adopted_forwarder_go_on_and_those_of_strangers_end(hosts: list[Host]) -> None:
    host = Host(SMALL_ID, SMALL, AT_SMALL)
    hosts.append(host)
    host.sessions.know(LARGE_ID, LARGE.public, ["192.0.2.2:6799"], BOOT)
    rows = [
        SessionRow(7, LARGE_ID, 30.0, True, True, AT_LARGE),
        SessionRow(8, STRANGER_ID, 30.0, True, True, AT_STRANGER),
    ]
    host.start(BOOT, rows)
    assert host.take() == [DropSession(index=8)]
    host.sessions.fact(progress(7, received_age=2.0))
    assert host.sessions.describe(LARGE_ID) == SessionFacts("up", 30.0, 2.0, AT_LARGE)
    assert host.sessions.describe(STRANGER_ID).state == "idle"


# What is known


async def test_a_peer_is_described_from_idle_to_up(pair: Pair) -> None:
    describe = pair.small.sessions.describe
    assert describe(LARGE_ID) == SessionFacts("idle", None, None, None)
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    assert describe(LARGE_ID) == SessionFacts("connecting", None, None, None)
    pair.carry()
    pair.small.now += 3.0
    assert describe(LARGE_ID) == SessionFacts("up", 3.0, None, AT_LARGE)
    pair.small.sessions.fact(progress(pair.small.the(InstallSession).index, received_age=1.25))
    assert describe(LARGE_ID).last_receive_s == 1.25


async def test_the_responders_session_is_up_once_a_record_arrived(pair: Pair) -> None:
    _, theirs = await pair.settled()
    assert pair.large.sessions.describe(SMALL_ID).state != "up"
    pair.large.sessions.fact(progress(theirs.index))
    assert pair.large.sessions.describe(SMALL_ID).state == "up"


async def test_the_last_receipt_counts_whatever_the_order_of_the_sessions(hosts: list[Host]) -> None:
    host = Host(SMALL_ID, SMALL, AT_SMALL)
    hosts.append(host)
    host.sessions.know(LARGE_ID, LARGE.public, ["192.0.2.2:6799"], BOOT)
    rows = [SessionRow(n, LARGE_ID, age, True, n == 2, AT_LARGE) for n, age in ((1, 60.0), (2, 5.0))]
    host.start(BOOT, rows)
    ages = {2: 0.5, 1: 9.0}
    host.sessions.fact(Progress(sessions=[ProgressRow(n, 1, 1, 1, 1, 0.0, age) for n, age in ages.items()]))
    assert host.sessions.describe(LARGE_ID).last_receive_s == 0.5


# The one timer


async def test_an_initiation_is_repeated_until_it_is_answered(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifetime, "retry_delay", lambda attempts, jitter: 0.005)
    loop = asyncio.get_running_loop()
    offset = pair.small.now - loop.time()
    monkeypatch.setattr(pair.small.sessions, "_clock", lambda: loop.time() + offset)
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    await until(lambda: len(pair.small.supervisor.all(SendDatagram)) >= 3)
    sent = pair.small.supervisor.all(SendDatagram)
    assert len({verb.data for verb in sent}) == len(sent), "each try is a new initiation"
    pair.carry()
    assert pair.small.the(InstallSession)


async def test_the_timer_is_armed_anew_by_whatever_happens(pair: Pair) -> None:
    pair.small.sessions.fact(Wanted(peer=LARGE_ID))
    await turns()
    assert len(pair.small.take()) == 1, "the retry is not due yet"
    pair.small.now += 2.0
    pair.small.sessions.fact(Progress(sessions=[]))
    await until(lambda: bool(pair.small.supervisor.all(SendDatagram)))
    assert pair.small.supervisor.kinds() == ["SendDatagram"]


async def test_a_key_that_expires_is_dropped(pair: Pair) -> None:
    ours, _ = await pair.settled()
    pair.small.now += lifetime.REJECT_AFTER_TIME_S
    pair.small.sessions.fact(Progress(sessions=[]))
    await until(lambda: bool(pair.small.supervisor.sent))
    assert pair.small.take() == [DropSession(index=ours.index)]


async def test_closing_ends_timer_and_tasks_and_no_session(pair: Pair) -> None:
    await pair.settled()
    pair.small.sessions.fact(Moved(peer=LARGE_ID, address=AT_STRANGER))
    pair.small.take()
    for host in pair.hosts:
        host.sessions.close()
        host.now += 1000.0
    await turns()
    assert not pair.small.take()
    assert asyncio.all_tasks() == {asyncio.current_task()}
