"""Small stories of addresses among three hosts, each run once for every place where a crash can strike it.

Rule: a story begins in a mesh at rest and says what somebody does; the crash comes in a step that writes, the n-th of
the whole mesh: before its writes, after them and any number of its messages, or when all of it is done. The host comes
back seconds later. Whatever was struck, the invariants hold all the while, and at rest nothing is lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

from gossip import limits
from gossip.ipam.ranges import show
from tests.sim.address_invariants import check_addresses
from tests.sim.address_life import rest
from tests.sim.address_world import AddressWorld, settled
from tests.sim.host import Host

SIZE = 3
POOL = "10.0.0.0/27"
STORY_S = 12.0
STEP_S = 0.05

Story = Callable[[AddressWorld], None]


def own(host: Host, at: int = 2, whose: Host | None = None) -> str:
    """The `at`-th address of the host's ranges."""
    identity = (whose or host).identity
    addresses = [a for r in host.node.ranges(1) if r.owner == identity for a in range(r.start, r.end)]
    return show(addresses[at % len(addresses)])


def own_address(world: AddressWorld) -> None:
    """An address of the own range is claimed."""
    world.hosts[1].attach(b"given", 1, own(world.hosts[1]))


def foreign_block(world: AddressWorld) -> None:
    """An address of another's range is claimed, with free space around it."""
    world.hosts[1].attach(b"given", 1, own(world.hosts[1], 4, world.hosts[0]))


def foreign_loan(world: AddressWorld) -> None:
    """An address is borrowed: its neighbour is in use; then it is released and lent to another."""
    lender, borrower, next_one = world.hosts
    world.strike_at, strike = None, world.strike_at
    busy = own(lender, 5)
    lender.attach(b"busy", 1, busy)
    world.clock.run(world.clock.now + 1.0)
    world.strike_at, world.persists = strike, 0
    wanted = show(int(_number(busy)) ^ 1)
    borrower.attach(b"lent", 1, wanted)
    world.clock.after(2.0, lambda: _end(borrower, b"lent"))
    world.clock.after(3.0, lambda: _begin(next_one, b"lent too", wanted))
    world.clock.after(9.5, lambda: _begin(next_one, b"lent too", wanted))


def last_address(world: AddressWorld) -> None:
    """One host leases until it must ask for more."""
    host = world.hosts[2]
    for number in range(host.node.free(1) + 2):
        _begin(host, b"c%d" % number, None)


def release(world: AddressWorld) -> None:
    """A lease ends and begins anew elsewhere."""
    world.hosts[1].attach(b"one")
    world.clock.after(0.5, lambda: _end(world.hosts[1], b"one"))
    world.clock.after(1.0, lambda: _begin(world.hosts[2], b"two", None))


def departure(world: AddressWorld) -> None:
    """A host leaves that lent an address and borrowed another."""
    world.strike_at, strike = None, world.strike_at
    for one, two in ((0, 1), (1, 0)):
        busy = own(world.hosts[one], 5)
        world.hosts[one].attach(b"busy", 1, busy)
        world.clock.run(world.clock.now + 1.0)
        world.hosts[two].attach(b"lent", 1, show(_number(busy) ^ 1))
        world.clock.run(world.clock.now + 1.0)
    world.strike_at, world.persists = strike, 0
    _leave(world.hosts[1])


def new_registrar(world: AddressWorld) -> None:
    """The numbers go to another peer while a third founds a network."""
    world.hosts[0].hand_registrar(world.hosts[1].identity)
    world.hosts[2].create("web", [])
    world.clock.after(2.0, partial(_found, world.hosts[0], "db"))


def removal(world: AddressWorld) -> None:
    """A network is founded and removed, and its name founded again."""
    world.hosts[1].create("web", [])
    world.clock.after(2.0, partial(_remove_all, world.hosts[1]))
    world.clock.after(4.0, partial(_found, world.hosts[2], "web"))


def register(world: AddressWorld) -> None:
    """Enough grants are made that custody is settled."""
    for number, host in enumerate(world.hosts * 3):
        wanted = own(host, number, world.hosts[(number + 1) % SIZE])
        world.clock.after(number * 0.3, partial(_begin, host, wanted.encode(), wanted))


def takeover(world: AddressWorld) -> None:
    """One of three dies, having used and lent addresses, and is reclaimed by the founder."""
    world.strike_at, strike = None, world.strike_at
    dead = world.hosts[2]
    busy = own(dead, 3)
    dead.attach(b"busy", 1, busy)
    world.clock.run(world.clock.now + 1.0)
    world.hosts[1].attach(b"lent", 1, show(_number(busy) ^ 1))
    world.clock.run(world.clock.now + 1.0)
    dead.dead = True
    dead.crash(silently=False)
    world.clock.run(world.clock.now + 20.0)
    world.strike_at, world.persists = strike, 0
    world.hosts[0].reclaim([dead.identity])
    world.clock.after(8.0, lambda: world.do("return", dead))


STORIES: dict[str, Story] = {
    story.__name__: story
    for story in (
        own_address, foreign_block, foreign_loan, last_address, release, departure, new_registrar, removal, register,
        takeover,
    )
}  # fmt: skip


def tell(story: Story, strike: tuple[int, str | int] | None, seed: int = 1) -> AddressWorld:
    """Run a story with a crash at that place, or without one; raises InvariantBroken."""
    world = settled(SIZE, [POOL], seed)
    world.persists, world.strike_at = 0, strike
    story(world)
    until = world.clock.now + STORY_S
    while world.clock.now < until:
        world.clock.run(world.clock.now + STEP_S)
        check_addresses(world)
    world.strike_at = None
    rest(world)
    return world


def places(story: Story, every: int = 1) -> Iterator[tuple[int, str | int]]:
    """Every place of the story where a crash strikes; `every` n-th alone, for time's sake."""
    at = 0
    writes = told_writes(story)
    for write in range(1, writes + 1):
        for way in ("before", "after", "done", 1, 2):
            at += 1
            if at % every == 0:
                yield write, way


def told_writes(story: Story) -> int:
    """How many steps of the story write, when nothing goes wrong."""
    world = settled(SIZE, [POOL])
    world.persists = 0
    world.strike_at = (1 << 30, "before")
    story(world)
    world.clock.run(world.clock.now + STORY_S)
    return world.persists


def _number(text: str) -> int:
    return int.from_bytes(bytes(map(int, text.split("."))), "big")


def _begin(host: Host, endpoint: bytes, wanted: str | None) -> None:
    if host.up and not host.left and host.node.networks():
        host.attach(endpoint, 1, wanted)


def _found(host: Host, name: str) -> None:
    if host.up:
        host.create(name, [])


def _remove_all(host: Host) -> None:
    for body in host.node.networks() if host.up else []:
        if body.number != 1:
            host.remove(body.number)


def _end(host: Host, endpoint: bytes) -> None:
    if host.up and endpoint in host.attached:
        host.detach(endpoint)


def _leave(host: Host) -> None:
    host.ending.update(dict.fromkeys(host.attached))
    host.leave()


assert limits.CLAIM_S < STORY_S, "a story is long enough for its answers"
