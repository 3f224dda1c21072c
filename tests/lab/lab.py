"""The lab: hosts as network namespaces, joined by an underlay that exists nowhere else.

Rule: a lab lives wholly in namespaces it made (`mn-<pid>-<host>`) and one temporary directory; nothing is
added to the root namespace, and whatever happens (an exception, Ctrl-C, SIGTERM, even SIGKILL) everything is
removed. One lab per process at a time, because the names carry only the pid.

Flow: `with Lab(Wire.NIC) as lab: h1, h2 = lab.host("h1"), lab.host("h2"); …`. Entering sweeps labs of dead
processes and starts the guard; leaving deletes hosts, switch and directory with signals held back, then lets
the guard look.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType, TracebackType
from typing import ClassVar

from tests.lab.artefacts import ROOT
from tests.lab.capture import Capture
from tests.lab.errors import LabError
from tests.lab.hosts import Host
from tests.lab.namespace import Namespace
from tests.lab.processes import MARK_VARIABLE, Reaper, start_time
from tests.lab.sweep import directory_of, mark_of, sweep, sweep_stale
from tests.lab.wire import Switch, Wire

TOOLS = ("ip", "nsenter", "unshare", "setpriv", "umount", "ethtool", "nft", "tcpdump", "iperf3", "ping")
PACKAGES = "iproute2 util-linux mount ethtool nftables tcpdump iperf3 iputils-ping procps"
GUARD_DEADLINE_S = 20
HELD_BACK = (signal.SIGINT, signal.SIGTERM)


def missing() -> str | None:
    """One line that says why no lab can be built here, or None."""
    if os.geteuid() != 0:
        return "the lab needs root: it makes network namespaces. Run the command again with sudo."
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        return f"the lab needs {', '.join(absent)}. Install the Debian packages {PACKAGES}."
    if not os.path.exists("/dev/net/tun"):
        return "the lab needs /dev/net/tun. Load it with: modprobe tun"
    return None


class Lab:
    """Context manager; `Lab.current` is the one that is open in this process."""

    current: ClassVar[Lab | None] = None

    def __init__(self, wire: Wire = Wire.OFFLOAD, *, record: bool = False) -> None:
        """`record` keeps a bounded capture of every port for the artefacts of a failed test."""
        self.wire = wire
        self.hosts: dict[str, Host] = {}
        self.recorder: Capture | None = None
        self.directory = directory_of(os.getpid())
        self._mark = mark_of(os.getpid())
        self._record = record
        self._reaper = Reaper()
        self._captures = 0
        self._guard: subprocess.Popen[str] | None = None
        self._on_sigterm: signal.Handlers | object = None

    def __enter__(self) -> Lab:
        reason = missing()
        if reason is not None:
            raise LabError(reason)
        if Lab.current is not None:
            raise LabError("another lab is open in this process")
        sweep_stale()
        sweep(os.getpid())
        Lab.current = self
        if threading.current_thread() is threading.main_thread():
            self._on_sigterm = signal.signal(signal.SIGTERM, _terminate)
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def host(self, name: str, *, ipv4: bool = True, ipv6: bool = True, mtu: int = 1500) -> Host:
        """Add a host. Its way to every other host, and theirs to it, is as wide as the narrower of both."""
        if name in self.hosts:
            raise LabError(f"there is a host {name} already")
        host = Host(
            name,
            len(self.hosts) + 1,
            self.switch,
            ipv4=ipv4,
            ipv6=ipv6,
            mtu=mtu,
            mark=self._mark,
            directory=self.directory / name,
            environment=self._environment,
            reaper=self._reaper,
        )
        for other in self.hosts.values():
            host.route_over(other)
            other.route_over(host)
        self.hosts[name] = host
        if self._record:
            self._restart_recorder()
        return host

    def capture(self, *hosts: Host) -> Capture:
        """Start capturing at the switch's ports of these hosts (all, if none is named)."""
        self._captures += 1
        return Capture(
            self.switch.namespace,
            self._ports(*(hosts or self.hosts.values())),
            self.directory / f"capture{self._captures}",
        )

    def _open(self) -> None:
        self.directory.mkdir(mode=0o755)
        (self.directory / "owner").write_text(str(start_time(os.getpid())))
        path = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"
        self._environment = {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), MARK_VARIABLE: self._mark}
        self._reaper.start()
        with self._reaper.lock:
            self._guard = subprocess.Popen(
                [sys.executable, "-m", "tests.lab.guard", str(os.getpid())],
                stdin=subprocess.PIPE,
                text=True,
                cwd=ROOT,
                start_new_session=True,
            )
            self._reaper.register(self._guard)
        switch = Namespace(
            "wire",
            mark=self._mark,
            directory=self.directory / "wire",
            environment=self._environment,
            reaper=self._reaper,
        )
        self.switch = Switch(switch, self.wire)

    def _close(self) -> None:
        """Remove everything. Signals wait until it is done: half a clean-up is worse than a late exit."""
        held = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            sweep(os.getpid())
            self._reaper.stop()
            if self._guard is not None and self._guard.stdin is not None:
                self._guard.stdin.close()
                self._guard.wait(GUARD_DEADLINE_S)
        finally:
            Lab.current = None
            if self._on_sigterm is not None:
                signal.signal(signal.SIGTERM, self._on_sigterm)  # type: ignore[arg-type]
            signal.pthread_sigmask(signal.SIG_SETMASK, held)

    def _ports(self, *hosts: Host) -> dict[str, str]:
        return {host.name: self.switch.ports[host.name, "eth0"] for host in hosts}

    def _restart_recorder(self) -> None:
        if self.recorder is not None:
            self.recorder.stop()
        self.recorder = Capture(
            self.switch.namespace, self._ports(*self.hosts.values()), self.directory / "record", record=True
        )


def _terminate(number: int, frame: FrameType | None) -> None:
    """SIGTERM as an exception, so that `with Lab()` cleans up on its way out."""
    raise SystemExit(128 + number)
