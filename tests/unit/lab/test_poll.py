"""Waiting for an answer: it ends with the answer, and says what was missing."""

from __future__ import annotations

import pytest

from tests.lab.errors import CommandFailed, NotInTime
from tests.lab.poll import poll


def test_it_returns_the_first_true_answer() -> None:
    answers = iter([None, 0, "", "yes", "later"])
    assert poll(lambda: next(answers), 5, "a word") == "yes"


def test_a_failed_command_is_no_answer_yet() -> None:
    turns = []

    def question() -> bool:
        turns.append(1)
        if len(turns) < 3:
            raise CommandFailed("ping", 1, "", "")
        return True

    assert poll(question, 5, "ping")
    assert len(turns) == 3


def test_it_names_what_was_missing_and_the_last_failure() -> None:
    def question() -> bool:
        raise CommandFailed("ping h2", 1, "", "unknown host")

    with pytest.raises(NotInTime, match=r"not within 0.02 s: h2: ping h2: exit 1\nunknown host"):
        poll(question, 0.02, "h2")


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        poll(lambda: 1 // 0, 5, "never")
