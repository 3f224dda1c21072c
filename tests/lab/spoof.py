"""Frames with any source: what somebody on the underlay can send whom nobody keeps from lying.

Rule: a frame is made whole beforehand (Ethernet, IPv4, UDP without a checksum, which IPv4 allows), so that sending it
costs one system call. Spoofed sources come from 100.64.0.0/10, which the lab uses for nothing else; whoever is
attacked gets a route there over the attacker, as to any address of the Internet, and the attacker swallows what comes
back. So answers to spoofed sources are sent, and counted as what the attacker's interface received.

Flow: `attacker = Attacker(host)`, `attacker.pretend_all_behind(victim)`, `frames = attacker.spoofed(victim, …)`,
`shooting = attacker.shoot(frames, rate=…, seconds=…)`, `shooting.result()`.

Reference: packet(7), RFC 791 (header checksum), RFC 6598 (the range).
"""

from __future__ import annotations

import json
import socket
import struct
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.lab.hosts import Host
from tests.lab.namespace import Child

SHOOT = [sys.executable, "-I", str(Path(__file__).with_name("shoot.py"))]
SPOOFED_NET = "100.64.0.0/10"
_SPOOFED_FIRST, _SPOOFED_COUNT = 0x64400000, 1 << 22
_STRIDE = 7919  # prime, so that neighbours in time are far apart in address and every /24 is met again late
PORT = 6799
IPV4, UDP = 0x0800, 17

Endpoint = tuple[str, int]


@dataclass(frozen=True)
class Link:
    """The two ends of a frame on the underlay: MAC addresses, 6 bytes each."""

    source: bytes
    target: bytes


@dataclass(frozen=True)
class Shot:
    """What a `shoot.py` did: frames sent, frames the kernel refused, and how long it took in seconds."""

    sent: int
    refused: int
    seconds: float

    @property
    def rate(self) -> float:
        """Frames per second."""
        return self.sent / self.seconds if self.seconds else 0.0


class Shooting:
    """A running `shoot.py`."""

    def __init__(self, child: Child, seconds: float) -> None:
        self.child = child
        self._seconds = seconds

    def result(self) -> Shot:
        """Wait for its end. `CommandFailed` when it failed."""
        said = json.loads(self.child.finish(self._seconds + 30).splitlines()[-1])
        return Shot(said["sent"], said["refused"], said["seconds"])

    def stop(self) -> None:
        """End it early."""
        self.child.stop()


def mac(host: Host, ifname: str = "eth0") -> bytes:
    """The MAC address of a host's interface."""
    (link,) = json.loads(host.run(["ip", "-j", "link", "show", ifname]).stdout)
    return bytes.fromhex(link["address"].replace(":", ""))


def spoofed_source(number: int) -> Endpoint:
    """The address and port of spoofed source `number`; any two of the first four million differ in address."""
    address = _SPOOFED_FIRST + number * _STRIDE % _SPOOFED_COUNT
    return socket.inet_ntoa(address.to_bytes(4, "big")), 1024 + number % 64_000


def frame(link: Link, source: Endpoint, target: Endpoint, payload: bytes) -> bytes:
    """One Ethernet frame with a UDP datagram over IPv4."""
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(target[0])
    head = struct.pack(">BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0x4000, 64, UDP, 0) + addresses
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    checksum = ~(total + (total >> 16)) & 0xFFFF
    head = head[:10] + checksum.to_bytes(2, "big") + head[12:]
    udp = struct.pack(">HHHH", source[1], target[1], 8 + len(payload), 0)
    return b"".join((link.target, link.source, IPV4.to_bytes(2, "big"), head, udp, payload))


def write_frames(file: Path, frames: Iterable[bytes]) -> None:
    """Write frames as `shoot.py` reads them: u16 length and the frame, again and again."""
    file.write_bytes(b"".join(len(one).to_bytes(2, "big") + one for one in frames))


class Attacker:
    """A host of the underlay that sends what it likes."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._files = 0
        host.ip(f"route replace blackhole {SPOOFED_NET}")

    def pretend_all_behind(self, victim: Host) -> None:
        """Give `victim` a way to the spoofed sources, over this host."""
        victim.ip(f"route replace {SPOOFED_NET} via {self.host.ipv4}")

    def spoofed(self, victim: Host, datagrams: Sequence[bytes], count: int) -> list[bytes]:
        """`count` frames to the victim's port, the datagrams in turn, each from another source."""
        link, target = self.link(victim), (victim.ipv4 or "", PORT)
        return [
            frame(link, spoofed_source(number), target, datagrams[number % len(datagrams)]) for number in range(count)
        ]

    def from_source(self, victim: Host, source: Endpoint, datagrams: Iterable[bytes]) -> list[bytes]:
        """Frames to the victim's port that say they come from `source`."""
        link, target = self.link(victim), (victim.ipv4 or "", PORT)
        return [frame(link, source, target, datagram) for datagram in datagrams]

    def link(self, victim: Host) -> Link:
        """This host's and the victim's MAC."""
        return Link(mac(self.host), mac(victim))

    def shoot(self, frames: Iterable[bytes], *, rate: int, seconds: float = 0.0) -> Shooting:
        """Start sending `frames` at `rate` per second: once, or in turn for `seconds`."""
        self._files += 1
        file = self.host.directory / f"frames-{self._files}"
        write_frames(file, frames)
        argv = [*SHOOT, "eth0", str(file), str(rate), str(seconds)]
        child = self.host.spawn(argv, name="shoot")
        child.wait_for("ready", 30.0)
        count = file.stat().st_size
        return Shooting(child, seconds or count / rate)

    def traffic(self) -> tuple[int, int]:
        """Bytes that this host's interface has received and sent so far."""
        (link,) = json.loads(self.host.run(["ip", "-j", "-s", "link", "show", "eth0"]).stdout)
        return int(link["stats64"]["rx"]["bytes"]), int(link["stats64"]["tx"]["bytes"])
