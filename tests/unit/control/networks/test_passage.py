"""Rules are brought up at once, looked after, and taken away only when the mesh is stopped."""

from __future__ import annotations

import asyncio

import pytest

from meshnet.control.networks import passage as module
from meshnet.control.networks.passage import Passage
from meshnet.host.errors import HostError
from meshnet.host.memory import MemoryFirewall
from tests.unit.forwarder.fakes import until


def in_force(firewall: MemoryFirewall) -> bool:
    return firewall.passing is not None or bool(firewall.masked)


REFUSED = HostError("cannot masquerade", "there is no command nft", "install nftables")


async def test_a_flushed_rule_is_back_within_one_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.001)
    firewall = MemoryFirewall()
    passage = Passage(firewall)
    await passage.start(["10.77.0.0/16"])
    assert (firewall.passing, firewall.masked) == ("bridged and routed", ["10.77.0.0/16"])
    await firewall.remove()
    await until(lambda: firewall.passing is not None and bool(firewall.masked))
    passage.close()
    assert in_force(firewall), "meshnetd's own end leaves the rules: the forwarder goes on"
    await passage.remove()
    assert not in_force(firewall)


async def test_what_is_masqueraded_changes_and_a_refusal_changes_nothing() -> None:
    firewall = MemoryFirewall()
    passage = Passage(firewall)
    await passage.start()
    assert firewall.passing == "bridged"
    await passage.masquerade(["10.77.0.0/16"])
    assert firewall.passing == "bridged and routed"
    firewall.error = REFUSED
    with pytest.raises(HostError):
        await passage.masquerade([])
    assert passage._pools == ["10.77.0.0/16"]
    await passage.remove()
    firewall.error = None
    assert firewall.masked == ["10.77.0.0/16"] and passage.notes() == []


async def test_a_host_without_a_packet_filter_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHECK_S", 0.001)
    firewall = MemoryFirewall()
    firewall.error = REFUSED
    passage = Passage(firewall)
    await passage.start(["10.77.0.0/16"])
    firewall.error = None
    await until(lambda: firewall.checks > 1)
    passage.close()
    passage.close()
    await asyncio.sleep(0)
