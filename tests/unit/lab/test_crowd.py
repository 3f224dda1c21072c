"""What a crowd says of a host that does not see what it should."""

from __future__ import annotations

from types import SimpleNamespace

from tests.lab.crowd import difference


def test_who_is_missing_and_who_is_still_there_is_said() -> None:
    host = SimpleNamespace(name="h1")
    assert difference({"h2", "h3"}, {"h2", "h3"}, host) == ""  # type: ignore[arg-type]
    said = difference({"h2", "h4"}, {"h2", "h3"}, host)  # type: ignore[arg-type]
    assert said == "h1 misses h3, still reaches h4"
    assert "nobody else" in difference(set(), {"h2"}, host)  # type: ignore[arg-type]
