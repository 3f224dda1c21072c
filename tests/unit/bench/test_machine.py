"""What stands beside a figure."""

from __future__ import annotations

from bench.machine import Ticks, fingerprint, ticks_in


def test_steal_is_read_from_proc_stat() -> None:
    before = ticks_in("cpu  100 0 50 800 10 0 5 35 7 0\ncpu0 1 2 3\n")
    assert before == Ticks(1000, 35)
    assert Ticks(1100, 45).percent_since(before) == 10.0
    assert before.percent_since(before) == 0.0


def test_the_fingerprint_names_the_machine_and_no_host() -> None:
    found = fingerprint()
    assert {"kernel", "cpu", "cpus", "python", "commit", "cryptography"} <= set(found)
    assert not {"host", "hostname", "node"} & set(found)
