"""Sends prepared Ethernet frames at a rate; run as a script inside a namespace.

    shoot.py IFNAME FILE RATE SECONDS     SECONDS 0: every frame once

Rule: the file holds u16 length and frame, again and again (spoof.py writes it). Sending begins once `ready` is
printed and is paced by the clock: what was late is caught up with, so that the rate holds over the whole. At the end
one line of JSON: {"sent", "refused", "seconds"}. The standard library alone, so that it starts quickly.

Reference: packet(7) PACKET_QDISC_BYPASS.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from pathlib import Path

SOL_PACKET, PACKET_QDISC_BYPASS = 263, 20
PAUSE_S = 0.0005
BURST = 256  # frames between two looks at the clock, also when it lags


def frames_in(data: bytes) -> list[bytes]:
    """The frames of a file's bytes."""
    found = []
    at = 0
    while at + 2 <= len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        found.append(data[at + 2 : at + 2 + size])
        at += 2 + size
    return found


def shoot(out: socket.socket, frames: list[bytes], rate: float, seconds: float) -> dict[str, float]:
    """Send and count."""
    total = int(rate * seconds) if seconds else len(frames)
    sent = refused = 0
    begun = time.perf_counter()
    while sent + refused < total:
        due = min(total, int((time.perf_counter() - begun) * rate) + 1, sent + refused + BURST)
        if due <= sent + refused:
            time.sleep(PAUSE_S)
        for number in range(sent + refused, due):
            try:
                out.send(frames[number % len(frames)])
                sent += 1
            except OSError:
                refused += 1
    return {"sent": sent, "refused": refused, "seconds": time.perf_counter() - begun}


def main(ifname: str, file: str, rate: str, seconds: str) -> None:
    frames = frames_in(Path(file).read_bytes())
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as out:
        out.setsockopt(SOL_PACKET, PACKET_QDISC_BYPASS, 1)
        out.bind((ifname, 0))
        print("ready", flush=True)
        print(json.dumps(shoot(out, frames, float(rate), float(seconds))))


if __name__ == "__main__":
    main(*sys.argv[1:])
