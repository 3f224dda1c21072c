"""Canaries: what must stay secret stands in no argument, environment, log, answer, traceback or core file."""

from __future__ import annotations

import json
import re
import sys
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.canary import Needles, Watch
from tests.lab.daemons import token_in
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.poll import poll
from tests.lab.processes import Process
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

PASSWORD = "canary-9f2c61-velvet-ostrich-tundra-4471"
KEY_BYTES = 32
START_S = 60.0
READS = (
    ["status"],
    ["peer", "ls"],
    ["network", "ls"],
    ["token", "ls"],
    ["secret", "status"],
    ["key", "show"],
)
NO_PTRACE = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]
    spare: Host
    needles: Needles = field(default_factory=Needles)

    def learn(self, state_dir: Path) -> None:
        """Every secret of a key file is looked for from now on."""
        for name, value in secrets_in(json.loads((state_dir / "keys.json").read_bytes())):
            self.needles.add(f"{name} of {state_dir.parent.name}", value)

    def unseen(self, text: bytes | str, where: str) -> None:
        assert not self.needles.within(text), where


def secrets_in(body: dict[str, object]) -> list[tuple[str, bytes]]:
    """(field, value) of every private value in a key file: whatever is 32 bytes in base64 and no certificate."""
    held: list[tuple[str, bytes]] = []
    for name, value in body.items():
        found = re.findall(r'"([A-Za-z0-9+/]{43}=)"', json.dumps(value))
        held += [(name, b64decode(text)) for text in found]
    return held


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        spare = lab.host("h3")
        workloads = found(hosts)
        all_answer(workloads)
        mesh = Mesh(lab, hosts, workloads, spare)
        mesh.needles.add("password", PASSWORD)
        for host in hosts:
            mesh.learn(host.daemon.state_dir)
        yield mesh


def files_of(host: Host) -> list[Path]:
    """What the daemons of a host write for people: everything in their run directories."""
    return [path for path in sorted(host.directory.rglob("*")) if path.is_file() and "run" in path.parent.name]


def roles(host: Host) -> list[Process]:
    return [host.daemon.meshnetd(), host.daemon.forwarder()]


def test_a_key_file_holds_what_is_looked_for(mesh: Mesh) -> None:
    """Else the other tests look for nothing."""
    body = json.loads((mesh.hosts[0].daemon.state_dir / "keys.json").read_bytes())
    assert {"identity", "static", "secrets"} <= {name for name, _ in secrets_in(body)}
    assert all(len(value) == KEY_BYTES for _, value in secrets_in(body))
    assert mesh.needles.within((mesh.hosts[0].daemon.state_dir / "keys.json").read_bytes())


def test_a_join_by_token_and_by_password_shows_neither_to_other_processes(mesh: Mesh) -> None:
    h1, spare = mesh.hosts[0], mesh.spare
    secret_file = spare.directory / "password"
    secret_file.touch(mode=0o600)
    secret_file.write_text(PASSWORD + "\n")
    token = token_in(h1.daemon.cli("token", "create").stdout)
    mesh.needles.add("token", token)
    with Watch(h1.mark, mesh.needles) as watch:
        said = [h1.daemon.cli("token", "password", "--password-file", str(secret_file))]
        for way, words, given in (
            ("token", ["join", "-"], token),
            ("password", ["join", f"{h1.address}:6799", "--password-file", str(secret_file)], None),
        ):
            daemon = spare.second_daemon(f"run-{way}", f"state-{way}")
            options = ["--name", f"by-{way}", "--state-dir", str(daemon.state_dir)]
            said.append(daemon.cli(*words, *options, input=given, timeout=START_S))
            watch.look()
            mesh.learn(daemon.state_dir)
            watch.look()
            said.append(daemon.cli("leave", "--yes"))
        said.append(h1.daemon.cli("token", "password", "--off"))
    assert len(watch.seen) > 6, "the watch saw too little"
    assert not watch.found
    for done in said:
        mesh.unseen(done.stdout + done.stderr, "what a command said")


def test_no_answer_tells_a_secret(mesh: Mesh) -> None:
    for host in mesh.hosts:
        for words in READS:
            state = ["--state-dir", str(host.daemon.state_dir)] if words[0] == "key" else []
            for form in ([], ["--json"], ["--debug"]):
                done = host.daemon.cli(*form, *words, *state, check=False)
                assert done.returncode == 0, done.stderr
                mesh.unseen(done.stdout + done.stderr, " ".join(words))


@pytest.mark.slow
def test_errors_and_tracebacks_tell_no_secret(mesh: Mesh) -> None:
    """A damaged key file, a mistyped token, a token in the wrong place: with --debug, which prints tracebacks."""
    host = mesh.spare
    daemon = host.second_daemon("run-broken", "state-broken")
    token = daemon.launch()
    mesh.needles.add("token of another mesh", token)
    mesh.learn(daemon.state_dir)
    daemon.stop()
    keys = daemon.state_dir / "keys.json"
    whole = keys.read_text()
    options = ["--state-dir", str(daemon.state_dir)]
    for broken in (
        whole[:-40],
        whole.replace('"static": "', '"static": "A'),
        whole.replace("aes", "rot13"),
        "[" + whole,
    ):
        keys.write_text(broken)
        done = daemon.cli("--debug", "start", *options, check=False)
        assert done.returncode != 0 or broken == whole
        mesh.unseen(done.stdout + done.stderr, "a start with a damaged key file")
    keys.write_text(whole)
    fresh = host.second_daemon("run-none", "state-none")
    for words in (
        ["join", token[:-3]],
        ["join", token + "x"],
        ["join", token, "--password-file", "/nonexistent"],
        ["token", "revoke", token],
        ["secret", "accept", token],
    ):
        done = fresh.cli("--debug", *words, check=False)
        assert done.returncode != 0
        mesh.unseen(done.stdout + done.stderr, words[0])


def test_no_file_but_the_key_files_holds_a_secret(mesh: Mesh) -> None:
    looked = 0
    for host in [*mesh.hosts, mesh.spare]:
        for file in files_of(host):
            mesh.unseen(file.read_bytes(), str(file))
            looked += 1
    assert looked >= len(mesh.hosts), "no log was found: the directories have moved"


def test_no_process_shows_a_secret_or_leaves_a_core(mesh: Mesh) -> None:
    for host in mesh.hosts:
        with Watch(host.mark, mesh.needles) as watch:
            watch.look()
        assert not watch.found
        for process in roles(host):
            assert process.pid in watch.seen
            limits = Path(f"/proc/{process.pid}/limits").read_text()
            assert re.search(r"^Max core file size\s+0\s+0\s", limits, re.MULTILINE), limits


def test_neither_process_can_be_read_by_another_of_its_user(mesh: Mesh) -> None:
    """Without PR_SET_DUMPABLE 0 a process of the same user reads another's memory; root's needs no ptrace for that."""
    host = mesh.hosts[1]
    host.daemon.kill("meshnetd")
    words = ["--run-dir", str(host.daemon.run_dir), "start", "--state-dir", str(host.daemon.state_dir)]
    host.run([*NO_PTRACE, sys.executable, "-m", "meshnet", *words], timeout=START_S)
    control = host.spawn([*NO_PTRACE, "sleep", "60"], name="readable")
    poll(lambda: "sleep" in Path(f"/proc/{control.pid}/cmdline").read_text(), 5, "the control")
    try:
        assert readable(host, control.pid), "a plain process is readable: else this test shows nothing"
        for process in roles(host):
            assert not readable(host, process.pid), process
    finally:
        control.stop()


def readable(host: Host, pid: int) -> bool:
    """Whether a process of the same user and groups, that may not trace others, can open the memory of `pid`.

    Not its environ: that also opens to whoever has CAP_PERFMON on newer kernels.
    """
    fields = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":\t" in line
    )
    user, group = fields["Uid"].split()[0], fields["Gid"].split()[0]
    who = ["setpriv", "--reuid", user, "--regid", group, "--clear-groups", "--bounding-set", "-sys_ptrace"]
    opens = ["--inh-caps", "-sys_ptrace", "sh", "-c", f"exec < /proc/{pid}/mem"]
    return host.run([*who, *opens], check=False).returncode == 0


@pytest.mark.slow
def test_the_commands_of_rotation_tell_no_secret(mesh: Mesh) -> None:
    """Last, because every key is another one afterwards."""
    h1, h2 = mesh.hosts
    with Watch(h1.mark, mesh.needles) as watch:
        said = [h1.daemon.cli("secret", "rotate"), h2.daemon.cli("key", "rotate")]
        poll(lambda: h2.daemon.status()["mesh"]["secret"] == 1, 30, "the new secret on h2")
        for host in mesh.hosts:
            mesh.learn(host.daemon.state_dir)
        said.append(h1.daemon.cli("secret", "status"))
        watch.look()
    assert not watch.found
    for done in said:
        mesh.unseen(done.stdout + done.stderr, "what a command said")
    for host in mesh.hosts:
        mesh.unseen(host.daemon.cli("--json", "status").stdout, "status")
    test_no_file_but_the_key_files_holds_a_secret(mesh)
