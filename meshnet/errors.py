"""The one error an operator meets: what failed, why, what to do about it, and an exit code for its kind.

Rule: each of the three texts is one line and never holds a secret.  Control code raises `MeshnetError`; the
API answers it as JSON, the ready pipe carries the same JSON, the CLI prints it and exits with its code.
"""

from collections.abc import Mapping
from enum import IntEnum

__all__ = ["ExitCode", "MeshnetError"]

TEXT_LIMIT = 2_000
"""Characters kept of a text that came from another process."""


class ExitCode(IntEnum):
    """How a command ended; scripts rely on these numbers."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_RUNNING = 3
    PERMISSION = 4
    NOT_FOUND = 5
    TIMED_OUT = 6
    UNHEALTHY = 7


class MeshnetError(Exception):
    """An operation failed in a way an operator can act on."""

    def __init__(self, what: str, why: str, fix: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(what, why, fix, code)
        self.what = what
        self.why = why
        self.fix = fix
        self.code = code

    def __str__(self) -> str:
        return f"{self.what}: {self.why} ({self.fix})"

    def to_json(self) -> dict[str, object]:
        """The object under "error" in an answer of the API and on the ready pipe."""
        return {"what": self.what, "why": self.why, "fix": self.fix, "code": int(self.code)}

    @classmethod
    def from_json(cls, value: object) -> "MeshnetError":
        """The error another process sent; never raises, whatever the value is."""
        fields: Mapping[object, object] = value if isinstance(value, Mapping) else {}
        return MeshnetError(
            _text(fields.get("what")) or "the daemon refused",
            _text(fields.get("why")) or "it did not say why",
            _text(fields.get("fix")) or "look at the daemon's log",
            _code(fields.get("code")),
        )


def _text(value: object) -> str:
    return " ".join(value[:TEXT_LIMIT].split()) if isinstance(value, str) else ""


def _code(value: object) -> ExitCode:
    """The exit code of a failure; one that is unknown, or says success, is a plain failure."""
    if isinstance(value, int) and not isinstance(value, bool) and value in set(ExitCode) - {ExitCode.OK}:
        return ExitCode(value)
    return ExitCode.FAILED
