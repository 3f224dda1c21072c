"""The talker's command line, and the message it forges."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.lab import talk


def test_every_verb_parses() -> None:
    for line in (
        "listen udp 10.0.0.1 5 --count 2 --seconds 3 --group 239.1.1.1",
        "send tcp fd00::1 5 00ff --from fd00::2 --times 3",
        "raw 10.0.0.1 6799 6799 00ff",
        "echo 10.0.0.1 5",
        "pingpong 10.0.0.1 5 0.5 64",
        "unreachable 10.0.0.1 3 10.0.0.1 6799 10.0.0.2 6799",
    ):
        chosen = talk.parser().parse_args(line.split())
        assert chosen.act is getattr(talk, line.split()[0])


def test_the_forged_icmp_is_a_valid_port_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[bytes, tuple[str, int]]] = []

    class Raw:
        def __init__(self, *_: object) -> None: ...
        def __enter__(self) -> Raw:
            return self

        def __exit__(self, *_: object) -> None: ...
        def sendto(self, data: bytes, to: tuple[str, int]) -> None:
            sent.append((data, to))

    monkeypatch.setattr(socket, "socket", Raw)
    words: Any = talk.parser().parse_args(["unreachable", "10.0.0.1", "3", "10.0.0.1", "6799", "10.0.0.2", "6800"])
    talk.unreachable(words)
    [(data, to)] = sent
    assert to == ("10.0.0.1", 0)
    assert data[:2] == b"\x03\x03"
    total = sum(int.from_bytes(data[at : at + 2], "big") for at in range(0, len(data), 2))
    assert (total & 0xFFFF) + (total >> 16) == 0xFFFF  # RFC 1071: a right checksum sums to all ones
    assert data[8 + 9] == socket.IPPROTO_UDP
    assert data[20:28] == bytes([10, 0, 0, 1, 10, 0, 0, 2])
    assert data[28:32] == (6799).to_bytes(2, "big") + (6800).to_bytes(2, "big")
