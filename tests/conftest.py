"""What every test run does: says aloud what it cannot run, retries what talks to a real kernel, sums up time.

Rules
- `root` and `docker` tests are skipped where the machine cannot run them, and the summary names the reason.
- Under CI=true nothing is skipped: every skip, also of a whole module, is a failure that carries the reason.
- A `root` or `docker` test that fails runs once more with all its fixtures made anew; if it passes then, it
  is printed as FLAKY with the first failure, and the third FLAKY of a run fails the run.
- The tests of tests/test_features.py run last, because they ask what the others did.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Generator
from pathlib import Path

import pytest
import pytest_timeout
from _pytest.runner import runtestprotocol

FLAKY_LIMIT = 3
CAP_NET_ADMIN, CAP_SYS_ADMIN = 12, 21
CI = os.environ.get("CI") == "true"

Durations = dict[str, tuple[int, float]]

durations_key = pytest.StashKey[Durations]()
flaky_key = pytest.StashKey[dict[str, str]]()
skipped_key = pytest.StashKey[dict[str, str]]()
impossible_key = pytest.StashKey[dict[str, list[str]]]()


# What this machine can run


def why_no_root_tests() -> str | None:
    """Why tests marked `root` cannot run here, or None when they can."""
    # Here and not at the top: a copy of this file runs alone in test_conftest.py.
    from tests.lab.lab import missing

    reason = missing()
    if reason is None:
        held = int(Path("/proc/self/status").read_text().split("CapEff:")[1].split()[0], 16)
        if not (held >> CAP_NET_ADMIN & 1 and held >> CAP_SYS_ADMIN & 1):
            reason = "needs CAP_NET_ADMIN and CAP_SYS_ADMIN: this container or user lacks them"
    return reason


def why_no_docker_tests() -> str | None:
    """Why tests marked `docker` cannot run here, or None when they can."""
    reason = why_no_root_tests()
    if reason is None and shutil.which("dockerd") is None:
        reason = "needs a Docker engine: DOCKER=install make test-docker installs one"
    return reason


def pytest_configure(config: pytest.Config) -> None:
    # A shell starts what it puts into the background with SIGINT ignored, and children inherit that; what Ctrl-C does
    # must not depend on how the tests were started.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    config.stash[durations_key] = {}
    config.stash[flaky_key] = {}
    config.stash[skipped_key] = {}
    config.stash[impossible_key] = {}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reasons = {"root": why_no_root_tests(), "docker": why_no_docker_tests()}
    for item in items:
        for mark, reason in reasons.items():
            if reason is not None and item.get_closest_marker(mark) is not None:
                item.add_marker(pytest.mark.skip(reason=f"{mark}: {reason}"))
                config.stash[impossible_key].setdefault(f"{mark}: {reason}", []).append(item.nodeid)
                break
    items.sort(key=lambda item: item.path.name == "test_features.py")


# Skips


def skip_reason(longrepr: object) -> str:
    """The reason inside a skipped report's `longrepr`, which pytest gives as (path, line, reason)."""
    return str(longrepr[2]) if isinstance(longrepr, tuple) and len(longrepr) == 3 else str(longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = skip_reason(report.longrepr)
        item.config.stash[skipped_key][item.nodeid] = reason
        if CI:
            report.outcome = "failed"
            report.longrepr = f"CI=true runs every test, and this one was skipped. {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    if report.outcome == "skipped":
        reason = skip_reason(report.longrepr)
        collector.config.stash[skipped_key][collector.nodeid] = reason
        if CI:
            report.outcome = "failed"
            report.longrepr = f"CI=true runs every test, and this module was skipped. {reason}"
    return report


@pytest.fixture
def skipped_tests(pytestconfig: pytest.Config) -> dict[str, str]:
    """Node id -> reason of what was skipped so far; what this machine cannot run is said aloud instead."""
    skipped = pytestconfig.stash[skipped_key]
    impossible = {node for nodes in pytestconfig.stash[impossible_key].values() for node in nodes}
    return {node: reason for node, reason in skipped.items() if node not in impossible}


# One retry for what depends on a real kernel


def is_retried(item: pytest.Item) -> bool:
    return any(item.get_closest_marker(mark) is not None for mark in ("root", "docker"))


def first_failure(reports: list[pytest.TestReport]) -> str | None:
    """The text of the first failed phase, or None."""
    return next((f"{report.when}: {report.longreprtext}" for report in reports if report.failed), None)


def make_anew(item: pytest.Item) -> None:
    """Tear down every fixture that is still up and give the test a full time limit again."""
    item.session._setupstate.teardown_exact(None)
    item.ihook.pytest_timeout_cancel_timer(item=item)
    settings = pytest_timeout._get_item_settings(item)
    if settings.timeout is not None and settings.timeout > 0 and not settings.func_only:
        item.ihook.pytest_timeout_set_timer(item=item, settings=settings)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    if not is_retried(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, log=False, nextitem=nextitem)
    failure = None if CI and any(report.skipped for report in reports) else first_failure(reports)
    if failure is not None and not item.session.shouldstop:
        try:
            make_anew(item)
        except Exception as error:
            failure += f"\nand its fixtures could not be torn down: {error!r}"
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        if first_failure(reports) is None:
            item.config.stash[flaky_key][item.nodeid] = failure
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if len(session.config.stash[flaky_key]) >= FLAKY_LIMIT and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


# The summary


def tier_of(nodeid: str) -> str:
    """The tier a test belongs to: the folder under tests/, or `repository` for the files beside this one."""
    parts = nodeid.split("::")[0].split("/")
    return parts[1] if len(parts) > 2 and parts[0] == "tests" else "repository"


class Times:
    """Adds up the time of every phase of every test, per tier."""

    def __init__(self, durations: Durations) -> None:
        self.durations = durations

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        tests, seconds = self.durations.get(tier_of(report.nodeid), (0, 0.0))
        self.durations[tier_of(report.nodeid)] = (tests + (report.when == "setup"), seconds + report.duration)


def pytest_sessionstart(session: pytest.Session) -> None:
    session.config.pluginmanager.register(Times(session.config.stash[durations_key]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    write = terminalreporter.write_line
    for nodeid, failure in config.stash[flaky_key].items():
        write(
            f"FLAKY {nodeid}: failed, then passed when run once more. The failure was:",
            yellow=True,
            bold=True,
        )
        for line in failure.splitlines():
            write(f"    {line}")
    if len(config.stash[flaky_key]) >= FLAKY_LIMIT:
        write(f"{len(config.stash[flaky_key])} FLAKY tests in one run: that is a failure.", red=True, bold=True)
    for reason, nodes in config.stash[impossible_key].items():
        write(f"!!! NOT RUN: {len(nodes)} tests. {reason}", red=True, bold=True)
    for tier, (tests, seconds) in sorted(config.stash[durations_key].items()):
        write(f"tier {tier}: {tests} tests, {seconds:.1f} s")
