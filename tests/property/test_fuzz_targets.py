"""Every target of the fuzzer runs: on inputs its decoder takes, on damaged ones, on any bytes."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, seeds

INPUTS = 25


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_its_seeds_and_what_is_left_of_them(name: str) -> None:
    rng = random.Random(5)
    held = seeds(name)
    assert held, "a target without a seed gets nowhere"
    for seed in held:
        TARGETS[name](seed)
        for _ in range(INPUTS):
            damaged = bytearray(seed)
            if damaged:
                damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
            TARGETS[name](bytes(damaged))
            TARGETS[name](seed[: rng.randrange(len(seed) + 1)])


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=INPUTS, deadline=None)
@given(data=st.binary(max_size=400))
def test_a_target_takes_any_bytes(name: str, data: bytes) -> None:
    TARGETS[name](data)
