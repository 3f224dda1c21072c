"""A network namespace of the lab and the commands that run in it.

Rule: commands enter by `nsenter --net=` and never by `ip netns exec`, which remounts /sys and so hides
cgroups and devices. Every command is bounded in time, dies with the lab's process (PR_SET_PDEATHSIG) and is
reaped by its pid. The parent that counts for PDEATHSIG is the *thread* that started the command: spawn from
the main thread.

Flow: `Namespace(name, …)` binds a fresh namespace to /run/netns/<mark>-<name>; `run` and `spawn` enter it;
the lab's sweep ends whatever still runs there and removes the binding.

Reference: unshare(1) --net=FILE, nsenter(1), setpriv(1) --pdeathsig, ip-netns(8).
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.lab.errors import CommandFailed, LabError, NotInTime
from tests.lab.poll import poll
from tests.lab.processes import END_DEADLINE_S, Process, Reaper, marked

NETNS_DIR = Path("/run/netns")
COMMAND_DEADLINE_S = 20.0
FRESH_SETTINGS = {
    # An address must be usable at once: duplicate detection would hold it back for a second.
    "net.ipv6.conf.default.accept_dad": "0",
    "net.ipv6.conf.all.accept_dad": "0",
    # A run must not inherit the congestion window that an earlier one learnt.
    "net.ipv4.tcp_no_metrics_save": "1",
}


class Child:
    """A process that runs beside the test. Its output goes to two files, so it can never block on a full
    pipe."""

    def __init__(self, process: subprocess.Popen[str], command: str, out: Path, err: Path) -> None:
        self.process = process
        self.command = command
        self.out = out
        self.err = err

    @property
    def pid(self) -> int:
        return self.process.pid

    def output(self) -> str:
        """What it wrote to stdout so far."""
        return self.out.read_text(errors="replace")

    def errors(self) -> str:
        """What it wrote to stderr so far."""
        return self.err.read_text(errors="replace")

    def wait_for(self, text: str, deadline: float = 10.0) -> None:
        """Wait until `text` stands in its output or errors; `LabError` when it ended without saying so."""

        def said() -> bool:
            if text in self.output() or text in self.errors():
                return True
            if self.process.poll() is not None:
                raise CommandFailed(self.command, self.process.returncode, self.output(), self.errors())
            return False

        try:
            poll(said, deadline, f"{text!r} from {self.command}")
        except NotInTime as missing:
            raise LabError(str(missing)) from None

    def finish(self, deadline: float = COMMAND_DEADLINE_S) -> str:
        """Wait for its own end and return its stdout; `CommandFailed` unless it ended with 0."""
        try:
            code = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            self.stop(signal.SIGKILL)
            raise NotInTime(f"not within {deadline:g} s: end of {self.command}\n{self.errors()}") from None
        if code:
            raise CommandFailed(self.command, code, self.output(), self.errors())
        return self.output()

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """Signal it and wait; kill it when it does not end in 5 s. Returns its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        try:
            return self.process.wait(END_DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait(END_DEADLINE_S)


class Namespace:
    """One network namespace, known to iproute2 as `full_name`."""

    def __init__(
        self, name: str, *, mark: str, directory: Path, environment: Mapping[str, str], reaper: Reaper
    ) -> None:
        """Create it, with `lo` up. `directory` (made here) takes the output of its children."""
        self.name = name
        self.mark = mark
        self.full_name = f"{mark}-{name}"
        self.path = NETNS_DIR / self.full_name
        self.directory = directory
        self.environment = dict(environment)
        self.reaper = reaper
        self.mounts: Path | None = None
        """A mount namespace that commands enter too, where a container engine wants a /run of its own."""
        self._children: list[Child] = []
        directory.mkdir(parents=True)
        NETNS_DIR.mkdir(mode=0o755, exist_ok=True)
        self.path.touch(exist_ok=False)
        # Not `ip netns add`: that also makes /run/netns a mount of its own, which nobody ever takes away
        # again.
        subprocess.run(["unshare", f"--net={self.path}", "true"], check=True, timeout=COMMAND_DEADLINE_S)
        self.inode = self.path.stat().st_ino
        self.set_many(FRESH_SETTINGS)
        self.ip("link set lo up")

    def _command(self, argv: Sequence[str]) -> list[str]:
        mounts = [] if self.mounts is None else [f"--mount={self.mounts}"]
        return ["setpriv", "--pdeathsig", "KILL", "--", "nsenter", f"--net={self.path}", *mounts, "--", *argv]

    def _start(
        self,
        argv: Sequence[str],
        env: Mapping[str, str] | None,
        stdin: int,
        stdout: int,
        stderr: int,
        pass_fds: Sequence[int] = (),
    ) -> subprocess.Popen[str]:
        with self.reaper.lock:
            process = subprocess.Popen(
                self._command(argv),
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                text=True,
                errors="replace",
                pass_fds=tuple(pass_fds),
                cwd=self.directory,
                env={**self.environment, **(env or {})},
            )
            self.reaper.register(process)
        return process

    def run(
        self,
        argv: Sequence[str],
        *,
        timeout: float = COMMAND_DEADLINE_S,
        check: bool = True,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. `CommandFailed` on an exit code other than 0 (with `check`), `NotInTime`
        when it takes more than `timeout` seconds (it is killed then)."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        process = self._start(argv, env, stdin, subprocess.PIPE, subprocess.PIPE)
        words = f"{self.name}$ {shlex.join(argv)}"
        try:
            out, err = process.communicate(input, timeout)
        except subprocess.TimeoutExpired:
            raise NotInTime(f"not within {timeout:g} s: end of {words}") from None
        finally:
            if process.poll() is None:
                process.kill()
                process.wait(END_DEADLINE_S)
            for stream in (process.stdout, process.stderr, process.stdin):
                if stream is not None:
                    stream.close()
        if check and process.returncode:
            raise CommandFailed(words, process.returncode, out, err)
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def spawn(
        self,
        argv: Sequence[str],
        *,
        name: str = "",
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> Child:
        """Start a command and go on. `name` is the stem of its output files in `directory`."""
        stem = f"{len(self._children)}-{name or Path(argv[0]).name}"
        out, err = self.directory / f"{stem}.out", self.directory / f"{stem}.err"
        with out.open("wb") as to_out, err.open("wb") as to_err:
            process = self._start(argv, env, subprocess.DEVNULL, to_out.fileno(), to_err.fileno(), pass_fds)
        child = Child(process, f"{self.name}$ {shlex.join(argv)}", out, err)
        self._children.append(child)
        return child

    def ip(self, *commands: str) -> None:
        """Run iproute2 commands (without the leading `ip`) as one batch."""
        self.run(["ip", "-batch", "-"], input="".join(f"{command}\n" for command in commands))

    def set_many(self, settings: Mapping[str, str]) -> None:
        """Write sysctls of this namespace; one that this kernel lacks is skipped."""
        lines = [
            f"[ ! -e {path} ] || echo {shlex.quote(value)} > {path}"
            for path, value in ((f"/proc/sys/{key.replace('.', '/')}", value) for key, value in settings.items())
        ]
        self.run(["sh", "-ec", "\n".join(lines)])

    def processes(self) -> list[Process]:
        """Whatever runs in this namespace now."""
        return marked("", [self.inode])

    def answers(self, address: str, *, size: int = 56, whole: bool = False, seconds: int = 1) -> bool:
        """Whether `address` answers one ping from here; `whole` forbids fragments on the way."""
        argv = [
            "ping",
            "-c",
            "1",
            "-W",
            str(seconds),
            "-s",
            str(size),
            *(["-M", "do"] if whole else []),
            address,
        ]
        return self.run(argv, check=False, timeout=seconds + 5).returncode == 0


def remove(path: Path) -> None:
    """Unbind a named namespace; nothing happens when it is gone."""
    subprocess.run(["umount", "--lazy", "--quiet", str(path)], check=False, stderr=subprocess.DEVNULL)
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
