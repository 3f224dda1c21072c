"""A state directory that is full or read-only: traffic goes on, the operator is told, and it ends by itself."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from meshnet.errors import ExitCode
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

AGAIN_S = 60.0  # after a failure the state is read anew at most every 30 s
TMPFS = "mount -t tmpfs -o size=2m,mode=700 tmpfs"
EXT4 = "mount -t ext4 -o loop,errors=remount-ro"
IMAGE_B = 16 << 20
LOOP = pytest.mark.skipif(not Path("/dev/loop-control").exists(), reason="there are no loop devices here")


class Site:
    """Two hosts; the state directory of the first is a disk of its own, mounted where this host alone sees it."""

    def __init__(self, lab: Lab, mount: str) -> None:
        self.host, self.other = (lab.host(name) for name in ("h1", "h2"))
        self.daemon, self.directory = self.host.daemon, self.host.daemon.state_dir
        self.directory.mkdir(parents=True, exist_ok=True)
        # Before the mounts are parted: what is mounted later for a namespace, the host would not see.
        self.workloads = [host.workload("w") for host in (self.host, self.other)]
        self.late = self.host.workload("late")
        script = f"mount --make-rprivate / && {mount} {self.directory} && echo private && exec sleep infinity"
        holder = self.host.spawn(["unshare", "--mount", "sh", "-ec", script], name="disk")
        holder.wait_for("private")
        self.host.mounts = Path(f"/proc/{holder.pid}/ns/mnt")
        token = self.daemon.launch()
        self.other.daemon.join(token)
        for host, workload in zip((self.host, self.other), self.workloads, strict=True):
            host.daemon.attach(workload)
        all_answer(self.workloads)
        self.began = self.pids()

    def run(self, script: str) -> str:
        """What a shell on the first host prints."""
        return self.host.run(["sh", "-ec", script]).stdout.strip()

    def pids(self) -> list[int]:
        return [self.daemon.meshnetd().pid, self.daemon.forwarder().pid]

    def goes_on_without_its_disk(self, reason: str) -> None:
        """Changes are refused with this reason, and said so; traffic is as before."""
        refused = ""
        for _ in range(200):  # what is free inside the database's own files may be used up first
            answer = self.daemon.cli("attach", self.late.full_name, check=False)
            if answer.returncode != 0:
                refused = answer.stderr
                break
            self.daemon.detach(self.late)
        assert reason in refused and "fix:" in refused
        poll(lambda: "changes are refused" in str(self.daemon.status()["notices"]), 10, "the notice")
        assert reason in str(self.daemon.status()["notices"])
        all_answer(self.workloads)
        assert self.pids() == self.began

    def is_whole_again(self) -> None:
        """Changes are taken again, and nobody restarted anything."""
        poll(
            lambda: self.daemon.cli("attach", self.late.full_name, check=False).returncode == 0,
            AGAIN_S,
            "changes being taken again",
        )
        self.daemon.detach(self.late)
        self.daemon.attach(self.late)
        all_answer([*self.workloads, self.late])
        poll(lambda: self.daemon.status()["notices"] == [], AGAIN_S, "the end of all notices")
        poll(lambda: self.daemon.peers_up() == ["h2"], 15, "gossip")
        assert self.pids() == self.began


@contextmanager
def site(mount: str) -> Iterator[Site]:
    with Lab(Wire.OFFLOAD) as lab:
        yield Site(lab, mount)


def test_traffic_outlives_a_full_disk_and_nobody_has_to_restart_anything() -> None:
    with site(TMPFS) as here:
        here.run(f"dd if=/dev/zero of={here.directory}/ballast bs=512 2>/dev/null || true")
        here.goes_on_without_its_disk("free space")
        here.run(f"rm {here.directory}/ballast")
        here.is_whole_again()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A small ext4 file system in a file, without a journal: what is synced is where it belongs."""
    path = tmp_path / "disk.img"
    path.touch()
    os.truncate(path, IMAGE_B)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", path], check=True, stdin=subprocess.DEVNULL)
    return path


def break_disk(here: Site) -> None:
    """Let the kernel find an error on the disk, upon which it takes no writes any more, as `errors=remount-ro` says."""
    device = here.run(f"findmnt --noheadings --output SOURCE {here.directory}")
    here.run(f"echo 1 > /sys/fs/ext4/{Path(device).name}/trigger_fs_error")
    assert "Read-only" in here.run(f"touch {here.directory}/probe 2>&1 || true")


def repair_disk(here: Site, image: Path) -> None:
    """Mount what is on the disk, checked, where it was; the kernel never takes writes on the broken one again.

    To the host it may be an older state than the one it had: it hears first what it gave away since.
    """
    repaired = image.with_name("repaired.img")
    here.run(f"cp {image} {repaired} && {{ e2fsck -fy {repaired} >/dev/null 2>&1 || [ $? = 1 ]; }}")
    here.run(f"umount --lazy {here.directory} && {EXT4} {repaired} {here.directory}")


@LOOP
def test_traffic_outlives_a_disk_that_becomes_read_only(image: Path) -> None:
    with site(f"{EXT4} {image}") as here:
        break_disk(here)
        here.goes_on_without_its_disk("read-only")
        repair_disk(here, image)
        here.is_whole_again()


def test_a_start_on_a_read_only_disk_is_refused_and_changes_nothing() -> None:
    with site(TMPFS) as here:
        here.daemon.stop()
        here.run(f"mount -o remount,ro {here.directory}")
        before = here.run(f"cd {here.directory} && sha256sum *")
        answer = here.daemon.cli("start", "--state-dir", str(here.directory), check=False)
        assert answer.returncode == ExitCode.FAILED
        assert "Read-only file system" in answer.stderr and "make it writable" in answer.stderr
        assert not here.daemon.processes()
        assert here.run(f"cd {here.directory} && sha256sum *") == before
        here.run(f"mount -o remount,rw {here.directory}")
        here.daemon.start()
        here.daemon.attach(here.late)
        all_answer([here.workloads[1], here.late])
