"""Who is in: tokens withdrawn, a password, the allow-list, and peers that are thrown out while they talk."""

from __future__ import annotations

import itertools
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.lab.barrier import Barrier
from tests.lab.daemons import Daemon, token_in
from tests.lab.flow import Flow
from tests.lab.hosts import Host, Workload
from tests.lab.lab import Lab
from tests.lab.mesh import all_answer, attach
from tests.lab.poll import poll
from tests.lab.wire import Wire

pytestmark = [pytest.mark.root, pytest.mark.timeout(180)]

RATE = 20
CUT_S = 3 * 2.0
SILENT_S = 2.0
STILL_TRIES = 5
KNOWN_S = 15.0
JOIN_S = 45.0
PORT = 6799
GOOD = "velvet-ostrich-9f2c61-tundra-4471-mosaic"
WEAK = "password1234"
_labels = itertools.count()


@dataclass
class Mesh:
    """h1 founded it; h2 may invite, and h3 joined at h2; h4 and h5 joined at h1; hosts of `spare` are in no mesh."""

    lab: Lab
    hosts: dict[str, Host]
    workloads: dict[str, Workload]
    spare: list[Host]
    out: set[str] = field(default_factory=set)

    def whole(self) -> None:
        """Everybody who is still in reaches everybody."""
        all_answer([workload for name, workload in self.workloads.items() if name not in self.out])


@pytest.fixture(scope="module")
def running() -> Iterator[Mesh]:
    with Lab(Wire.OFFLOAD, record=True) as lab:
        hosts = {name: lab.host(name) for name in ("h1", "h2", "h3", "h4", "h5")}
        spare = [lab.host(name) for name in ("s1", "s2")]
        launched = hosts["h1"].daemon.launch()
        hosts["h2"].daemon.join(create_token(hosts["h1"], "--role", "invite"))
        hosts["h3"].daemon.join(create_token(hosts["h2"]))
        for name in ("h4", "h5"):
            hosts[name].daemon.join(launched)
        yield Mesh(lab, hosts, {name: attach(host) for name, host in hosts.items()}, spare)


@pytest.fixture
def mesh(running: Mesh) -> Mesh:
    running.whole()
    return running


def create_token(host: Host, *options: str) -> str:
    return token_in(host.daemon.cli("token", "create", *options).stdout)


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    said = done.stdout + done.stderr
    assert 1 <= done.returncode <= 7 and "Traceback" not in said, said
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "why:", "fix:"))]
    assert [line.partition(":")[0] for line in lines] == ["error", "why", "fix"], said
    for word in words:
        assert word.lower() in said.lower(), said


def newcomer(host: Host) -> Daemon:
    """A daemon on directories that nobody has used."""
    label = next(_labels)
    return host.second_daemon(f"run-{label}", f"state-{label}")


def try_join(daemon: Daemon, word: str, *options: str) -> subprocess.CompletedProcess[str]:
    places = ["--name", f"{daemon.host.name}-{daemon.run_dir.name}", "--state-dir", str(daemon.state_dir)]
    return daemon.cli("join", word, *places, *options, check=False, timeout=JOIN_S)


def peers(host: Host) -> dict[str, dict[str, Any]]:
    return {peer["name"]: peer for peer in host.daemon.status()["peers"]}


def state_of(host: Host, name: str) -> str:
    return str(peers(host).get(name, {}).get("state", "unknown"))


def never_answers(one: Workload, other: Workload) -> None:
    for _ in range(STILL_TRIES):
        assert not one.answers(other.address), f"{one.name} reaches {other.name}"


def password_file(host: Host, text: str) -> str:
    file = host.directory / f"password-{next(_labels)}"
    file.touch(mode=0o600)
    file.write_text(text + "\n")
    return str(file)


def test_who_lacks_the_role_is_refused_and_nothing_changes(mesh: Mesh) -> None:
    plain, other = mesh.hosts["h4"], mesh.hosts["h5"]
    key = peers(plain)["h5"]["id"]
    for words in (
        ["peer", "revoke", "h5"],
        ["peer", "allow", "--list-on"],
        ["peer", "allow", key],
        ["secret", "rotate"],
    ):
        refused(plain.daemon.cli(*words, check=False), "admin")
    refused(plain.daemon.cli("token", "create", check=False), "invite")
    assert state_of(mesh.hosts["h1"], "h5") == "up"
    assert other.daemon.status()["mesh"] == mesh.hosts["h1"].daemon.status()["mesh"]
    mesh.whole()


def test_a_token_is_listed_and_withdrawn(mesh: Mesh) -> None:
    h1 = mesh.hosts["h1"]
    before = {one["id"] for one in h1.daemon.json("token", "ls")["tokens"]}
    token = create_token(h1, "--uses", "5")
    [listed] = [one for one in h1.daemon.json("token", "ls")["tokens"] if one["id"] not in before]
    assert (listed["uses"], listed["left"], listed["redeemed"]) == (5, 5, [])
    first, second = newcomer(mesh.spare[0]), newcomer(mesh.spare[1])
    assert try_join(first, token).returncode == 0
    [listed] = [one for one in h1.daemon.json("token", "ls")["tokens"] if one["id"] == listed["id"]]
    assert listed["left"] == 4 and listed["redeemed"] == [first.status()["peer"]["id"]]
    h1.daemon.cli("token", "revoke", listed["id"])
    refused(try_join(second, token), "token")
    assert not (second.state_dir / "keys.json").exists()
    poll(lambda: "h1" in first.peers_up(), KNOWN_S, "who joined before stays in")
    first.cli("leave", "--yes")


@pytest.mark.slow
def test_a_password_admits_until_it_is_switched_off(mesh: Mesh) -> None:
    h1, host = mesh.hosts["h1"], mesh.spare[0]
    address = f"{h1.address}:{PORT}"
    refused(h1.daemon.cli("token", "password", "--password-file", password_file(h1, WEAK), check=False), "password")
    good = password_file(host, GOOD)
    daemon = newcomer(host)
    assert try_join(daemon, address, "--password-file", good).returncode != 0, "no password was set yet"
    h1.daemon.cli("token", "password", "--password-file", password_file(h1, GOOD))
    refused(try_join(daemon, address, "--password-file", password_file(host, GOOD + "x")), "password")
    done = try_join(daemon, address, "--password-file", good)
    assert done.returncode == 0, done.stderr
    poll(lambda: set(daemon.peers_up()) >= {"h1", "h2", "h3"}, KNOWN_S, "the others, seen by who joined by password")
    assert daemon.status()["peer"]["roles"] == []
    guest = host.workload("guest")
    guest_address = daemon.attach(guest)
    poll(lambda: mesh.workloads["h3"].answers(guest_address), KNOWN_S, "its workload, from another host")
    daemon.cli("leave", "--yes")
    h1.daemon.cli("token", "password", "--off")
    refused(try_join(newcomer(host), address, "--password-file", good))


@pytest.mark.slow
def test_the_allow_list_admits_whom_it_names_and_nobody_else(mesh: Mesh) -> None:
    h1, host = mesh.hosts["h1"], mesh.spare[1]
    daemon = newcomer(host)
    try:
        h1.daemon.cli("peer", "allow", "--list-on")
        mesh.whole()
        key = daemon.json("key", "show", "--state-dir", str(daemon.state_dir))["key"]
        refused(try_join(daemon, create_token(h1)), "peer allow")
        h1.daemon.cli("peer", "allow", key)
        assert try_join(daemon, create_token(h1)).returncode == 0
        assert daemon.status()["peer"]["id"] == key
        guest = host.workload("listed")
        address = daemon.attach(guest)
        victim = mesh.workloads["h2"]
        poll(lambda: guest.answers(victim.address) and victim.answers(address), KNOWN_S, "traffic of the listed")
        h1.daemon.cli("peer", "allow", "--remove", key)
        poll(lambda: not guest.answers(victim.address), CUT_S, "its end, taken off the list")
        never_answers(victim, guest)
        h1.daemon.cli("peer", "allow", key)
        poll(lambda: guest.answers(victim.address), KNOWN_S, "traffic of who is on the list again")
    finally:
        h1.daemon.cli("peer", "allow", "--list-off")
    daemon.cli("leave", "--yes")
    mesh.whole()


def test_a_revoked_peer_is_cut_off_in_the_midst_of_traffic_and_for_good(mesh: Mesh) -> None:
    h1, victim = mesh.hosts["h1"], mesh.hosts["h4"]
    inside, outside = mesh.workloads["h3"], mesh.workloads["h4"]
    with Flow(inside, outside.address, rate=RATE) as towards, Flow(outside, inside.address, rate=RATE) as away:
        for flow in (towards, away):
            flow.answered(RATE)
        h1.daemon.cli("peer", "revoke", "h4", "--reason", "it was sold")
        said = time.time()
        mesh.out.add("h4")
        for flow in (towards, away):
            flow.silent(SILENT_S, CUT_S + SILENT_S)
            assert flow.last() - said < CUT_S
    for name in ("h1", "h2", "h3", "h5"):
        # Frames end with the endpoints' rows already: the keys must be gone too.
        assert peers(mesh.hosts[name])["h4"]["session_age_s"] is None, name
    assert all(peer["session_age_s"] is None for peer in peers(victim).values())
    for name in ("h1", "h2", "h3", "h5"):
        poll(lambda name=name: state_of(mesh.hosts[name], "h4") == "revoked", KNOWN_S, f"revoked, at {name}")  # type: ignore[misc]
    poll(lambda: "revoked" in str(victim.daemon.status()["notices"]), KNOWN_S, "it knows it itself")
    mesh.whole()
    for host in mesh.hosts.values():
        host.daemon.kill("meshnetd", "forwarder")
    for host in mesh.hosts.values():
        host.daemon.start()
    mesh.whole()
    never_answers(outside, inside)
    never_answers(mesh.workloads["h1"], outside)
    assert all(state_of(mesh.hosts[name], "h4") == "revoked" for name in ("h1", "h2", "h3", "h5"))
    refused(h1.daemon.cli("peer", "revoke", "nobody", check=False), "nobody")


@pytest.mark.slow
def test_what_a_revoked_issuer_signs_later_is_void(mesh: Mesh) -> None:
    """The issuer is cut off when it is revoked, so it does not know and admits another host. h3, earlier, stays in."""
    h1, issuer, stranger = mesh.hosts["h1"], mesh.hosts["h2"], mesh.spare[0]
    rest = [host for name, host in mesh.hosts.items() if name != "h2"]
    wall = Barrier(mesh.lab.switch)
    wall.between([issuer, stranger], rest)
    daemon = newcomer(stranger)
    try:
        h1.daemon.cli("peer", "revoke", "h2")
        mesh.out.add("h2")
        assert try_join(daemon, create_token(issuer)).returncode == 0
        guest = stranger.workload("late")
        address = daemon.attach(guest)
        poll(lambda: guest.answers(mesh.workloads["h2"].address), KNOWN_S, "the two outside reach each other")
    finally:
        wall.lift()
    for name in ("h1", "h3", "h5"):
        never_answers(guest, mesh.workloads[name])
        assert not mesh.workloads[name].answers(address)
        assert daemon.status()["peer"]["name"] not in mesh.hosts[name].daemon.peers_up()
    mesh.whole()
    daemon.stop()
