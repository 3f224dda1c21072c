"""Bad input from operators and from the wire: one clear answer or a counted drop, and nothing is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.lab.daemons import Daemon, token_in
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, found
from tests.lab.pcap import Datagram
from tests.lab.poll import poll
from tests.lab.traffic import TALK, send
from tests.lab.wire import Wire

pytestmark = pytest.mark.root

PORT = 6799
OTHER_VERSION = 99
RECORD = 4  # the low four bits of a record's first byte, docs/wire.md
HEADER = 16
JOIN_S = 45.0  # beyond the command's own patience: it must say itself that it gave up
UNKNOWN_INDEX = bytes.fromhex("fffffffe")


@dataclass
class Mesh:
    lab: Lab
    hosts: list[Host]
    workloads: list[Workload]
    spare: Host

    def unharmed(self) -> None:
        """Whatever was tried, both members are as before."""
        all_answer(self.workloads, deadline=5.0)
        for host in self.hosts:
            assert len(host.daemon.processes()) == 2


@pytest.fixture(scope="module")
def mesh() -> Iterator[Mesh]:
    with Lab(Wire.NIC, record=True) as lab:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        spare = lab.host("h3")
        lab.host("h4")
        yield Mesh(lab, hosts, found(hosts), spare)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """A command failed as an operator should meet it: what, why and what to do, one line each, no traceback."""
    said = done.stdout + done.stderr
    assert 1 <= done.returncode <= 7, said
    assert "Traceback" not in said
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "why:", "fix:"))]
    assert [line.partition(":")[0] for line in lines] == ["error", "why", "fix"], said
    for word in words:
        assert word.lower() in said.lower(), said


def fresh(host: Host, label: str) -> Daemon:
    """A daemon handle on directories that nobody has used."""
    return host.second_daemon(f"run-{label}", f"state-{label}")


def try_join(daemon: Daemon, token: str, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["join", token, "--name", daemon.host.name, *options]
    return daemon.cli(*words, "--state-dir", str(daemon.state_dir), check=False, timeout=JOIN_S)


def create_token(host: Host, *options: str) -> str:
    return token_in(host.daemon.cli("token", "create", *options).stdout)


def test_a_mistyped_or_truncated_token_is_named_as_such(mesh: Mesh) -> None:
    token = create_token(mesh.hosts[0])
    daemon = fresh(mesh.spare, "typo")
    for wrong in (token[:-5], token[:20] + ("A" if token[20] != "A" else "B") + token[21:], "mesh1-", "nonsense"):
        refused(try_join(daemon, wrong), "token")
        assert not daemon.processes()
    assert token not in try_join(daemon, token + "x").stderr
    mesh.unharmed()


def test_a_token_is_good_for_its_uses_and_no_more(mesh: Mesh) -> None:
    token = create_token(mesh.hosts[0], "--uses", "1")
    first, second = fresh(mesh.spare, "first"), fresh(mesh.spare, "second")
    first.join(token)
    try:
        refused(try_join(second, token, "--listen", f"{mesh.spare.address}:6900", "--name", "h5"), "used")
        assert not second.state_dir.joinpath("keys.json").exists()
    finally:
        first.stop()
    mesh.unharmed()


def test_an_expired_token_is_refused_as_expired(mesh: Mesh) -> None:
    answer = mesh.hosts[0].daemon.json("token", "create", "--ttl", "1s")
    expires = answer["expires_at"]
    end = float(expires) if not isinstance(expires, str) else datetime.fromisoformat(expires).timestamp()
    poll(lambda: time.time() > end + 1, 10, "expiry of the token")
    refused(try_join(fresh(mesh.spare, "late"), answer["token"]), "expired", "token create")
    mesh.unharmed()


@pytest.mark.parametrize("how", ["stopped", "unplugged"])
def test_an_issuer_that_is_down_is_named_with_the_remedy(mesh: Mesh, how: str) -> None:
    """Stopped: its kernel refuses the connection. Unplugged: nothing answers at all, at two addresses."""
    issuer, joiner = mesh.spare, mesh.lab.hosts["h4"]
    lonely = fresh(issuer, how)
    token = lonely.launch()
    try:
        if how == "stopped":
            lonely.stop()
        else:
            mesh.lab.switch.unplug(issuer)
        refused(try_join(fresh(joiner, how), token), issuer.address, "token create")
    finally:
        mesh.lab.switch.plug(issuer)
        if how == "unplugged":
            lonely.stop()


def test_a_name_in_use_is_refused(mesh: Mesh) -> None:
    token = create_token(mesh.hosts[0])
    refused(try_join(fresh(mesh.spare, "name"), token, "--name", "h2"), "taken", "--name")
    mesh.unharmed()


def test_an_address_in_use_is_refused_and_the_attachment_leaves_nothing(mesh: Mesh) -> None:
    (h1, _), (one, two) = mesh.hosts, mesh.workloads
    guest = h1.workload("guest")
    for taken in (one.address, two.address):
        refused(h1.daemon.cli("attach", guest.full_name, "--ip", taken, check=False), taken)
        assert "mesh0" not in guest.run(["ip", "-o", "link"]).stdout
    assert len(h1.daemon.status()["endpoints"]) == 1
    h1.daemon.attach(guest)
    poll(lambda: guest.answers(two.address), 5, "answer")
    h1.daemon.detach(guest)


def test_attach_names_a_target_that_is_none(mesh: Mesh) -> None:
    refused(mesh.hosts[0].daemon.cli("attach", "nobody", check=False), "nobody")
    refused(mesh.hosts[0].daemon.cli("attach", "4194303", check=False), "4194303")
    mesh.unharmed()


def test_two_daemons_on_one_run_dir_are_refused(mesh: Mesh) -> None:
    daemon = mesh.hosts[0].daemon
    before = daemon.meshnetd()
    other = Daemon(mesh.hosts[0], daemon.run_dir, daemon.state_dir.with_name("state-other"))
    words = ["launch", "--name", "other", "--listen", f"{mesh.hosts[0].address}:6901"]
    refused(other.cli(*words, "--state-dir", str(other.state_dir), check=False), str(daemon.run_dir))
    assert daemon.meshnetd() == before
    mesh.unharmed()


def test_two_daemons_on_one_state_dir_are_refused(mesh: Mesh) -> None:
    host = mesh.hosts[0]
    other = Daemon(host, host.daemon.run_dir.with_name("run-other"), host.daemon.state_dir)
    refused(other.cli("start", "--state-dir", str(other.state_dir), check=False), str(other.state_dir))
    mesh.unharmed()


def test_launch_and_join_on_a_state_dir_with_a_mesh_name_start(mesh: Mesh) -> None:
    host = mesh.hosts[0]
    keys = (host.daemon.state_dir / "keys.json").read_bytes()
    token = create_token(host)
    for words in (["launch"], ["join", token]):
        refused(host.daemon.cli(*words, "--state-dir", str(host.daemon.state_dir), check=False), "start")
    assert (host.daemon.state_dir / "keys.json").read_bytes() == keys
    mesh.unharmed()


def database(state: Path) -> Path:
    """The daemon's state, not the copies beside it."""
    found = state / "state.db"
    assert found.read_bytes().startswith(b"SQLite")
    return found


def content(state: Path) -> dict[str, bytes]:
    """The files that hold state; `lock` names the last process that looked."""
    return {path.name: path.read_bytes() for path in sorted(state.iterdir()) if path.is_file() and path.name != "lock"}


def unchanged_after_refusal(daemon: Daemon, *words: str) -> None:
    before = content(daemon.state_dir)
    refused(daemon.cli("start", "--state-dir", str(daemon.state_dir), check=False), *words)
    after = content(daemon.state_dir)
    assert {name: after.get(name) for name in before} == before
    assert not daemon.processes()


def test_a_state_dir_of_another_version_is_refused_and_untouched(mesh: Mesh) -> None:
    daemon = fresh(mesh.spare, "version")
    daemon.launch()
    daemon.stop()
    with sqlite3.connect(database(daemon.state_dir)) as connection:
        was = connection.execute("PRAGMA user_version").fetchone()[0]
        connection.execute(f"PRAGMA user_version = {OTHER_VERSION}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    unchanged_after_refusal(daemon, str(OTHER_VERSION))
    with sqlite3.connect(database(daemon.state_dir)) as connection:
        connection.execute(f"PRAGMA user_version = {was}")
    connection.close()
    daemon.start()
    daemon.stop()


def test_a_state_dir_of_another_peer_is_refused_and_untouched(mesh: Mesh) -> None:
    one, other = fresh(mesh.spare, "mine"), fresh(mesh.spare, "theirs")
    for daemon in (one, other):
        daemon.launch()
        daemon.stop()
    mine = (one.state_dir / "keys.json").read_bytes()
    (one.state_dir / "keys.json").write_bytes((other.state_dir / "keys.json").read_bytes())
    unchanged_after_refusal(one)
    (one.state_dir / "keys.json").write_bytes(mine)
    one.start()
    one.stop()


def test_a_key_that_others_can_read_refuses_start(mesh: Mesh) -> None:
    daemon = fresh(mesh.spare, "open")
    daemon.launch()
    daemon.stop()
    keys = daemon.state_dir / "keys.json"
    keys.chmod(0o644)
    unchanged_after_refusal(daemon, "keys.json")
    keys.chmod(0o600)
    daemon.start()
    daemon.stop()


def drops(host: Host) -> int:
    return sum(host.daemon.status()["drops"].values())


def raw(source: Host, target: Host, payload: bytes) -> None:
    """One datagram from `source`'s meshnet port, as if its forwarder had sent it."""
    source.run([*TALK, "raw", target.address, str(PORT), str(PORT), payload.hex()])


def test_garbage_and_truncated_datagrams_are_counted_and_harm_nothing(mesh: Mesh) -> None:
    h1, h2 = mesh.hosts
    before = drops(h1)
    junk = [
        b"",
        b"\x00",
        b"\x01" * 184,
        b"\x02" * 116,
        b"\x04" * 15,
        b"\x04" * 16,
        b"\x04" + bytes(1400),
        b"\xff" * 1400,
    ]
    for payload in junk:
        send(mesh.spare, "udp", h1.address, payload, port=PORT)
        raw(h2, h1, payload)
    # Of 16 datagrams a few may be counted in one place with others (an empty one may be none at all).
    poll(lambda: drops(h1) >= before + 12, 5, f"drops at h1 beyond {before}")
    mesh.unharmed()


def test_replayed_and_forged_records_are_dropped_and_delivered_never(mesh: Mesh) -> None:
    (h1, h2), (one, two) = mesh.hosts, mesh.workloads
    with mesh.lab.capture(h1) as capture:
        assert two.answers(one.address)
        poll(lambda: records(capture.datagrams(port=PORT), h2), 5, "a record from h2")
    seen = records(capture.datagrams(port=PORT), h2)
    before, delivered = drops(h1), received(one)
    for payload in seen[:5]:
        raw(h2, h1, payload)
        raw(h2, h1, payload[:-1] + bytes([payload[-1] ^ 1]))
        raw(h2, h1, payload[:4] + UNKNOWN_INDEX + payload[8:])
        raw(h2, h1, payload[: HEADER + 3])
    poll(lambda: drops(h1) > before, 5, f"drops at h1 beyond {before}")
    assert received(one) == delivered
    mesh.unharmed()


def received(workload: Workload) -> int:
    """ICMP echo requests that came out of the overlay so far."""
    counters = workload.run(["cat", "/proc/net/snmp"]).stdout
    names, values = (line.split() for line in counters.splitlines() if line.startswith("Icmp:"))
    return int(values[names.index("InEchos")])


def records(datagrams: list[Datagram], sender: Host) -> list[bytes]:
    return [
        one.payload
        for one in datagrams
        if one.source == sender.address and one.payload and one.payload[0] & 15 == RECORD
    ]


@pytest.mark.parametrize(
    "stream",
    [
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\xff" * 70_000,
        b"MESHNET" + bytes(9),
        b"MESHNET\x01\x02" + bytes(7) + b"\xff\xff" * 40_000,
    ],
    ids=["nothing", "http", "oversize", "wrong-version", "hello-then-junk"],
)
def test_malformed_tcp_streams_are_closed_and_harm_nothing(mesh: Mesh, stream: bytes) -> None:
    for _ in range(3):
        # The daemon may hang up before all of it is written: that is an answer too.
        argv = [*TALK, "send", "tcp", mesh.hosts[0].address, str(PORT), "-"]
        mesh.spare.run(argv, input=stream.hex(), check=False)
    mesh.unharmed()
