"""What the forwarder is told before it admits a handshake, and the stamps that are durable before they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from crypto.handshake import handshake_keys, read_initiation
from crypto.secret import MeshSecret
from meshnet.boundary import (
    DropPeer,
    Moved,
    SendDatagram,
    SessionRow,
    SetCookieSecrets,
    SetHandshakeKeys,
    SetPath,
    Wanted,
)
from meshnet.control.handshakes import sessions as module
from meshnet.control.handshakes.sessions import STAMPS_KEY, STAMPS_SPACE
from meshnet.control.store.store import StoreError
from meshnet.errors import ExitCode
from tests.unit.control.handshaking import AT_LARGE, AT_SMALL, LARGE, LARGE_ID, SMALL, SMALL_ID, STRANGER, local
from tests.unit.control.session_hosts import AT_STRANGER, BOOT, NEW_BOOT, Host, turns
from tests.unit.forwarder.fakes import until


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host(SMALL_ID, SMALL, AT_SMALL)
    made.sessions.know(LARGE_ID, LARGE.public, ["192.0.2.2:6799"], BOOT)
    yield made
    made.sessions.close()


def told(verb: SetHandshakeKeys) -> list[tuple[int, bytes, bytes]]:
    return [(row.epoch, row.mac1_key, row.cookie_key) for row in verb.keys]


# Keys and cookie secrets


async def test_a_forwarder_is_told_what_to_admit_before_anything_else(host: Host) -> None:
    held = [SessionRow(7, LARGE_ID, 150.0, True, True, AT_LARGE)]
    host.sessions.start(BOOT, held)
    assert host.supervisor.kinds()[:2] == ["SetHandshakeKeys", "SetCookieSecrets"]
    (key,) = handshake_keys(local(SMALL).keyring, [SMALL])
    assert told(host.the(SetHandshakeKeys)) == [(key.epoch, key.mac1_key, key.cookie_key)]
    first = host.the(SetCookieSecrets)
    host.take()
    host.sessions.forwarder_is_fresh(NEW_BOOT)
    assert host.supervisor.kinds()[:2] == ["SetHandshakeKeys", "SetCookieSecrets"]
    assert host.the(SetCookieSecrets) == first, "cookies that were given go on"


async def test_changed_keys_reach_the_forwarder_and_the_next_handshake(host: Host) -> None:
    host.start()
    keyring = local(SMALL).keyring.installed(MeshSecret(1, b"n" * 32)).switched()
    changed = replace(local(STRANGER), keyring=keyring, old_static=SMALL)
    host.sessions.rekeyed(changed)
    rows = told(host.the(SetHandshakeKeys))
    expected = handshake_keys(keyring, [STRANGER, SMALL])
    assert rows == [(key.epoch, key.mac1_key, key.cookie_key) for key in expected] and len(rows) == 4
    host.sessions.know(LARGE_ID, LARGE.public, ["192.0.2.2:6799"], BOOT, [keyring.current.tag()])
    host.sessions.fact(Wanted(peer=LARGE_ID))
    received = read_initiation(replace(local(LARGE), keyring=keyring), host.the(SendDatagram).data)
    assert (received.epoch, received.remote_static) == (1, STRANGER.public)


async def test_keys_that_change_before_the_start_are_those_it_starts_with(host: Host) -> None:
    host.sessions.rekeyed(local(STRANGER))
    assert not host.supervisor.sent
    host.sessions.start(BOOT, [])
    (key,) = handshake_keys(local(STRANGER).keyring, [STRANGER])
    assert told(host.the(SetHandshakeKeys)) == [(key.epoch, key.mac1_key, key.cookie_key)]


async def test_cookie_secrets_turn_and_the_last_one_still_counts(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SECRET_LIFE_S", 0.005)
    host.sessions.start(BOOT, [])
    await until(lambda: len(host.supervisor.all(SetCookieSecrets)) >= 3)
    first, second, third = host.supervisor.all(SetCookieSecrets)[:3]
    assert first.previous == b"" and second.previous == first.current and third.previous == second.current
    assert len({first.current, second.current, third.current}) == 3


# Stamps


async def test_an_initiation_leaves_once_its_stamp_is_durable(host: Host) -> None:
    host.sessions.start(BOOT, [])
    host.sessions.fact(Wanted(peer=LARGE_ID))
    assert not host.supervisor.all(SendDatagram) and not host.store.commits
    await until(lambda: bool(host.supervisor.all(SendDatagram)))
    stored = host.store.rows[STAMPS_SPACE, STAMPS_KEY]
    stamp = read_initiation(local(LARGE), host.the(SendDatagram).data).offer.stamp
    assert stored is not None and stamp <= stored


async def test_the_next_run_begins_beyond_what_was_stored(host: Host) -> None:
    host.sessions.start(BOOT, [])
    host.sessions.fact(Wanted(peer=LARGE_ID))
    await until(lambda: host.store.commits == 1)
    stored = host.store.rows[STAMPS_SPACE, STAMPS_KEY]
    again = Host(SMALL_ID, SMALL, AT_SMALL)
    again.store = host.store
    again.sessions._store = host.sessions._store
    again.know(Host(LARGE_ID, LARGE, AT_LARGE))
    again.sessions.start(BOOT, [])
    again.sessions.fact(Wanted(peer=LARGE_ID))
    await until(lambda: bool(again.supervisor.all(SendDatagram)))
    stamp = read_initiation(local(LARGE), again.the(SendDatagram).data).offer.stamp
    assert stored is not None and stored < stamp
    again.sessions.close()


async def test_a_disk_that_fails_stops_no_handshake_and_is_said(host: Host) -> None:
    notices: list[tuple[str, str, str]] = []
    host.sessions.notice = lambda what, why, fix: notices.append((what, why, fix))
    host.store.error = StoreError("the database", "no space left on device", "free some", ExitCode.FAILED)
    host.sessions.start(BOOT, [])
    host.sessions.fact(Wanted(peer=LARGE_ID))
    await until(lambda: bool(host.supervisor.all(SendDatagram)))
    ((what, why, fix),) = notices
    assert "stamps" in what and "no space left" in why and fix == "free some"


async def test_closing_ends_a_reservation(host: Host) -> None:
    host.sessions.start(BOOT, [])
    host.sessions.fact(Wanted(peer=LARGE_ID))
    host.sessions.close()
    await turns(10)
    assert not host.supervisor.all(SendDatagram)


# What is known of a peer's path


async def test_an_adopted_peer_is_where_its_session_in_use_is(host: Host) -> None:
    rows = [
        SessionRow(8, LARGE_ID, 5.0, False, False, AT_STRANGER),
        SessionRow(7, LARGE_ID, 30.0, True, True, AT_LARGE),
        SessionRow(6, LARGE_ID, 90.0, True, False, AT_STRANGER),
    ]
    host.start(BOOT, rows)
    assert host.sessions.describe(LARGE_ID).address == AT_LARGE
    assert host.sessions._paths._addresses == {LARGE_ID: AT_LARGE}


async def test_a_forgotten_peer_leaves_nothing_and_moves_nothing(host: Host) -> None:
    host.start(BOOT, [SessionRow(7, LARGE_ID, 30.0, True, True, AT_LARGE)])
    host.sessions.forget(LARGE_ID)
    assert host.supervisor.kinds() == ["DropSession", "DropPeer"] and host.the(DropPeer).peer == LARGE_ID
    host.sessions.fact(Moved(peer=LARGE_ID, address=AT_STRANGER))
    await turns()
    assert not host.supervisor.all(SetPath)
    kept = (host.sessions._known, host.sessions._received, host.sessions._of_session, host.sessions._paths._addresses)
    assert not any(kept)
