"""Root tests: what they share.

Rule: when a test fails while a lab is open, the lab's artefacts are kept under artefacts/<test>/ before
anything is taken down.
"""

from __future__ import annotations

from collections.abc import Generator

import pytest

from tests.lab.artefacts import directory_for, keep
from tests.lab.lab import Lab


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and report.when in ("setup", "call") and Lab.current is not None:
        directory = directory_for(item.nodeid)
        keep(Lab.current, directory)
        report.sections.append(("artefacts", str(directory)))
    return report
