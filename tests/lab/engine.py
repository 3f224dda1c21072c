"""A real Docker engine on a host of the lab.

Rule: the engine has a mount namespace of its own with a private /run, so that two engines on one machine find two
plugin directories; everything that runs on the host from then on, meshnetd included, enters it.  Containers carry the
lab's mark in their environment and a control group named after the lab, so that a sweep finds them also when their
engine is dead.  Each command is bounded in time; readiness is an answer of the engine.
Flow: `engine = Engine(host)` before the host's meshnetd starts, `engine.start()`, `engine.docker(…)`, `engine.stop()`.
Reference: dockerd(8); the image is busybox, imported from a tar made here.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.errors import CommandFailed, LabError, NotInTime
from tests.lab.hosts import Host
from tests.lab.namespace import Child
from tests.lab.poll import poll
from tests.lab.processes import MARK_VARIABLE, Process, end
from tests.lab.sweep import groups_of, remove_groups

IMAGE = "bb"
APPLETS = ("sh", "ping", "ip", "nc", "wget", "httpd", "sleep", "nslookup", "cat", "true", "arping")
READY_S = 45.0
COMMAND_S = 45.0
END_S = 20.0
PLUGIN_DIR = Path("/run/docker/plugins")
PRIVATE_RUN = (
    "mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir -p /run/docker/plugins"
    " && echo private && exec sleep infinity"
)
ENGINE_ROLES = ("dockerd", "containerd")


def busybox() -> Path:
    """The static busybox; raises LabError naming the package."""
    found = shutil.which("busybox", path="/bin:/usr/bin")
    if found is None:
        raise LabError("containers need a static busybox. Install the Debian package busybox-static.")
    return Path(found)


def write_image(path: Path) -> None:
    """A root file system of busybox alone, as a tar."""
    with tarfile.open(path, "w") as tar:
        for folder in ("bin", "etc", "proc", "sys", "tmp", "dev"):
            entry = tarfile.TarInfo(folder)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        body = busybox().read_bytes()
        entry = tarfile.TarInfo("bin/busybox")
        entry.size, entry.mode = len(body), 0o755
        tar.addfile(entry, io.BytesIO(body))
        for applet in APPLETS:
            entry = tarfile.TarInfo(f"bin/{applet}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)


class Engine:
    """dockerd and its containerd on one host."""

    def __init__(self, host: Host) -> None:
        """Give the host its private /run; the engine is not started yet."""
        self.host = host
        self.directory = host.directory / "engine"
        self.directory.mkdir()
        self.socket = self.directory / "docker.sock"
        self.group = f"{host.full_name}-docker"
        self._dockerd: Child | None = None
        self._run = host.spawn(["unshare", "--mount", "sh", "-ec", PRIVATE_RUN], name="private-run")
        self._run.wait_for("private")
        host.mounts = Path(f"/proc/{self._run.pid}/ns/mnt")

    @property
    def running(self) -> bool:
        """Whether dockerd was started here and lives."""
        return self._dockerd is not None and self._dockerd.process.poll() is None

    def start(self, ready: float = READY_S) -> None:
        """Start dockerd and wait until it answers, `ready` seconds at most; the image is imported the first time."""
        self._dockerd = self.host.spawn(
            [
                "dockerd",
                *("--data-root", str(self.directory / "data"), "--exec-root", "/run/docker-exec"),
                *("--pidfile", "/run/docker.pid", "--host", f"unix://{self.socket}", "--storage-driver", "vfs"),
                *("--cgroup-parent", f"/{self.group}", "--userland-proxy=false", "--shutdown-timeout", "3"),
            ],
            name="dockerd",
        )
        poll(self._answers, ready, f"dockerd on {self.host.name}")
        if not self.docker("images", "--quiet", IMAGE).stdout.strip():
            image = self.directory / "image.tar"
            write_image(image)
            self.docker("import", str(image), IMAGE)

    def docker(self, *words: str, check: bool = True, timeout: float = COMMAND_S) -> subprocess.CompletedProcess[str]:
        """Run `docker WORDS` against this engine."""
        argv = ["docker", "--host", f"unix://{self.socket}", *words]
        return self.host.run(argv, check=check, timeout=timeout, env={"DOCKER_CONFIG": str(self.directory)})

    def run(self, name: str, network: str, *options: str, command: tuple[str, ...] = ("sleep", "1000000")) -> str:
        """Start a container on a network; returns its IPv4 address there."""
        mark = f"{MARK_VARIABLE}={self.host.mark}"
        base = ("run", "--detach", "--name", name, "--hostname", name, "--network", network, "--env", mark)
        self.docker(*base, "--stop-signal", "KILL", *options, IMAGE, *command)
        return self.address(name, network)

    def address(self, name: str, network: str) -> str:
        """A container's IPv4 address on a network, as Docker knows it."""
        return str(self.inspect(name)["NetworkSettings"]["Networks"][network]["IPAddress"])

    def inspect(self, name: str) -> dict[str, Any]:
        """`docker inspect` of one container or network."""
        [answer] = json.loads(self.docker("inspect", name).stdout)
        if not isinstance(answer, dict):
            raise LabError(f"docker inspect {name} printed no object")
        return answer

    def answers(self, container: str, address: str, seconds: int = 1) -> bool:
        """Whether `address` answers one ping from inside the container."""
        words = ("exec", container, "ping", "-c", "1", "-W", str(seconds), address)
        return self.docker(*words, check=False, timeout=seconds + 10).returncode == 0

    def kill(self) -> None:
        """SIGKILL dockerd, and containerd as the kernel does with it; shims and containers live on.

        Returns once both are reaped: a dockerd that starts over the zombie of a containerd waits for it in vain.
        """
        if self._dockerd is None:
            raise LabError(f"there is no dockerd on {self.host.name} to kill")
        second = [process.pid for process in self.host.processes() if Path(process.argv[0]).name == "containerd"]
        self._dockerd.stop(signal.SIGKILL)
        self._dockerd = None
        end(second, signal.SIGKILL)
        poll(lambda: not any(Path(f"/proc/{pid}").exists() for pid in second), END_S, "the reaping of containerd")

    def stop(self) -> None:
        """End every container and the engine, and remove its control groups; never raises for a dead engine."""
        if self._dockerd is not None:
            try:
                names = self.docker("ps", "--all", "--quiet", timeout=END_S).stdout.split()
                if names:
                    self.docker("rm", "--force", *names, check=False, timeout=END_S)
            except (CommandFailed, NotInTime):
                pass  # what is left is ended by pid below
            self._dockerd.process.terminate()
            self._gone(lambda: self._dockerd is None or self._dockerd.process.poll() is not None)
        end([process.pid for process in self._left()], signal.SIGKILL)
        self._dockerd = None
        self._gone(lambda: remove_groups(self.group))

    def _answers(self) -> bool:
        child = self._dockerd
        if child is None or child.process.poll() is not None:
            raise LabError(f"dockerd on {self.host.name} ended: {'' if child is None else child.errors()[-2000:]}")
        try:
            return self.docker("version", check=False, timeout=5).returncode == 0
        except NotInTime:
            return False  # it listens, and is still busy with what it found

    def _left(self) -> list[Process]:
        """The engine's processes, and the containers' by their control groups."""
        engine = [
            process
            for process in self.host.processes()
            if process.argv and Path(process.argv[0]).name.startswith(ENGINE_ROLES)
        ]
        pids = {int(pid) for path in groups_of(self.group) for pid in _lines(path / "cgroup.procs")}
        return [*engine, *(Process(pid, ()) for pid in sorted(pids))]

    @staticmethod
    def _gone(question: Callable[[], bool]) -> None:
        try:
            poll(question, END_S, "end of the engine")
        except NotInTime:
            pass  # the sweep of the lab ends what is left


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
