"""attach and detach: the steps in their order, and nothing left behind whichever of them fails."""

import json
import os
from pathlib import Path

import pytest

from meshnet.control.api.requests import EndpointRequest
from meshnet.errors import ExitCode, MeshnetError
from meshnet.host import netlink
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import ENDPOINT, STATUS, FakeDaemon

HERE = str(os.getpid())


def own_key() -> str:
    status = os.stat("/proc/self/ns/net")
    return f"{status.st_dev}:{status.st_ino}"


class FakeLinks:
    """Records what is done to links instead of doing it; `failing` names the step that fails."""

    def __init__(self) -> None:
        self.done: list[tuple[object, ...]] = []
        self.failing: dict[str, BaseException] = {}

    def _do(self, step: str, *arguments: object) -> None:
        self.done.append((step, *arguments))
        if step in self.failing:
            raise self.failing[step]

    def move_link(self, name: str, namespace: int) -> None:
        assert f"{os.fstat(namespace).st_dev}:{os.fstat(namespace).st_ino}" == own_key()
        self._do("move", name)

    def configure(
        self, namespace: int, link: str, new_name: str, addresses: list[str], routes: list[str], mtu: int
    ) -> list[str]:
        self._do("configure", link, new_name, addresses, routes, mtu)
        return ["route 224.0.0.0/4 stays"]

    def restore_link(self, namespace: int, name: str, original: str) -> None:
        self._do("restore", name, original)


@pytest.fixture
def links(monkeypatch: pytest.MonkeyPatch) -> FakeLinks:
    fake = FakeLinks()
    for name in ("move_link", "configure", "restore_link"):
        monkeypatch.setattr(netlink, name, getattr(fake, name))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return fake


def asked(daemon: FakeDaemon) -> list[str]:
    return [method for method, _ in daemon.backend.calls]


def test_attach(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    ended = run("attach", HERE, "--ip", "10.32.0.2", "--ifname", "mesh0", "--network", "default")
    assert (ended.code, ended.out) == (0, "10.32.0.2/12\n")
    assert f"{HERE} is on network default: mesh0 has 10.32.0.2/12" in ended.err
    assert "note: route 224.0.0.0/4 stays" in ended.err
    assert daemon.backend.calls == [
        ("create_endpoint", EndpointRequest(HERE, own_key(), "default", "10.32.0.2", "mesh0")),
        ("confirm_endpoint", "0a1b2c3d4e"),
    ]
    assert links.done == [
        ("move", "mp0a1b2c3d4e"),
        ("configure", "mp0a1b2c3d4e", "mesh0", ["10.32.0.2/12"], ["224.0.0.0/4"], 1500),
    ]


def test_attach_by_path_and_json(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    ended = run("--json", "attach", "/proc/self/ns/net")
    assert ended.code == 0
    assert json.loads(ended.out) == ENDPOINT


@pytest.mark.parametrize(
    ("step", "error", "code"),
    [
        ("move", netlink.HostError("cannot move", "EEXIST (17)", "rename", code=17), 1),
        ("configure", netlink.HostError("cannot name", "EEXIST (17)", "--ifname", code=17), 1),
        ("configure", netlink.HostError("cannot name", "EPERM (1)", "run as root", code=1), 4),
        ("configure", KeyboardInterrupt(), 130),
    ],
)
def test_a_failing_step_undoes_the_endpoint(
    run: Run, daemon: FakeDaemon, links: FakeLinks, step: str, error: BaseException, code: int
) -> None:
    links.failing[step] = error
    ended = run("attach", HERE)
    assert (ended.code, ended.out) == (code, "")
    assert asked(daemon) == ["create_endpoint", "delete_endpoint"]
    assert "nothing was attached" in ended.err
    if isinstance(error, netlink.HostError):
        assert f"error: {error.what}" in ended.err


def test_an_unconfirmed_endpoint_is_undone(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    daemon.backend.failures["confirm_endpoint"] = MeshnetError("w", "y", "f", ExitCode.TIMED_OUT)
    ended = run("attach", HERE)
    assert (ended.code, ended.out) == (6, "")
    assert asked(daemon)[-1] == "delete_endpoint"
    assert links.done[-1][0] == "configure"


def test_without_a_daemon_to_undo_it_the_link_comes_back(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    for method in ("confirm_endpoint", "delete_endpoint"):
        daemon.backend.failures[method] = MeshnetError("w", "y", "f")
    assert run("attach", HERE).code == 1
    assert links.done[-1] == ("restore", "mesh0", "mp0a1b2c3d4e")


def test_what_cannot_be_taken_back_is_said(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    for method in ("confirm_endpoint", "delete_endpoint"):
        daemon.backend.failures[method] = MeshnetError("w", "y", "f")
    links.failing["restore"] = netlink.HostError("cannot bring back", "gone", "look")
    ended = run("attach", HERE)
    assert ended.code == 1
    assert "cannot bring back" in ended.err


def test_a_refused_endpoint_touches_no_link(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    daemon.backend.failures["create_endpoint"] = MeshnetError("in use", "by host-b", "another --ip")
    ended = run("attach", HERE, "--ip", "10.32.0.9")
    assert (ended.code, ended.out, links.done) == (1, "", [])
    assert asked(daemon) == ["create_endpoint"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("--ip", "10.32.0.0/12"), ("--ip", "x"), ("--ifname", "a b"), ("--ifname", "x" * 16), ("--ifname", "..")],
)
def test_a_wrong_option_is_named(run: Run, daemon: FakeDaemon, links: FakeLinks, option: str, value: str) -> None:
    ended = run("attach", HERE, option, value)
    assert (ended.code, ended.out) == (2, "")
    assert option in ended.err
    assert daemon.backend.calls == []


@pytest.mark.parametrize("target", ["no-such-namespace", "/nonexistent", "/etc/passwd", "4194305", ""])
def test_a_target_that_is_no_namespace(run: Run, daemon: FakeDaemon, links: FakeLinks, target: str) -> None:
    for command in ("attach", "detach"):
        ended = run(command, target)
        assert (ended.code, ended.out) == (5, "")
    assert "create_endpoint" not in asked(daemon)


def test_a_target_that_changes_meanwhile(
    run: Run, daemon: FakeDaemon, links: FakeLinks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netlink, "resolve", lambda text: netlink.ResolvedTarget("/proc/self/ns/net", "1:2", text))
    assert run("attach", HERE).code == 5
    assert daemon.backend.calls == []


@pytest.mark.parametrize("command", ["attach", "detach"])
def test_only_root_may(run: Run, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    ended = run(command, HERE)
    assert (ended.code, ended.out) == (4, "")
    assert "sudo" in ended.err
    assert daemon.backend.calls == []


def test_detach_deletes_every_endpoint_of_the_namespace(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    ended = run("detach", HERE)
    assert (ended.code, ended.out) == (0, "")
    assert "10.32.0.2/12 is free again" in ended.err
    assert daemon.backend.calls == [("list_endpoints", own_key()), ("delete_endpoint", "0a1b2c3d4e")]


def test_detach_json(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    assert json.loads(run("detach", HERE, "--json").out) == {
        "schema": "meshnet.detached/v1",
        "endpoint": "0a1b2c3d4e",
    }


def test_detach_of_what_is_on_no_network(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    daemon.backend.answers["list_endpoints"] = {"schema": "meshnet.endpoints/v1", "endpoints": []}
    assert run("detach", HERE).code == 5


@pytest.mark.parametrize("target", ["web", "0a1b2c3d4e"])
def test_a_vanished_namespace_is_detached_by_its_word(
    run: Run, daemon: FakeDaemon, links: FakeLinks, target: str
) -> None:
    assert STATUS["endpoints"][0]["target"] == "web"
    assert run("detach", target).code == 0
    assert asked(daemon) == ["status", "delete_endpoint"]


def test_the_namespace_is_held_open_no_longer_than_needed(run: Run, daemon: FakeDaemon, links: FakeLinks) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    assert run("attach", HERE).code == 0
    assert run("detach", HERE).code == 0
    assert len(list(Path("/proc/self/fd").iterdir())) == before
