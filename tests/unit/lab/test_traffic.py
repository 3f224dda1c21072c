"""Reading what iperf3, ping and the listeners print."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.lab.errors import LabError
from tests.lab.traffic import PingCount, Rate, heard, listening, ping_count, rate_of

LOAD = {"cpu_utilization_percent": {"host_total": 50.0}}


def report(protocol: str, end: dict[str, Any]) -> dict[str, Any]:
    return {"start": {"test_start": {"protocol": protocol, "blksize": 64}}, "end": {**LOAD, **end}}


def test_tcp_counts_what_the_receiver_got() -> None:
    end = {
        "sum_sent": {"bits_per_second": 9e9, "retransmits": 7},
        "sum_received": {"bits_per_second": 8e9},
    }
    assert rate_of(report("TCP", end)) == Rate(8e9, retransmits=7, cpu=50.0)


def test_udp_counts_what_was_not_lost() -> None:
    end = {"sum": {"packets": 1000, "lost_packets": 250, "seconds": 2.0}}
    rate = rate_of(report("UDP", end))
    assert (rate.packets_per_second, rate.lost, rate.bits_per_second) == (375.0, 0.25, 375 * 64 * 8)


def test_an_error_of_iperf3_is_said() -> None:
    with pytest.raises(LabError, match="iperf3: unable to connect"):
        rate_of({"error": "unable to connect"})


def test_ping_counts() -> None:
    said = "--- 10.32.0.2 ping statistics ---\n40 packets transmitted, 39 received, 2.5% packet loss, time 1ms\n"
    assert ping_count(said) == PingCount(40, 39)
    with pytest.raises(LabError, match="no summary"):
        ping_count("ping: unknown host")


def test_listeners_print_source_and_payload() -> None:
    child: Any = SimpleNamespace(output=lambda: "ready\n10.32.0.1 6869\n10.32.0.2 \n")
    assert [(one.source, one.payload) for one in heard(child)] == [("10.32.0.1", b"hi"), ("10.32.0.2", b"")]


def test_a_listening_socket_is_seen() -> None:
    me = int(Path("/proc/self").readlink().name)
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
        assert listening(me, port)
    assert not listening(me, port)
