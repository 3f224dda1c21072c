"""What became of a flow of pings is read from what ping wrote."""

from __future__ import annotations

import pytest

from tests.lab.errors import LabError
from tests.lab.flow import answers_in, outcome_of

TEXT = """PING 10.32.0.1 (10.32.0.1) 56(84) bytes of data.
[1000.100000] 64 bytes from 10.32.0.1: icmp_seq=1 ttl=64 time=0.500 ms
[1000.200000] 64 bytes from 10.32.0.1: icmp_seq=2 ttl=64 time=2.50 ms
[1001.700000] 64 bytes from 10.32.0.1: icmp_seq=4 ttl=64 time=0.700 ms

--- 10.32.0.1 ping statistics ---
4 packets transmitted, 3 received, 25% packet loss, time 1600ms
"""


def test_answers_gaps_and_round_trips() -> None:
    assert answers_in(TEXT)[0] == (1000.1, 0.5)
    outcome = outcome_of(TEXT)
    assert (outcome.sent, outcome.received, outcome.lost) == (4, 3, 0.25)
    assert outcome.longest_gap_s == pytest.approx(1.5)
    assert (outcome.p50_ms, outcome.p99_ms) == (0.7, 2.5)


def test_a_flow_without_an_answer_or_a_summary() -> None:
    assert outcome_of("3 packets transmitted, 0 received").lost == 1.0
    with pytest.raises(LabError):
        outcome_of("")
