"""What the bench of many hosts measures, on hosts that are not there."""

from __future__ import annotations

from collections.abc import Sequence

from bench.__main__ import parser
from bench.cases.hosts import DEAD, HOSTS, UNITS, one_round


class Counted:
    """Takes a crowd's place: every command takes 1 s, and all agree after as many seconds as hosts are asked."""

    def __init__(self) -> None:
        self.hosts = list(range(HOSTS))
        self.gone: set[int] = set()
        self.asked: list[list[int]] = []

    def join(self) -> float:
        return 1.0

    def start(self, hosts: Sequence[int]) -> float:
        self.plug(hosts)
        return 1.0

    def kill(self, hosts: Sequence[int]) -> None:
        self.gone |= set(hosts)

    cut = kill

    def plug(self, hosts: Sequence[int]) -> None:
        self.gone -= set(hosts)

    def settled(self, hosts: Sequence[int], deadline: float) -> float:
        assert set(hosts) == set(self.hosts) - self.gone
        self.asked.append(list(hosts))
        return float(len(hosts))


def test_a_round_gives_every_figure_and_asks_all_who_are_left() -> None:
    crowd = Counted()
    figures = one_round(crowd)  # type: ignore[arg-type]
    assert set(figures) == set(UNITS) and not crowd.gone
    assert (figures["joined"], figures["killed"], figures["silent"]) == (HOSTS, HOSTS - DEAD, HOSTS - DEAD)


def test_it_is_a_case_of_the_bench() -> None:
    assert parser().parse_args(["hosts"]).case == "hosts"
