"""The operator's error: its three lines survive a JSON round trip, and nothing foreign can break it."""

import json

import pytest

from meshnet.errors import ExitCode, MeshnetError


def test_exit_codes_are_the_documented_numbers() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "NOT_RUNNING": 3,
        "PERMISSION": 4,
        "NOT_FOUND": 5,
        "TIMED_OUT": 6,
        "UNHEALTHY": 7,
    }


def test_json_round_trip() -> None:
    error = MeshnetError("no token", "it is used up", "create another", ExitCode.NOT_FOUND)
    again = MeshnetError.from_json(json.loads(json.dumps(error.to_json())))
    assert (again.what, again.why, again.fix, again.code) == (error.what, error.why, error.fix, error.code)
    assert str(error) == "no token: it is used up (create another)"


@pytest.mark.parametrize(
    "value", [None, 7, [], {}, {"what": 5, "code": "x"}, {"code": 0}, {"code": True}, {"code": 99}]
)
def test_foreign_values_become_a_plain_failure(value: object) -> None:
    error = MeshnetError.from_json(value)
    assert error.code is ExitCode.FAILED
    assert error.what and error.why and error.fix


def test_texts_of_others_are_one_bounded_line() -> None:
    error = MeshnetError.from_json({"what": "a\nb" * 5000})
    assert "\n" not in error.what
    assert len(error.what) <= 2_000
