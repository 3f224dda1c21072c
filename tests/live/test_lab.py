"""The lab library itself: its wires are what they say, and nothing of it outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import sweep as sweeping
from tests.lab.artefacts import ROOT, keep
from tests.lab.errors import CommandFailed, LabError, NotInTime
from tests.lab.lab import Lab
from tests.lab.namespace import NETNS_DIR
from tests.lab.poll import poll
from tests.lab.processes import alive
from tests.lab.snapshot import left_behind, snapshot
from tests.lab.traffic import deliver, iperf, listen, pingpong, send
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

MARKER = bytes(range(64))

# A lab in a process of its own, for the deaths a test cannot die itself. A detached process stands for a
# daemon.
OWNER = """
import subprocess, sys, time
from tests.lab.lab import Lab
with Lab() as lab:
    host = lab.host("h1")
    host.run(["sh", "-c", "setsid sleep 1000 >/dev/null 2>&1 < /dev/null & echo $! > daemon.pid"])
    child = host.spawn(["sleep", "1000"])
    print(child.pid, (host.directory / "daemon.pid").read_text().strip(), flush=True)
    if "raise" in sys.argv:
        raise RuntimeError("as asked")
    time.sleep(1000)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with Lab(Wire.NIC, record=True) as opened:
        opened.host("h1")
        opened.host("h2")
        opened.host("h6", ipv4=False)
        opened.host("narrow", mtu=1300)
        yield opened


def test_hosts_reach_each_other_by_both_families(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    assert h2.ipv4 and h2.ipv6
    assert h1.answers(h2.ipv4)
    assert h1.answers(h2.ipv6)


def test_a_host_may_have_ipv6_only(lab: Lab) -> None:
    h6 = lab.hosts["h6"]
    assert h6.ipv4 is None
    assert h6.address == h6.ipv6
    assert h6.answers(lab.hosts["h1"].ipv6 or "")
    assert '"inet"' not in h6.run(["ip", "-j", "address", "show", "dev", "eth0"]).stdout


def test_the_way_to_a_narrow_host_is_narrow(lab: Lab) -> None:
    h1, narrow = lab.hosts["h1"], lab.hosts["narrow"]
    assert "mtu 1300" in h1.run(["ip", "route", "get", narrow.address]).stdout
    assert "mtu 1300" in h1.run(["ip", "-6", "route", "get", narrow.ipv6 or ""]).stdout
    assert h1.answers(narrow.address, size=1272, whole=True)
    assert not h1.answers(narrow.address, size=1273, whole=True)
    assert h1.answers(lab.hosts["h2"].address, size=1472, whole=True)


def test_nothing_of_a_lab_is_in_the_root_namespace(lab: Lab) -> None:
    links = subprocess.run(["ip", "-o", "link"], check=True, capture_output=True, text=True).stdout
    assert "h1.eth0" not in links
    assert lab.hosts["h1"].inode != Path("/proc/self/ns/net").stat().st_ino


def test_a_command_has_an_exit_code_and_a_deadline(lab: Lab) -> None:
    h1 = lab.hosts["h1"]
    with pytest.raises(CommandFailed, match="exit 3") as failed:
        h1.run(["sh", "-c", "echo said; exit 3"])
    assert (failed.value.code, failed.value.stdout) == (3, "said\n")
    begun = time.monotonic()
    with pytest.raises(NotInTime, match="sleep 30"):
        h1.run(["sleep", "30"], timeout=0.2)
    assert time.monotonic() - begun < 5


def test_what_a_command_leaves_running_is_adopted_and_reaped(lab: Lab) -> None:
    h1 = lab.hosts["h1"]
    pid = int(h1.run(["sh", "-c", "setsid sleep 1000 > /dev/null 2>&1 < /dev/null & echo $!"]).stdout)
    poll(lambda: f"PPid:\t{os.getpid()}\n" in Path(f"/proc/{pid}/status").read_text(), 5, "adoption")
    assert pid in [process.pid for process in h1.processes()]
    os.kill(pid, signal.SIGKILL)
    poll(lambda: not Path(f"/proc/{pid}").exists(), 10, "reaping")


def test_loss_is_what_was_asked_and_counted(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    lab.switch.lose(0.2)
    try:
        done = h1.run(["ping", "-q", "-c", "400", "-i", "0.002", h2.address], check=False)
        count = lab.switch.lost()
    finally:
        lab.switch.lose(0)
    received = int(done.stdout.split(" received")[0].split()[-1])
    # 400 requests, then answers to those that came through: a mean of 144 dropped, deviation about 10.
    assert 100 < count.dropped < 190
    # The counter also sees the neighbour discovery of that second, a packet or two.
    assert 0 <= received - (400 - count.dropped) <= 5
    assert h1.answers(h2.address)


def test_an_unplugged_host_answers_again_when_plugged_in(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    lab.switch.unplug(h2)
    assert not h1.answers(h2.address)
    lab.switch.plug(h2)
    poll(lambda: h1.answers(h2.address), 5, "answer from h2")


def test_a_capture_holds_what_crossed_the_switch(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    absent = MARKER[::-1]
    with lab.capture(h1, h2) as capture:
        got = deliver(h1, "udp", h2.address, MARKER, [listen(h2, "udp", h2.address)])
        capture.until(MARKER)
        assert capture.stop() == 0
    assert (got[0].source, got[0].payload) == (h1.address, MARKER)
    seen = capture.datagrams("h2", port=5401)
    assert {(d.source, d.destination, d.payload, d.fragment) for d in seen} == {(h1.address, h2.address, MARKER, False)}
    assert capture.find(MARKER)
    assert not capture.find(absent)


def test_fragments_are_seen_as_such(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    with lab.capture(h2) as capture:
        listener = listen(h2, "udp", h2.address)
        send(h1, "udp", h2.address, MARKER * 40)
        listener.finish()
        poll(lambda: len(capture.datagrams("h2")) >= 2, 5, "two fragments in the capture")
    assert all(datagram.fragment for datagram in capture.datagrams("h2"))


def test_messages_by_tcp_and_ipv6(lab: Lab) -> None:
    h1, h6 = lab.hosts["h1"], lab.hosts["h6"]
    for protocol in ("udp", "tcp"):
        got = deliver(h1, protocol, h6.address, MARKER, [listen(h6, protocol, h6.address)])
        assert (got[0].source, got[0].payload) == (h1.ipv6, MARKER)


def test_figures_come_from_the_receiver(lab: Lab) -> None:
    h1, h2 = lab.hosts["h1"], lab.hosts["h2"]
    assert iperf(h1, h2, h2.address, 1).bits_per_second > 1e8
    small = iperf(h1, h2, h2.address, 1, "-u", "-b", "1M", "-l", "64")
    assert 1000 < small.packets_per_second < 3000
    answer = pingpong(h1, h2, h2.address, 0.2)
    assert 0 < answer["p50_us"] <= answer["p99_us"]
    with pytest.raises(LabError, match="iperf3"):
        iperf(h1, h2, "198.18.0.99", 1)


def test_artefacts_say_what_every_host_looked_like(lab: Lab, tmp_path: Path) -> None:
    keep(lab, tmp_path / "kept")
    for host in lab.hosts.values():
        place = tmp_path / "kept" / host.name
        assert host.address in (place / "addresses.txt").read_text()
        assert "eth0" in (place / "links.txt").read_text()
        assert (place / "status.json").exists()
    assert "h1.eth0" in (tmp_path / "kept/wire/bridge.txt").read_text()
    assert list((tmp_path / "kept").glob("h1.pcap*"))


def test_one_lab_at_a_time(lab: Lab) -> None:
    with pytest.raises(LabError, match="another lab"), Lab():
        pass
    assert lab.hosts["h1"].answers(lab.hosts["h2"].address)


def start_owner(*words: str) -> tuple[subprocess.Popen[str], list[int]]:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert owner.stdout is not None
    with owner.stdout:
        pids = [int(word) for word in owner.stdout.readline().split()]
    assert len(pids) == 2
    return owner, pids


@pytest.mark.parametrize("death", ["SIGINT", "SIGTERM", "SIGKILL", "raise"])
def test_nothing_is_left_after_any_death(death: str) -> None:
    before = snapshot()
    owner, pids = start_owner(death)
    if death != "raise":
        owner.send_signal(signal.Signals[death])
    assert owner.wait(20) != 0
    poll(lambda: not any(alive(pid) for pid in pids), 10, "end of the lab's processes")
    poll(lambda: not sweeping.namespaces_of(owner.pid), 10, "removal of its namespaces")
    poll(lambda: not sweeping.directory_of(owner.pid).exists(), 10, "removal of its directory")
    assert left_behind(before, snapshot()) == []


def test_a_stale_lab_is_swept_and_a_live_one_is_not() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    owner, pids = start_owner()
    try:
        stale = NETNS_DIR / f"{sweeping.mark_of(gone.pid)}-h1"
        stale.touch()
        subprocess.run(["unshare", f"--net={stale}", "true"], check=True)
        sleeper = subprocess.Popen(["nsenter", f"--net={stale}", "--", "sleep", "1000"])
        poll(lambda: b"sleep" in Path(f"/proc/{sleeper.pid}/cmdline").read_bytes().split(b"\0")[0], 5, "sleep")
        poll(
            lambda: Path(f"/proc/{sleeper.pid}/ns/net").stat().st_ino == stale.stat().st_ino,
            5,
            "a process in the stale namespace",
        )
        assert gone.pid in sweeping.sweep_stale()
        assert sleeper.wait(5) == -signal.SIGKILL
        assert not stale.exists()
        assert sweeping.namespaces_of(owner.pid)
        assert all(alive(pid) for pid in pids)
    finally:
        owner.terminate()
        owner.wait(20)


# Runs in namespaces of its own (network and mounts), so that what it plants is never in the machine's.
PLANTER = """
import os, subprocess
from tests.lab.namespace import NETNS_DIR
from tests.lab.snapshot import left_behind, snapshot
from tests.lab.sweep import mark_of
mark = mark_of(os.getpid())
before = snapshot()
NETNS_DIR.mkdir(exist_ok=True)
place = NETNS_DIR / f"{mark}-left"
place.touch()
child = subprocess.Popen(["sleep", "1000"], env={**os.environ, "MESHNET_LAB": mark})
try:
    subprocess.run(["mount", "-t", "tmpfs", "none", "/mnt"], check=True)
    subprocess.run(["ip", "link", "add", "left0", "type", "veth", "peer", "name", "left1"], check=True)
    print("\\n".join(left_behind(before, snapshot())))
finally:
    child.kill()
    child.wait()
    place.unlink()
print("then", left_behind(before, snapshot()))
"""


def test_a_snapshot_sees_what_is_left() -> None:
    argv = ["unshare", "--net", "--mount", sys.executable, "-c", PLANTER]
    said = subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, text=True, timeout=20).stdout
    for line in ("namespaces: mn-", "links: left0", "links: left1", "mounts: /mnt", "processes: "):
        assert f"\n{line}" in f"\n{said}"
    assert "then ['links: left0', 'links: left1', 'mounts: /mnt']" in said
