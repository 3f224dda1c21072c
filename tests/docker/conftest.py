"""What the tests on real engines share: two hosts of one mesh, each with an engine that finds meshnet.

Rule: when a test fails while a lab is open, the lab's artefacts are kept before anything is taken down.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import ExitStack

import pytest

from tests.docker.site import Site
from tests.lab.artefacts import directory_for, keep
from tests.lab.engine import Engine
from tests.lab.lab import Lab
from tests.lab.wire import Wire


@pytest.fixture(scope="module")
def running() -> Iterator[Site]:
    with Lab(Wire.NIC) as lab, ExitStack() as ends:
        hosts = [lab.host(name) for name in ("h1", "h2")]
        engines = [Engine(host) for host in hosts]
        for engine in engines:
            ends.callback(engine.stop)
            engine.start()
        site = Site(lab, hosts, engines)
        hosts[1].daemon.join(hosts[0].daemon.launch())
        for host in hosts:
            host.daemon.cli("docker", "enable")
        yield site


@pytest.fixture
def site(running: Site) -> Iterator[Site]:
    """The module's site, whole and empty: what a test left is taken away, by Docker's own commands."""
    running.mend()
    running.clear()
    yield running
    running.clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when in ("setup", "call") and Lab.current is not None:
        directory = directory_for(item.nodeid)
        keep(Lab.current, directory)
        report.sections.append(("artefacts", str(directory)))
    return report
