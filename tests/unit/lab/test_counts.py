"""The kernel's counters as the lab reads them."""

from __future__ import annotations

import os

import pytest

from tests.lab.counts import snmp
from tests.lab.errors import LabError
from tests.lab.memory import resident

TEXT = "Ip: Forwarding InReceives\nIp: 1 42\nIcmp: InMsgs InEchos\nIcmp: 5 3\n"


def test_a_counter_is_found_by_group_and_name() -> None:
    assert (snmp(TEXT, "Ip", "InReceives"), snmp(TEXT, "Icmp", "InEchos")) == (42, 3)
    for group, name in (("Ip", "InEchos"), ("Udp", "InDatagrams")):
        with pytest.raises(LabError):
            snmp(TEXT, group, name)


def test_a_process_has_memory() -> None:
    assert 1 << 20 < resident(os.getpid()) < 1 << 36
