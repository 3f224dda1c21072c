"""Fixtures of the control package's tests that run real links."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from gossip import limits
from tests.unit.control.loopback import Mesh, poll


@pytest.fixture
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The core's paces, made short: these tests run in real time."""
    paces = {
        "HEARTBEAT_S": 0.2,
        "SILENCE_S": 2.0,
        "DIGEST_S": 0.1,
        "FIRST_DIAL_S": 0.02,
        "MAX_DIAL_S": 0.1,
        "LINKS_PACE_S": 0.02,
        "REACH_PACE_S": 0.01,
        "RENEW_PACE_S": 0.05,
    }
    for name, value in paces.items():
        monkeypatch.setattr(limits, name, value)


@pytest.fixture
async def mesh(brisk: None) -> AsyncIterator[Mesh]:
    mesh = Mesh()
    yield mesh
    for peer in mesh.running:
        peer.links._closed = True  # asyncio loses a connection that arrives in the very turn its server closes
    await poll(lambda: not any(peer.links._dialing for peer in mesh.running))
    for peer in mesh.running:
        await peer.stop()
    for _ in range(20):  # what was accepted last is closed, and closed transports finish, in the next turns
        turn = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(turn.set_result, None)
        await turn
