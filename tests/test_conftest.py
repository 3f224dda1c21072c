"""The rules of tests/conftest.py, each shown on a small suite of its own run in a child process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

CONFTEST = Path(__file__).resolve().parent / "conftest.py"

PLUGINS_OFF = [word for name in ("cacheprovider", "hypothesispytest", "asyncio") for word in ("-p", f"no:{name}")]

INI = """
[pytest]
addopts = --strict-markers
timeout = 30
markers =
    root: needs root
    docker: needs Docker
"""


def run(folder: Path, source: str, *, ci: bool, can_root: bool = True) -> subprocess.CompletedProcess[str]:
    """Run one test module under a copy of the conftest; `can_root` decides what it says of `root` tests."""
    (folder / "pytest.ini").write_text(INI)
    shutil.copy(CONFTEST, folder / "conftest.py")
    answer = None if can_root else "needs what this machine lacks"
    rest = (folder / "conftest.py").read_text()
    (folder / "conftest.py").write_text(f"{rest}\n\ndef why_no_root_tests():\n    return {answer!r}\n")
    (folder / "test_it.py").write_text("import pytest\n" + textwrap.dedent(source))
    environment = {key: value for key, value in os.environ.items() if key != "CI"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *PLUGINS_OFF, "test_it.py"],
        cwd=folder,
        env=environment | ({"CI": "true"} if ci else {}),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def flaky(count: int) -> str:
    """A module whose `count` root tests each fail the first time they run."""
    return f"""
        runs = {{}}

        @pytest.mark.root
        @pytest.mark.parametrize("n", range({count}))
        def test_second_time_lucky(n):
            runs[n] = runs.get(n, 0) + 1
            assert runs[n] == 2, "the first time"
        """


SKIPS = """
    def test_skips():
        pytest.skip("because of the weather")
    """
MODULE_SKIPS = 'pytest.skip("nothing here", allow_module_level=True)'


@pytest.mark.parametrize(("source", "reason"), [(SKIPS, "because of the weather"), (MODULE_SKIPS, "nothing here")])
def test_a_skip_is_a_failure_under_ci_only(tmp_path: Path, source: str, reason: str) -> None:
    assert run(tmp_path, source, ci=False).returncode in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    under_ci = run(tmp_path, source, ci=True)
    assert under_ci.returncode not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    assert "CI=true runs every test" in under_ci.stdout and reason in under_ci.stdout


def test_what_the_machine_cannot_run_is_named_and_fails_under_ci(tmp_path: Path) -> None:
    source = """
        @pytest.mark.root
        def test_needs_root():
            raise AssertionError("must not run")
        """
    alone = run(tmp_path, source, ci=False, can_root=False)
    assert alone.returncode == 0
    assert "!!! NOT RUN: 1 tests. root: needs what this machine lacks" in alone.stdout
    assert run(tmp_path, source, ci=True, can_root=False).returncode == pytest.ExitCode.TESTS_FAILED


def test_two_flaky_tests_are_printed_and_pass(tmp_path: Path) -> None:
    done = run(tmp_path, flaky(2), ci=True)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("FLAKY test_it.py::test_second_time_lucky") == 2
    assert "the first time" in done.stdout


def test_a_third_flaky_test_fails_the_run(tmp_path: Path) -> None:
    done = run(tmp_path, flaky(3), ci=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "3 FLAKY tests in one run: that is a failure." in done.stdout


def test_a_test_that_fails_twice_is_a_failure_and_fixtures_are_made_anew(tmp_path: Path) -> None:
    source = """
        made = []

        @pytest.fixture(scope="module")
        def lab():
            made.append(1)
            return len(made)

        @pytest.mark.root
        def test_broken(lab):
            assert lab == 3, f"lab number {lab}"
        """
    done = run(tmp_path, source, ci=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "lab number 2" in done.stdout and "FLAKY" not in done.stdout


def test_an_unmarked_test_is_not_retried(tmp_path: Path) -> None:
    source = flaky(1).replace("@pytest.mark.root", "")
    assert run(tmp_path, source, ci=False).returncode == pytest.ExitCode.TESTS_FAILED


def test_the_summary_gives_time_per_tier(tmp_path: Path) -> None:
    done = run(tmp_path, "def test_quick():\n    pass\n", ci=False)
    assert "tier repository: 1 tests, 0." in done.stdout
