from __future__ import annotations

from gossip import limits
from gossip.state.pace import Pace


def test_a_burst_then_a_rate_and_each_owner_for_itself() -> None:
    pace, burst = Pace(), int(limits.OWNER_BURST)
    assert all(pace.allows(b"a", 1.0) for _ in range(burst))
    assert not pace.allows(b"a", 1.0) and pace.allows(b"b", 1.0)
    later = 1.0 + 10.5 / limits.OWNER_PER_S
    assert [pace.allows(b"a", later) for _ in range(12)] == [True] * 10 + [False] * 2


def test_who_calmed_down_is_forgotten() -> None:
    pace = Pace()
    for owner in (b"a", b"b", b"b"):
        pace.allows(owner, 0.0)
    pace.forget(1.5 / limits.OWNER_PER_S)
    assert len(pace) == 1
    pace.forget(60.0)
    assert len(pace) == 0
