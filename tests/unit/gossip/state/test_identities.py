from __future__ import annotations

from gossip.state.identities import Identities
from tests.sim.people import identity_of


def test_numbers_count_up_and_lead_back() -> None:
    made = Identities()
    names = [identity_of(name) for name in "abca"]
    assert [made.add(each) for each in names] == [0, 1, 2, 0]
    assert [made[number] for number in range(3)] == names[:3] == list(made.all()) and len(made) == 3
    assert made.find(names[2]) == 2 and made.find(identity_of("x")) is None
