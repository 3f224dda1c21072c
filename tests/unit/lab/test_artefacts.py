"""Where artefacts go."""

from __future__ import annotations

from tests.lab.artefacts import ARTEFACTS, LONGEST_NAME, directory_for


def test_a_test_has_one_directory_below_artefacts() -> None:
    found = directory_for("tests/live/test_mesh.py::test_ping[h1/../h2]")
    assert found.parent == ARTEFACTS
    assert found.name == "tests-live-test_mesh.py-test_ping-h1-..-h2"
    assert len(directory_for("x" * 500).name) == LONGEST_NAME
