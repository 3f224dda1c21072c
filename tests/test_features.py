"""docs/features.md says only what is shown: every row names tests that exist and ran, or a bench result.

Rule: a row's second column holds `tests/…::test_name` or `bench/results/….json`, at least one, each in backquotes.
The last test here runs at the end of a session (tests/conftest.py orders it so) and fails when a named test was
collected but skipped.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FEATURES = ROOT / "docs" / "features.md"
COLUMNS = 3


@dataclass(frozen=True)
class Row:
    """One row of a features table: what a user can do, what shows it, what it does not do."""

    line: int
    feature: str
    shown_by: tuple[str, ...]


def rows_of(text: str) -> list[Row]:
    """The rows of every table in `text`, without headings and rules."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|") or len(cells) != COLUMNS or set(cells[0]) <= set("-: "):
            continue
        if cells[1] != "shown by":
            rows.append(Row(number, cells[0], tuple(re.findall(r"`([^`]+)`", cells[1]))))
    return rows


def why_not_shown(reference: str, root: Path) -> str | None:
    """Why `reference` shows nothing, or None: the file, and in it the test, must exist and may not be marked skip."""
    path, _, name = reference.partition("::")
    file = root / path
    if path.startswith("bench/results/") and path.endswith(".json"):
        return None if file.is_file() and json.loads(file.read_text()) else f"{path} does not exist or is empty"
    if not path.startswith("tests/") or not name:
        return f"{reference} is neither a test nor a bench result"
    if not file.is_file():
        return f"{path} does not exist"
    body: list[ast.stmt] = ast.parse(file.read_text()).body
    for part in name.split("::"):
        found = [node for node in body if getattr(node, "name", None) == part]
        if not found:
            return f"{path} has no {part}"
        node = found[0]
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return f"{reference} is no test"
        if any(re.search(r"mark\.(skip|skipif|xfail)\b", ast.unparse(mark)) for mark in node.decorator_list):
            return f"{reference} is marked not to run"
        body = node.body
    return None if name.split("::")[-1].startswith("test_") else f"{reference} is no test"


ROWS = rows_of(FEATURES.read_text())


def test_there_are_features() -> None:
    assert ROWS, "docs/features.md has no table any more"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"line {row.line}")
def test_a_feature_is_shown_by_a_test_or_a_result(row: Row) -> None:
    assert row.shown_by, f"docs/features.md:{row.line}: nothing shows {row.feature!r}"
    wrong = [reason for reference in row.shown_by if (reason := why_not_shown(reference, ROOT))]
    assert not wrong, f"docs/features.md:{row.line}: {'; '.join(wrong)}"


PLANTED = """
import pytest
class TestGroup:
    def test_inside(self): ...
@pytest.mark.skip
def test_asleep(): ...
def helper(): ...
"""


@pytest.mark.parametrize(
    ("reference", "shown"),
    [
        ("tests/test_planted.py::TestGroup::test_inside", True),
        ("tests/test_planted.py::test_gone", False),
        ("tests/test_planted.py::test_asleep", False),
        ("tests/test_planted.py::helper", False),
        ("tests/test_planted.py", False),
        ("tests/test_gone.py::test_gone", False),
        ("bench/results/gone.json", False),
        ("README.md", False),
    ],
)
def test_a_reference_that_shows_nothing_is_found(tmp_path: Path, reference: str, shown: bool) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_planted.py").write_text(PLANTED)
    assert (why_not_shown(reference, tmp_path) is None) == shown


def test_no_feature_was_skipped_in_this_run(skipped_tests: dict[str, str]) -> None:
    named = {reference for row in ROWS for reference in row.shown_by}
    skipped = {node: reason for node, reason in skipped_tests.items() if node.split("[")[0] in named}
    modules = {reference.split("::")[0] for reference in named} & set(skipped_tests)
    assert not skipped and not modules, f"docs/features.md promises what did not run: {skipped or modules}"
