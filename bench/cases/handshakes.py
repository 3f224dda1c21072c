"""How many handshakes one core makes in a second: the messages alone, and with the decisions about peers around them.

`both ends` is a whole handshake of crypto/handshake.py, initiator and responder one after the other in one process;
`initiator` and `responder` are their shares. `peers` is a whole one between two `Peers` of meshnetd, which
decide whom to answer and which keys go to the forwarder: what meshnetd does, without its sockets. It needs no root.
"""

from __future__ import annotations

import os
import random
import statistics
import time
from collections.abc import Callable

from bench.machine import steal_ticks
from bench.run import Table, say
from crypto import tai64n
from crypto.handshake import WIRE_VERSION, Choice, Initiation, Local, Offer, initiate, read_initiation
from crypto.keyring import Keyring
from crypto.keys import StaticKey
from crypto.primitives import Suite
from crypto.secret import MeshSecret
from meshnet.boundary import Address
from meshnet.control.handshakes.peer_output import InstallSession, Output, ReserveStamps, SendDatagram
from meshnet.control.handshakes.peers import Peers

UNITS = {
    "both ends": "handshakes/s",
    "initiator": "handshakes/s",
    "responder": "handshakes/s",
    "peers": "handshakes/s, both ends",
}
SUITES = tuple(Suite)
MESH, BOOT = b"bench of meshnet", b"bootbyte"
RECORD = 64_000
CHOICE = Choice(BOOT, WIRE_VERSION, 31, RECORD)
APART_S = 200.0  # between two handshakes of the same peers: no bound on their number is met
IDS = (b"a" * 32, b"b" * 32)
ADDRESSES: tuple[Address, Address] = (("192.0.2.1", 6799), ("192.0.2.2", 6799))


def measure(rounds: int, seconds: float) -> Table:
    """Every suite, `rounds` times for about `seconds` each."""
    table = Table("memory", 0.0, samples={suite.value: {} for suite in SUITES}, settings={s.value: {} for s in SUITES})
    before = steal_ticks()
    for number in range(rounds):
        for suite in SUITES:
            figures = messages(suite, seconds / 2) | {"peers": per_second(decisions(suite), seconds / 2)}
            for figure, value in figures.items():
                table.samples[suite.value].setdefault(figure, []).append(value)
            say(f"round {number + 1}/{rounds} {suite.value}: " + ", ".join(f"{k} {v:.0f}" for k, v in figures.items()))
    table.steal_percent = steal_ticks().percent_since(before)
    return table


def ends(suite: Suite) -> tuple[Local, Local]:
    """Two members of one mesh."""
    ring = Keyring(MeshSecret(0, bytes(32)))
    one, other = (Local(MESH, suite, ring, StaticKey.generate(os.urandom)) for _ in range(2))
    return one, other


def per_second(step: Callable[[], object], seconds: float) -> float:
    """How often `step` ran per second."""
    count, begun = 0, time.perf_counter()
    while (passed := time.perf_counter() - begun) < seconds:
        step()
        count += 1
    return count / passed


def messages(suite: Suite, seconds: float) -> dict[str, float]:
    """Handshakes of the messages alone, and what each end could make by itself."""
    one, other = ends(suite)
    times: tuple[list[float], list[float]] = [], []
    begun = time.perf_counter()
    while time.perf_counter() - begun < seconds:
        offer = Offer(tai64n.stamp(time.time_ns()), BOOT, 1, WIRE_VERSION, 31, RECORD)
        marks = [time.perf_counter()]
        pending: Initiation = initiate(one, other.static.public, 7, offer, os.urandom)
        marks.append(time.perf_counter())
        answer, _ = read_initiation(other, pending.datagram).answer(8, CHOICE, os.urandom)
        marks.append(time.perf_counter())
        pending.finish(answer)
        marks.append(time.perf_counter())
        times[0].append(marks[1] - marks[0] + marks[3] - marks[2])
        times[1].append(marks[2] - marks[1])
    initiator, responder = (statistics.median(values) for values in times)
    return {"both ends": 1 / (initiator + responder), "initiator": 1 / initiator, "responder": 1 / responder}


def decisions(suite: Suite) -> Callable[[], object]:
    """One handshake between two hosts' `Peers`; time passes between two of them, as on their clock."""
    locals_ = ends(suite)
    now = 1000.0
    hosts = [
        Peers(
            local,
            BOOT,
            entropy=os.urandom,
            rng=random.Random(number),
            wall_ns=lambda: int((now + 1.7e9) * 1e9),
            features=31,
            largest_record=RECORD,
            reserved=b"",
        )
        for number, local in enumerate(locals_)
    ]

    def carry(source: int, outputs: list[Output]) -> int:
        """Bring what one host sends to the other until both are silent; how many sessions were installed."""
        installed = 0
        for output in outputs:
            if isinstance(output, SendDatagram):
                other = 1 - source
                installed += carry(other, hosts[other].receive(ADDRESSES[source], output.data, now))
            elif isinstance(output, ReserveStamps):
                installed += carry(source, hosts[source].stamps_reserved(output.until, now))
            installed += isinstance(output, InstallSession)
        return installed

    def step() -> None:
        nonlocal now
        now += APART_S
        for number, host in enumerate(hosts):
            other = 1 - number
            host.forget(IDS[other])
            host.know(IDS[other], locals_[other].static.public, [ADDRESSES[other]], (), now)
        now += 1.0  # an initiation from before a peer was known does not count
        if carry(0, hosts[0].wanted(IDS[1], now)) != 2:
            raise ValueError("a handshake did not make one session at each end")

    return step
