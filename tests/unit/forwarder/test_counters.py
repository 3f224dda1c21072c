"""Drop reasons: each counted from the start, spelled as the metrics spell them."""

from __future__ import annotations

import re

from meshnet.forwarder.counters import Drop, DropCounters


def test_every_reason_is_counted_from_the_start() -> None:
    counters = DropCounters()
    for reason in Drop:
        counters[reason] += 1
    assert set(counters) == set(Drop) and set(counters.values()) == {1}


def test_only_what_happened_is_told() -> None:
    counters = DropCounters()
    assert counters.nonzero() == {}
    counters[Drop.TAP_FULL] += 2
    assert counters.nonzero() == {"tap_full": 2}


def test_reasons_are_names_a_metric_can_carry() -> None:
    assert all(re.fullmatch(r"[a-z][a-z_]*", reason.value) for reason in Drop)
