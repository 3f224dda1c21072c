"""docker enable, disable, status: golden text, and JSON exactly as the API answers."""

import json

from meshnet.control.api.requests import DockerRequest
from tests.unit.cli.conftest import Run
from tests.unit.cli.fake import DOCKER, FakeDaemon

STATUS_TEXT = """\
served at /run/docker/plugins/meshnet.sock
DOCKER NETWORK  NETWORK            SUBNETS        MTU   ENDPOINTS
6f6f6f6f6f6f    web                10.77.0.0/16   1500  1
7a7a7a7a7a7a    (this host alone)  172.18.0.0/16  1500  0
"""


def test_enable_prints_the_command_that_spans_hosts(run: Run, daemon: FakeDaemon) -> None:
    ended = run("docker", "enable", "--plugin-dir", "/tmp/plugins")
    assert ended.out == "docker network create -d meshnet --ipam-driver meshnet --ipam-opt meshnet.network=web web\n"
    assert daemon.backend.calls == [("docker", DockerRequest(True, "/tmp/plugins"))]


def test_disable(run: Run, daemon: FakeDaemon) -> None:
    assert run("docker", "disable").code == 0
    assert daemon.backend.calls == [("docker", DockerRequest(False))]


def test_status(run: Run, daemon: FakeDaemon) -> None:
    ended = run("docker", "status")
    assert ended.out == STATUS_TEXT
    assert "--ipam-driver meshnet" in ended.err
    assert json.loads(run("--json", "docker", "status").out) == DOCKER


def test_status_of_a_host_that_serves_no_docker(run: Run, daemon: FakeDaemon) -> None:
    daemon.backend.answers["docker_status"] = {**DOCKER, "enabled": False, "serving": False}
    assert "docker enable" in run("docker", "status").out


def test_status_says_why_docker_is_not_served(run: Run, daemon: FakeDaemon) -> None:
    daemon.backend.answers["docker_status"] = {**DOCKER, "serving": False, "problem": "in the way"}
    assert run("docker", "status").out.startswith("not served: in the way at ")
