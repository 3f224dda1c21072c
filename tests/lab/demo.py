"""The demo: three hosts, one encrypted Ethernet segment, shown in under a minute.

Flow: `python -m tests.lab.demo` builds three hosts in namespaces, types `meshnet launch` on the first and the
printed `meshnet join …` on the others, attaches a workload on each, pings every pair, runs iperf3, and looks
on the captured underlay for a canary that went through the overlay. The same look must find a canary sent
beside the overlay, and our datagrams: a capture that saw nothing would prove nothing. Last it removes
everything and compares before and after.
"""

from __future__ import annotations

import itertools
import sys
import time
from functools import partial

from tests.lab.artefacts import directory_for, keep
from tests.lab.errors import LabError
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab, missing
from tests.lab.mesh import FIRST_ANSWER_S, found
from tests.lab.poll import poll
from tests.lab.snapshot import left_behind, snapshot
from tests.lab.traffic import deliver, iperf, listen, send
from tests.lab.wire import Wire

PORT = 6799
SECRET = b"canary: whoever reads this on the wire has found a plaintext <-"
SECRET += b"!" * (64 - len(SECRET))
CONTROL = b"control: this went over the wire in the clear, on purpose .... <"
IPERF_SECONDS = 3


class Story:
    """Prints one line per step with the seconds since the beginning."""

    def __init__(self) -> None:
        self.begun = time.monotonic()

    def tell(self, line: str) -> None:
        print(f"[{time.monotonic() - self.begun:5.1f} s] {line}", flush=True)

    def show(self, text: str) -> None:
        for line in text.rstrip().splitlines():
            print(f"          | {line}", flush=True)


def ping_all(workloads: list[Workload], story: Story) -> None:
    for one, other in itertools.permutations(workloads, 2):
        begun = time.monotonic()
        poll(partial(one.answers, other.address), FIRST_ANSWER_S, f"ping {one.name} → {other.name}")
        story.tell(f"ping {one.address} → {other.address}: answered ({(time.monotonic() - begun) * 1e3:.0f} ms)")


def canary(lab: Lab, hosts: list[Host], workloads: list[Workload], story: Story) -> None:
    """Send a secret through the overlay and look for it on the underlay; `LabError` when encryption is not
    seen."""
    (h1, h2), (w1, w2) = hosts[:2], workloads[:2]
    with lab.capture() as capture:
        for protocol in ("udp", "tcp"):
            got = deliver(w1, protocol, w2.address, SECRET, [listen(w2, protocol, w2.address)])
            if got[0].payload != SECRET:
                raise LabError(f"the canary arrived changed by {protocol}")
        with_control = listen(h2, "udp", h2.address)
        send(h1, "udp", h2.address, CONTROL)
        with_control.finish()
        capture.until(CONTROL, h1.name, h2.name)
        lost = capture.stop()
    ours = capture.datagrams(port=PORT)
    leaks = capture.find(SECRET)
    story.tell(f"canary: 64 bytes arrived at {w2.address} by UDP and by TCP")
    story.tell(
        f"underlay capture: {len(capture.packets())} packets, {len(ours)} of them meshnet's (port {PORT}), "
        f"{lost} lost by the capture; sent in the clear on purpose: found; canary: found in {len(leaks)}"
    )
    if leaks or not ours or lost:
        raise LabError("the underlay does not show what an encrypted mesh must show")


def play(story: Story) -> None:
    with Lab(Wire.OFFLOAD) as lab:
        try:
            show(lab, story)
        except LabError:
            keep(lab, directory_for("demo"))
            story.tell(f"failed; what each host looked like is kept in {directory_for('demo')}")
            raise


def show(lab: Lab, story: Story) -> None:
    hosts = [lab.host(name) for name in ("h1", "h2", "h3")]
    story.tell(f"three hosts in namespaces: {', '.join(f'{host.name} {host.address}' for host in hosts)}")
    workloads = found(hosts, story.tell)
    ping_all(workloads, story)
    rate = iperf(workloads[0], workloads[1], workloads[1].address, IPERF_SECONDS)
    story.tell(f"iperf3, one TCP stream, {IPERF_SECONDS} s: {rate.bits_per_second / 1e9:.2f} Gb/s received")
    canary(lab, hosts, workloads, story)
    story.tell("h1: meshnet status")
    story.show(hosts[0].daemon.cli("status").stdout)
    for host in hosts:
        host.daemon.stop()
    story.tell("meshnet stop on every host")


def main() -> int:
    reason = missing()
    if reason is not None:
        print(reason, file=sys.stderr)
        return 1
    story = Story()
    before = snapshot()
    try:
        play(story)
    except LabError as error:
        print(f"the demo failed: {error}", file=sys.stderr)
        return 1
    finally:
        rest = left_behind(before, snapshot())
    if rest:
        print("the demo left behind:\n  " + "\n  ".join(rest), file=sys.stderr)
        return 1
    story.tell("nothing left behind: namespaces, links, mounts, processes and directories are as before")
    return 0


if __name__ == "__main__":
    sys.exit(main())
