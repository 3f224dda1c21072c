"""Traffic between two namespaces of the lab, with its outcome as data.

Rule: what arrived is what counts, so every figure is the receiver's. Servers are waited for until the kernel
lists their listening socket; nothing sleeps.

Flow: `deliver` carries one message and says what the listeners heard; `iperf` gives a `Rate`;
`ping_count` counts; `pingpong` gives half round trips. The programs are talk.py, iperf3(1) and ping(8).
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.errors import LabError
from tests.lab.namespace import Child, Namespace
from tests.lab.poll import poll

TALK = [sys.executable, "-I", str(Path(__file__).with_name("talk.py"))]
IPERF_PORT = 5201
ECHO_PORT = 5301
MESSAGE_PORT = 5401
TCP_LISTEN = "0A"


@dataclass(frozen=True)
class Rate:
    """What one iperf3 run delivered. `bits_per_second` and `packets_per_second` are the receiver's (the
    latter of UDP only), `lost` the fraction of UDP packets that did not arrive, `cpu` iperf3's own load in
    percent of a core."""

    bits_per_second: float
    packets_per_second: float = 0.0
    lost: float = 0.0
    retransmits: int = 0
    cpu: float = 0.0


def listening(pid: int, port: int) -> bool:
    """Whether some TCP socket listens on `port` in the network namespace of process `pid`."""
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == TCP_LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                return True
    return False


def rate_of(report: dict[str, Any]) -> Rate:
    """The receiver's rate in the JSON report of an iperf3 client; `LabError` with iperf3's own words if it
    failed."""
    if "error" in report:
        raise LabError(f"iperf3: {report['error']}")
    end = report["end"]
    cpu = float(end["cpu_utilization_percent"]["host_total"])
    if report["start"]["test_start"]["protocol"] == "UDP":
        summary = end["sum"]
        arrived = summary["packets"] - summary["lost_packets"]
        seconds = summary["seconds"]
        size = report["start"]["test_start"]["blksize"]
        lost = summary["lost_packets"] / summary["packets"] if summary["packets"] else 1.0
        return Rate(arrived * size * 8 / seconds, arrived / seconds, lost, 0, cpu)
    received = end["sum_received"]["bits_per_second"]
    return Rate(float(received), retransmits=int(end["sum_sent"].get("retransmits", 0)), cpu=cpu)


def iperf(client: Namespace, server: Namespace, address: str, seconds: int, *options: str) -> Rate:
    """One iperf3 run from `client` to `address`, which is `server`'s. `options` go to the client (`-P 4`, `-u
    -b 0`)."""
    door = server.spawn(["iperf3", "-s", "-1", "-p", str(IPERF_PORT)], name="iperf3")
    try:
        poll(lambda: listening(door.pid, IPERF_PORT), 10.0, f"iperf3 server on {server.name}")
        argv = ["iperf3", "-J", "-c", address, "-p", str(IPERF_PORT), "-t", str(seconds), *options]
        # iperf3's error stands in its JSON, with exit code 1.
        return rate_of(json.loads(client.run(argv, check=False, timeout=seconds + 30).stdout))
    finally:
        door.stop()


def pingpong(client: Namespace, server: Namespace, address: str, seconds: float, size: int = 64) -> dict[str, float]:
    """TCP ping-pong; {"count", "p50_us", "p99_us"}, half round trips in microseconds."""
    door = server.spawn([*TALK, "echo", address, str(ECHO_PORT)], name="echo")
    try:
        door.wait_for("ready")
        argv = [*TALK, "pingpong", address, str(ECHO_PORT), str(seconds), str(size)]
        answer: dict[str, float] = json.loads(client.run(argv, timeout=seconds + 20).stdout)
        return answer
    finally:
        door.stop()


@dataclass(frozen=True)
class Heard:
    """One message as a listener got it: who sent it, and its bytes."""

    source: str
    payload: bytes


def heard(child: Child) -> list[Heard]:
    """What a `talk.py listen` has received so far."""
    lines = [line.split(" ") for line in child.output().splitlines() if line != "ready"]
    return [Heard(source, bytes.fromhex(payload)) for source, payload in lines]


def listen(at: Namespace, protocol: str, address: str, *, group: str = "", port: int = MESSAGE_PORT) -> Child:
    """Start a listener for one message; returns when it is bound."""
    argv = [*TALK, "listen", protocol, address, str(port), *(["--group", group] if group else [])]
    child = at.spawn(argv, name=f"listen-{protocol}")
    child.wait_for("ready")
    return child


def send(at: Namespace, protocol: str, address: str, payload: bytes, *options: str, port: int = MESSAGE_PORT) -> None:
    """Send one message (UDP: one datagram, TCP: one connection)."""
    # By stdin, because one argument of a command holds 128 KB at most.
    at.run([*TALK, "send", protocol, address, str(port), "-", *options], input=payload.hex())


def deliver(
    sender: Namespace, protocol: str, address: str, payload: bytes, listeners: Sequence[Child], *options: str
) -> list[Heard]:
    """Send `payload` to `address` until every listener has heard a message, and return what each heard first.

    UDP may lose the first datagram to a session that is only now made, so it is sent again, ≤ 10 s; a
    listener ends after one message. The caller checks source and payload.
    """

    def everywhere() -> bool:
        # Asked first: a TCP listener that just took the message is gone, and would refuse it a second time.
        if all(heard(child) for child in listeners):
            return True
        send(sender, protocol, address, payload, *options)
        return all(heard(child) for child in listeners)

    try:
        poll(everywhere, 10.0, f"{protocol} message from {sender.name} to {address} at every listener")
    finally:
        for child in listeners:
            child.stop(signal.SIGKILL)
    return [heard(child)[0] for child in listeners]


@dataclass(frozen=True)
class PingCount:
    """How many echo requests were sent and how many answers came back."""

    sent: int
    received: int


def ping_count(output: str) -> PingCount:
    """The counts in the summary that ping prints at its end."""
    found = re.search(r"(\d+) packets transmitted, (\d+)(?: packets)? received", output)
    if found is None:
        raise LabError(f"no summary from ping in {output[-500:]!r}")
    return PingCount(int(found.group(1)), int(found.group(2)))
