"""Capturing what crosses the underlay, at the switch.

Rule: one tcpdump per port of the switch, because a bridge device itself does not see what it forwards. A
capture has begun when tcpdump says so, and it is complete when tcpdump has seen a marker that was sent last:
`stop` alone could cut off packets still in the kernel's ring.

Flow: `with lab.capture() as capture: …; capture.until(marker)`, then ask `packets()`, `datagrams()` or
`find()`.

Reference: tcpdump(8) -U, --immediate-mode; pcap.py reads the files.
"""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.lab import pcap
from tests.lab.errors import LabError
from tests.lab.namespace import Child, Namespace
from tests.lab.poll import poll

BUFFER_KIB = 32768
RECORD_SNAP = 160  # a flight recorder keeps headers only …
RECORD_MB = 4  # … in two files of so many megabytes per port


class Capture:
    """A running capture of some of the switch's ports. `ports` is {host name: port of the switch}."""

    def __init__(self, switch: Namespace, ports: Mapping[str, str], directory: Path, *, record: bool = False) -> None:
        self.files = {host: directory / f"{host}.pcap" for host in ports}
        self._children: dict[str, Child] = {}
        directory.mkdir(parents=True, exist_ok=True)
        bounds = ["-s", str(RECORD_SNAP), "-C", str(RECORD_MB), "-W", "2"] if record else ["-s", "0"]
        for host, port in ports.items():
            argv = ["tcpdump", "-Z", "root", "-n", "-U", "--immediate-mode", "-B", str(BUFFER_KIB), *bounds]
            self._children[host] = switch.spawn(
                [*argv, "-i", port, "-w", str(self.files[host])], name=f"tcpdump-{host}"
            )
        for child in self._children.values():
            child.wait_for("listening on")

    def __enter__(self) -> Capture:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def bytes_at(self, host: str) -> bytes:
        """The raw capture file of `host`'s port as written so far: enough to ask whether a marker has
        arrived."""
        file = self.files[host]
        return file.read_bytes() if file.exists() else b""

    def until(self, marker: bytes, *hosts: str, deadline: float = 10.0) -> None:
        """Wait until the captures at these hosts' ports (all, if none is named) hold `marker`, sent last."""

        def everywhere() -> bool:
            return all(marker in self.bytes_at(host) for host in hosts or self.files)

        poll(everywhere, deadline, f"marker in the captures of {', '.join(hosts or self.files)}")

    def stop(self) -> int:
        """End the capture; the number of packets the kernel could not keep (0 is what a proof needs)."""
        lost = 0
        for child in self._children.values():
            child.stop(signal.SIGINT)
            said = re.search(r"(\d+) packets dropped by kernel", child.errors())
            if said is None:
                raise LabError(f"tcpdump left no summary: {child.errors()}")
            lost += int(said.group(1))
        return lost

    def packets(self, host: str | None = None) -> list[pcap.Packet]:
        """What was captured at `host`'s port so far, or at all ports one after the other."""
        hosts = [host] if host is not None else list(self.files)
        return [packet for name in hosts for packet in pcap.packets(self.bytes_at(name))]

    def datagrams(self, host: str | None = None, *, port: int | None = None) -> list[pcap.Datagram]:
        """The UDP datagrams among them, those from or to `port` if one is given."""
        return [
            datagram
            for datagram in pcap.datagrams(self.packets(host))
            if port is None or port in (datagram.source_port, datagram.destination_port)
        ]

    def find(self, needle: bytes) -> list[pcap.Packet]:
        """The packets, at any port, that carry `needle` or a 16-byte piece of it."""
        return pcap.find(self.packets(), needle)

    def save(self, directory: Path) -> None:
        """Copy the files as they are now (the recorder's older halves too)."""
        for file in self.files.values():
            for half in sorted(file.parent.glob(f"{file.name}*")):
                shutil.copy(half, directory / (half.name if half.suffix == ".pcap" else f"{half.name}.pcap"))
