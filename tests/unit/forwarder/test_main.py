"""The forwarder as a process: it serves its listener, heeds signals and verbs, and imports nothing later."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meshnet.boundary import VERSION, Counters, Fact, Hello, ReadCounters, Stop, Verb, decode_fact, encode
from tests.lab.poll import poll

DEADLINE_S = 10.0


class Process:
    """A forwarder process and one connection to it."""

    def __init__(self, path: Path, loop: str) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(str(path))
            listener.listen(4)
            descriptor = listener.fileno()
            argv = [sys.executable, "-m", "meshnet.forwarder", "forwarder", "--listener", str(descriptor)]
            environment = {**os.environ, "MESHNET_LOOP": loop}
            self.child = subprocess.Popen(argv, pass_fds=(descriptor,), env=environment, stderr=subprocess.PIPE)
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.sock.settimeout(DEADLINE_S)
        self.sock.connect(str(path))
        self.hello = self.fact()

    def fact(self) -> Fact:
        return decode_fact(self.sock.recv(1 << 16))

    def send(self, verb: Verb) -> None:
        self.sock.send(encode(verb))

    def close(self) -> None:
        self.sock.close()
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()
        assert self.child.stderr is not None
        self.child.stderr.close()


@pytest.fixture(params=["uvloop", "asyncio"])
def process(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Process]:
    made = Process(tmp_path / "f", request.param)
    yield made
    made.close()


def test_it_says_hello_with_a_boot_of_its_own(process: Process) -> None:
    hello = process.hello
    assert isinstance(hello, Hello)
    assert (hello.version, hello.pid, len(hello.boot)) == (VERSION, process.child.pid, 8)
    assert hello.boot != bytes(8)


def test_it_stops_when_told_to(process: Process) -> None:
    process.send(Stop())
    assert process.child.wait(DEADLINE_S) == 0
    assert process.child.stderr is not None and process.child.stderr.read() == b""


def test_sigterm_ends_it_and_sigint_does_not(process: Process) -> None:
    process.child.send_signal(signal.SIGINT)
    process.send(ReadCounters(request=1))
    assert isinstance(process.fact(), Counters)
    process.child.send_signal(signal.SIGTERM)
    assert process.child.wait(DEADLINE_S) == 0


def test_it_is_unprivileged_before_it_says_hello(process: Process) -> None:
    status = Path(f"/proc/{process.child.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status
    assert os.geteuid() != 0 or "Uid:\t0" not in status


def test_it_needs_no_file_any_more(process: Process) -> None:
    # What is imported late would be imported without privileges, from a path that may have changed.
    def maps() -> set[str]:
        with open(f"/proc/{process.child.pid}/maps") as lines:
            return {line.split()[-1] for line in lines if ".so" in line}

    before = maps()
    process.send(ReadCounters(request=1))
    assert isinstance(process.fact(), Counters)
    assert before and maps() == before


def test_the_next_meshnetd_finds_the_same_forwarder(process: Process, tmp_path: Path) -> None:
    process.sock.close()
    again = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    again.settimeout(DEADLINE_S)
    again.connect(str(tmp_path / "f"))
    process.sock = again
    hello = process.fact()
    assert isinstance(hello, Hello) and isinstance(process.hello, Hello) and hello.boot == process.hello.boot


@pytest.mark.parametrize(
    "arguments", [[], ["forwarder"], ["other", "--listener", "3"], ["forwarder", "--listener", "x"]]
)
def test_a_wrong_command_line_is_refused(arguments: list[str]) -> None:
    argv = [sys.executable, "-m", "meshnet.forwarder", *arguments]
    result = subprocess.run(argv, capture_output=True, timeout=30, check=False)
    assert result.returncode == 2 and b"usage: forwarder" in result.stderr


def test_two_forwarders_have_different_boots(tmp_path: Path) -> None:
    pair = [Process(tmp_path / name, "uvloop") for name in ("a", "b")]
    try:
        boots = {made.hello.boot for made in pair if isinstance(made.hello, Hello)}
        assert len(boots) == 2
    finally:
        for made in pair:
            made.close()
    assert poll(lambda: all(made.child.returncode is not None for made in pair), 5, "both ended")
