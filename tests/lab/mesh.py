"""A mesh over hosts of the lab, with one workload on each: what the demo, the playground and most tests begin
with."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial

from tests.lab.hosts import Host, Workload
from tests.lab.poll import poll

FIRST_ANSWER_S = 15.0


def found(hosts: Sequence[Host], tell: Callable[[str], None] = lambda line: None) -> list[Workload]:
    """Launch on the first host, join on the others with the printed token, attach workload `w` on each.

    `tell` gets one line per step. Returns the workloads in the order of the hosts.
    """
    token = hosts[0].daemon.launch()
    tell(f"{hosts[0].name}: meshnet launch  → meshnet join {token[:18]}…")
    for host in hosts[1:]:
        host.daemon.join(token)
        tell(f"{host.name}: meshnet join {token[:18]}…")
    return [attach(host, tell) for host in hosts]


def attach(host: Host, tell: Callable[[str], None] = lambda line: None) -> Workload:
    """A new workload `w` on `host`, attached."""
    workload = host.workload("w")
    address = host.daemon.attach(workload)
    tell(f"{host.name}: meshnet attach {workload.full_name}  → {address}")
    return workload


def all_answer(workloads: Sequence[Workload], deadline: float = FIRST_ANSWER_S) -> None:
    """Wait until every workload gets an answer from every other one."""
    for one, other in itertools.permutations(workloads, 2):
        poll(partial(one.answers, other.address), deadline, f"ping {one.name} → {other.name}")
