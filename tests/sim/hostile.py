"""A member that means harm, in a mesh of honest ones: what it sends on its links, and what must hold all the while.

Rule: whatever a member sends, the others' statements stay as they are, bit for bit; what is held for its sake is
bounded; honest peers go on reaching each other, and agree again once it is silent. A message that is no message
may cost it its own link, a statement never does.
Flow: `Siege(seed)` -> `send(messages)` or `say(statements)` -> `check()`; `rest()` when it has ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gossip import limits
from gossip.events import Output, Reachable
from gossip.spreading.codec import Digest, Message, Owners, Proofs, Want, deltas, encode
from gossip.state.statements import Slot, Statement, Version, author
from tests.sim.invariants import InvariantBroken
from tests.sim.people import MESH, identity_of, sign_as
from tests.sim.scale import Host, World, body_of, is_beat

SIZE = 8
VILLAIN = SIZE - 1
NAME = f"h{VILLAIN}"
CALM_S = 60.0
QUOTA = limits.MAX_STATEMENTS_PER_OWNER


def say(slot: Slot, version: Version, body: bytes | None, owner: str = NAME) -> Statement:
    """What the villain signs, as itself or in another's name."""
    return author(sign_as(identity_of(NAME)), MESH, identity_of(owner), slot, version, body)


def names(count: int, first: int = 0) -> list[bytes]:
    """So many new slots of the villain's, each before the last in the order in which an owner's slots are kept."""
    keys = ((1 << 40) - number for number in range(first, first + count))
    return [say(("name", key.to_bytes(8, "big")), (9, 1), b"x").wire() for key in keys]


class Siege:
    """The mesh, its last member the villain."""

    def __init__(self, seed: int = 1) -> None:
        self.world = World(seed, SIZE)
        self.world.settle(75.0)  # honest peers have said what their links cost
        self.villain = self.world.hosts[VILLAIN]
        self._ordinary = self.villain.node.receive
        self.villain.node.receive = self._deaf  # type: ignore[method-assign]
        self.honest = [host for host in self.world.hosts if host is not self.villain]
        self.moving: tuple[str, ...] = ()
        """Kinds that honest peers say anew meanwhile: not compared."""
        self._others = [self._of_others(host) for host in self.honest]
        self.world.told = self._hear

    def send(self, messages: Iterable[bytes]) -> None:
        """Messages on each of its links."""
        for message in messages:
            for link in list(self.villain.streams):
                self.world._send(self.villain, link, message, 0.0)
        self.world.run(self.world.now + 0.5)

    def say(self, wires: Sequence[bytes]) -> None:
        """Statements on each of its links."""
        self.send(deltas(wires))

    def check(self) -> None:
        """What must hold at every moment; raises InvariantBroken."""
        for host, others in zip(self.honest, self._others, strict=True):
            if self._of_others(host) != [row for row in others if row[1] not in self.moving]:
                raise InvariantBroken(f"the villain changed what h{host.index} holds of others")
            self._check_bounds(host)

    def rest(self) -> None:
        """It is silent from now on: honest peers agree, and hear each other's news soon."""
        self.world.run(self.world.now + CALM_S)
        self.check()
        if len({host.node._replica.spread.digest() for host in self.honest}) != 1:
            raise InvariantBroken("honest peers do not agree")
        self.world.act(0, lambda node, now: node.update_peer(body_of(0, 77), now))
        said = self.honest[0].node.peers()
        if not self.world.run(self.world.now + 2.0, lambda: all(h.node.peers() == said for h in self.honest), 0.05):
            raise InvariantBroken("news of an honest peer does not arrive")

    def _check_bounds(self, host: Host) -> None:
        view = host.node._replica.view
        if len(view.owners) > SIZE:
            raise InvariantBroken("the villain made others hold owners that are no members")
        held = len(view.owners[self.villain.identity].held)
        if held > QUOTA:
            raise InvariantBroken(f"{held} statements of the villain are held")
        if len(view.owners[self.villain.identity].proofs) > limits.MAX_PROOFS_PER_OWNER:
            raise InvariantBroken("the villain's contradictions pile up")
        most = limits.MAX_PENDING + limits.MAX_PROOFS_PER_MESSAGE
        if any(len(link.outbox) > most for link in host.node._links.all()):
            raise InvariantBroken("too much waits for a link")

    def _of_others(self, host: Host) -> list[tuple[bytes, str, bytes, bytes]]:
        own = self.villain.identity
        return [row for row in host.node.summary() if row[0] != own and row[1] not in self.moving]

    def _deaf(self, link: int, message: bytes, now: float) -> Output:
        """The villain does not defend its name as an honest core does, whatever others hold of it."""
        return self._ordinary(link, message, now) if is_beat(message) else Output()

    def _hear(self, now: float, host: Host, event: Reachable) -> None:
        if not event.reachable and self.villain.identity not in (event.peer, host.identity):
            raise InvariantBroken(f"h{host.index} believes an honest peer dead")


def messages_of_harm() -> list[Message]:
    """Well-formed messages that ask for much or prove nothing."""
    identities = [index.to_bytes(32, "big") for index in range(limits.MAX_OWNERS_PER_MESSAGE)]
    twins = [say(("name", b""), (3, 3), body).wire() for body in (b"1", b"2")]
    slander = [say(("name", b""), (3, 3), body, "h0").wire() for body in (b"1", b"2")]
    return [
        Digest([bytes(8)] * limits.DIGEST_BUCKETS),
        Owners(list(range(limits.DIGEST_BUCKETS)), [(each, bytes(8)) for each in identities]),
        Want(identities),
        Proofs([(twins[0], twins[0]), (slander[0], slander[1]), (b"", b"\xc1")]),
        Proofs([(twins[0], twins[1])]),
    ]


def noise() -> list[bytes]:
    """What is no message: deep, huge, cut off, of another shape."""
    deep, long = b"\x91" * 50_000, bytes(limits.MAX_MESSAGE_B + 1)
    return [deep, b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", long, b"", b"\x92\x01\xc0"]


def encoded() -> list[bytes]:
    """`messages_of_harm` in bytes."""
    return [encode(message) for message in messages_of_harm()]
