"""forwarder/switch.py: where a frame goes and who may send it. HOT PATH: once per frame in each direction."""

from __future__ import annotations

from collections.abc import Callable

from meshnet.forwarder.switch import LEARNED_PER_PEER, LOCAL, Network
from meshnet.forwarder.table import Peer

PEERS = 1000


def mac(number: int) -> bytes:
    return b"\x02" + number.to_bytes(5, "big")


def cases() -> dict[str, Callable[[], object]]:
    """A known destination, an unknown one, a learned address seen again and a new one from a peer that is full."""
    network = Network(1, "mt00000001", 1500, -1)
    peers = [Peer(number.to_bytes(32, "big")) for number in range(PEERS)]
    for number, peer in enumerate(peers):
        network.set_endpoint(mac(number), peer)
    network.set_endpoint(mac(PEERS), LOCAL)
    full = peers[0]
    for number in range(LEARNED_PER_PEER):
        network.admits(full, mac(10_000 + number), 0.0)
    known, unknown, learned = mac(PEERS // 2), mac(5_000), mac(10_000)
    port_of = network.ports.get
    return {
        "known": lambda: port_of(known),
        "unknown": lambda: port_of(unknown),
        "learned-again": lambda: network.admits(full, learned, 1.0),
        "refused-when-full": lambda: network.admits(full, unknown, 1.0),
    }
