"""What the lab says when it cannot build, run or answer.

Rule: one tree. A `LabError` means that the lab itself (or a command in it) failed; a test that sees one has
learnt nothing about meshnet beyond the text, so the text carries the command, its exit code and the end of
its output.
"""

from __future__ import annotations


class LabError(Exception):
    """A host, wire, command or capture of the lab did not do what it was asked."""


class CommandFailed(LabError):
    """A command in a namespace ended with another code than 0; `code`, `stdout` and `stderr` hold what it
    left."""

    def __init__(self, command: str, code: int, stdout: str, stderr: str) -> None:
        super().__init__(f"{command}: exit {code}\n{stdout[-2000:]}{stderr[-2000:]}".rstrip())
        self.code = code
        self.stdout = stdout
        self.stderr = stderr


class NotInTime(LabError):
    """A condition that `poll` waited for did not come true before the deadline."""
