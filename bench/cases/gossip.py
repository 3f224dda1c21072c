"""What gossip costs and how fast it is, at hundreds of peers in virtual time.

Rule: the peers are real cores in the simulated world of `tests.sim.scale`, which says what is cheaper there than in
life. Virtual seconds say how fast the mesh is, processor seconds what a peer's steps take here without signatures
(about 0.1 ms each, once per statement heard). Bytes marked `wire` are those a peer sends and receives, with records,
TCP and IP.

`cold`: all peers restart at once, each with every other's old statements. `fresh`: all start at once, each knowing
three. `settled`: a mesh that runs for long; one change after the other, five silent deaths, one clean stop, one peer
that stands still for 5 s. `healed`: every second peer of the same mesh cut off from the others, and heard again.
`memory`: one core that knows them all, statements packed as they are in life. `python -m bench gossip memory` measures
that alone.
"""

from __future__ import annotations

import gc
import statistics
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from random import Random

from bench.run import say
from gossip.events import Output, Reachable
from gossip.limits import HEARTBEAT_S
from gossip.node import Node
from gossip.spreading.codec import Beat, encode
from gossip.state.bodies import LINKS, PEER, LinksBody, encode_body
from gossip.state.statements import author
from tests.sim.people import MESH, identity_of, sign_as
from tests.sim.scale import Host, World, body_of, core
from tests.sim.sharing import shared

Figures = dict[str, float]

PARTS = ("memory", "cold", "fresh", "settled", "healed")  # the last goes on where the one before it ended
COLD_MOST = 300  # a cold start of more takes many minutes of processor time
PATIENCE_S = 120.0
QUIET_S, IDLE_S = 45.0, 30.0
REST_S = 300.0
CHANGES = 20
DEATHS, STALL_S = 5, 5.0
SEED_PEERS = 3

GOALS: Mapping[str, tuple[str, float]] = {
    "change_p99_s": ("a change known everywhere, p99, s", 2.0),
    "idle_wire_b_per_s": ("idle control traffic of a peer, B/s on the wire", 2000.0),
    "cold_s": ("all restart at once: views equal and all reached, s", 10.0),
    "fresh_s": ("all start at once, knowing three: the same, s", 10.0),
    "death_s": ("a silent death known everywhere, s", 16.0),
    "stop_s": ("a clean stop known everywhere, s", 2.0),
    "stall_false_deaths": ("others believed dead when one stands still for 5 s", 0.0),
    "healed_s": ("after a cut: views equal and all reached, s", 10.0),
    "memory_b_per_peer": ("memory per known peer in one core, B", 1000.0),
}


@dataclass(frozen=True)
class Plan:
    """What to measure at one size: which PARTS. cut_s: how long the halves hear nothing of each other."""

    size: int
    cut_s: float = 3600.0
    seed: int = 1
    parts: Sequence[str] = PARTS


def measure(plan: Plan) -> Figures:
    """The figures of one size."""
    found: Figures = {"size": plan.size, "cut_s": plan.cut_s}
    if "memory" in plan.parts:
        found |= _said(plan, "memory", memory)
    with shared():
        for case in (cold, fresh):
            if case.__name__ in plan.parts and plan.size <= COLD_MOST:
                found |= _said(plan, case.__name__, case)
        world = World(plan.seed, plan.size)
        for name, part in (("settled", settled), ("healed", healed)):
            if name in plan.parts:
                found |= _said(plan, name, partial(part, world=world))
    return found


def _said(plan: Plan, name: str, case: Callable[[Plan], Figures]) -> Figures:
    began = time.monotonic()
    figures = case(plan)
    said = ", ".join(f"{key} {value:.3g}" for key, value in figures.items())
    say(f"{plan.size} peers, {name}, {time.monotonic() - began:.0f} s: {said}")
    return figures


def cold(plan: Plan) -> Figures:
    """All peers restart at once and know each other of old."""
    world = World(plan.seed, plan.size)
    wires = _statements(plan.size)
    for index in range(plan.size):
        world.boot(index, wires)
    return _together(world, "cold")


def fresh(plan: Plan) -> Figures:
    """All peers start at once; each knows the statements of a few others, as a joiner does."""
    world = World(plan.seed, plan.size)
    wires = _statements(plan.size)
    each = len(wires) // plan.size
    for index in range(plan.size):
        known = {0, *world.rng.sample(range(plan.size), SEED_PEERS - 1)}
        world.boot(index, [wire for peer in sorted(known) for wire in wires[peer * each : (peer + 1) * each]])
    return _together(world, "fresh")


def _together(world: World, name: str) -> Figures:
    """From now until all views are equal and everybody reaches everybody."""
    size = len(world.hosts)
    done = world.run(PATIENCE_S, world.whole)
    traffic = world.traffic()
    state = sum(map(len, world.hosts[0].node.export()))
    received = sum(each.received_b for each in traffic) / size
    return {
        f"{name}_s": world.now if done else float("inf"),
        f"{name}_received_b_per_peer": received,
        f"{name}_received_over_state": received / state,
        f"{name}_cpu_s_per_peer": sum(each.cpu_s for each in traffic) / size,
    }


def settled(plan: Plan, world: World) -> Figures:
    """A mesh at rest, and what single events do to it."""
    world.settle(QUIET_S)
    world.reset_traffic()
    world.run(world.now + IDLE_S)
    traffic = world.traffic()
    degrees = world.degrees()
    idle: Figures = {
        "idle_wire_b_per_s": sum(each.wire_b() for each in traffic) / plan.size / IDLE_S,
        "idle_received_b_per_s": sum(each.received_b for each in traffic) / plan.size / IDLE_S,
        "idle_cpu_s_per_s": sum(each.cpu_s for each in traffic) / plan.size / IDLE_S,
        "links_min": min(degrees),
        "links_mean": statistics.mean(degrees),
        "links_max": max(degrees),
    }
    return idle | _changes(world) | _deaths(world) | _stall(world)


def _changes(world: World) -> Figures:
    """How long until each peer knows one peer's new statement, over some changes one after the other."""
    delays = sorted(delay for number in range(CHANGES) for delay in _change(world, 1000 + number))
    return {
        "change_p50_s": delays[len(delays) // 2],
        "change_p99_s": delays[len(delays) * 99 // 100],
        "change_max_s": delays[-1],
    }


def _change(world: World, life: int) -> list[float]:
    """One change at a random peer: when each of the others knew it."""
    host, began, known = world.rng.choice(world.hosts), world.now, dict[int, float]()
    world.act(host.index, lambda node, now: node.update_peer(body_of(host.index, life), now))
    digest = _digest(host, host.identity)

    def look(now: float, other: Host) -> None:
        if other.index not in known and _digest(other, host.identity) == digest:
            known[other.index] = now - began

    world.stepped = look
    world.run(world.now + PATIENCE_S, lambda: len(known) >= len(world.hosts) - 1)
    world.stepped = lambda now, other: None
    return list(known.values())


def _deaths(world: World) -> Figures:
    """Some peers vanish, then one is stopped: when the last of the others knows, and who else was believed dead."""
    dead = world.rng.sample(range(1, len(world.hosts)), DEATHS + 1)
    killed, stopped = dead[:DEATHS], dead[DEATHS]
    silent, false = _watch(world, killed, world.kill)
    world.run(world.now + 10.0)
    clean, more = _watch(world, [stopped], world.stop)
    return {"death_s": silent, "stop_s": clean, "false_deaths": false + more}


def _watch(world: World, gone: list[int], act: Callable[[int], None]) -> tuple[float, int]:
    """Do that to each of those: when the last peer knows that all are gone, and how many others it was said of."""
    began, missing, false = world.now, [world.hosts[index].identity for index in gone], 0
    heard: dict[tuple[int, bytes], float] = {}

    def told(now: float, host: Host, event: Reachable) -> None:
        nonlocal false
        if event.peer in missing:
            heard[host.index, event.peer] = now - began
        elif not event.reachable:
            false += 1

    world.told = told
    for index in gone:
        act(index)
    wanted = len(world.alive()) * len(gone)
    done = world.run(world.now + PATIENCE_S, lambda: len(heard) >= wanted)
    world.told = lambda now, host, event: None
    return max(heard.values()) if done else float("inf"), false


def _stall(world: World) -> Figures:
    """One peer stands still for some seconds: how many others anybody believed dead."""
    still = world.alive()[1]
    false = 0

    def told(now: float, host: Host, event: Reachable) -> None:
        nonlocal false
        false += not event.reachable and event.peer != still.identity

    world.told = told
    world.stall(still.index, STALL_S)
    world.run(world.now + STALL_S + 15.0)
    world.told = lambda now, host, event: None
    return {"stall_false_deaths": false}


def healed(plan: Plan, world: World) -> Figures:
    """Every second peer is cut off for long; both sides change meanwhile, and meet again."""
    world.metered = False
    world.partition({index: index % 2 for index in range(plan.size)})
    world.run(world.now + plan.cut_s)
    for host in world.alive()[::10]:
        world.act(host.index, partial(_renamed, host.index))
    world.run(world.now + 5.0)
    world.metered = True
    world.reset_traffic()
    began = world.now
    world.partition({})
    done = world.run(began + PATIENCE_S, world.whole)
    traffic = world.traffic()
    return {
        "healed_s": world.now - began if done else float("inf"),
        "healed_received_b_per_peer": sum(each.received_b for each in traffic) / plan.size,
        "healed_cpu_s_per_peer": sum(each.cpu_s for each in traffic) / plan.size,
    }


def _renamed(index: int, node: Node, now: float) -> Output:
    return node.update_peer(body_of(index, 2000), now)


def memory(plan: Plan) -> Figures:
    """What one core holds per peer that it knows: its statements, what they mean, and whom to dial."""
    wires = _statements(plan.size)
    state = sum(map(len, wires))
    tracemalloc.start()
    try:
        node = core(plan.size, Random(plan.seed))
        node.start(body_of(plan.size, 1), 0.0)
        before = tracemalloc.get_traced_memory()[0]
        _learn(node, wires)
        gc.collect()
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    return {"memory_b_per_peer": held / plan.size, "state_b_per_peer": state / plan.size}


def _learn(node: Node, wires: list[bytes]) -> None:
    for wire in wires:
        node.absorb([bytes(wire)], 0.0)
    node.link_up(1, identity_of("h0"), True, 0.0)
    for beat in range(int(REST_S / HEARTBEAT_S)):
        node.receive(1, encode(Beat()), beat * HEARTBEAT_S)
        node.handle_timer(beat * HEARTBEAT_S)
    found = node.peer(identity_of("h1"))
    assert found is not None and found.reachable, "what is reached takes room too"


def _statements(size: int) -> list[bytes]:
    """The statements of peers that ran before, each with the links that it would have."""
    order = sorted(identity_of(f"h{index}") for index in range(size))
    place = {identity: at for at, identity in enumerate(order)}
    wires: list[bytes] = []
    for index in range(size):
        node = core(index, Random(index))
        node.start(body_of(index, 0), 0.0)
        at = place[node.identity]
        linked = sorted({order[(at + step) % size] for step in (-2, -1, 1, 2, size // 3, size // 2, -size // 3)})
        version = (node.incarnation, 9)
        body = encode_body(LINKS, LinksBody(linked, list(range(1, 1 + len(linked)))))
        links = author(sign_as(node.identity), MESH, node.identity, (LINKS, b""), version, body)
        wires += [*node.export(), links.wire()]
    return wires


def _digest(host: Host, owner: bytes) -> bytes | None:
    held = host.node._replica.view.get(owner, (PEER, b""))
    return None if held is None else held.digest


def table(found: list[Figures]) -> str:
    """The goals by size, then every other figure."""
    names = list(dict.fromkeys(name for figures in found for name in figures if name != "size"))
    lines = ["".join(["figure".ljust(58), "goal".rjust(8), *(f"{figures['size']:>14.0f}" for figures in found)])]
    for name in [*GOALS, *(name for name in names if name not in GOALS)]:
        words, goal = GOALS.get(name, (name, None))
        cells = [f"{figures[name]:>14.4g}" if name in figures else "–".rjust(14) for figures in found]
        lines.append("".join([words.ljust(58), (f"{goal:g}" if goal is not None else "").rjust(8), *cells]))
    return "\n".join(lines)
