"""How the mesh secret is replaced while everything goes on: what this host does next. PURE.

Purpose: every member comes to hold the next secret, then all use it, then the previous one is refused.
Rule: nobody is cut off by the change itself. The driver announces `switch` only when every member it can reach holds
the next secret, and `drop` only when every member does, PREVIOUS_S after the switch: until then both are accepted. A
member that holds the announced secret follows the announced phase at once; one that lacks it keeps what it has.
Flow: gossip's announcement, the keyring and the members' tags -> ``step`` -> acts, which the host carries out in their
order (keys are stored before anything is announced). Phases only rise, so two drivers of one secret cannot conflict.
Reference: docs/adr/0008-secret-on-links.md; docs/membership.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from crypto.keyring import Keyring
from crypto.primitives import equal
from crypto.secret import GENERATION_MAX, MeshSecret

INSTALL_S: Final = 2.0
"""How long a secret is only installed at least: a member that just came has said by then which secrets it holds."""
PREVIOUS_S: Final = 600.0
"""How long the previous secret is accepted at least after the switch: handshakes begun under it have long ended."""
RESEND_S: Final = 2.0
"""How long an answer to a sent secret is awaited before it is sent again: storing it and saying so takes less."""


class Phase(IntEnum):
    """How far a rotation is; the values are those of the statement."""

    INSTALL = 0
    SWITCH = 1
    DROP = 2


@dataclass(frozen=True, slots=True)
class Announced:
    """The rotation in force: of which secret (its 32-byte commitment), how far, who announced it first."""

    generation: int
    commitment: bytes
    phase: Phase
    by: bytes

    @property
    def tag(self) -> bytes:
        """How members say that they hold it, 8 bytes."""
        return self.commitment[:8]

    def means(self, secret: MeshSecret) -> bool:
        """Whether `secret` is the announced one."""
        return secret.generation == self.generation and equal(secret.commitment(), self.commitment)


@dataclass(frozen=True, slots=True)
class Member:
    """Another member that neither left nor was revoked; tags: of the secrets it said it holds."""

    identity: bytes
    tags: Sequence[bytes]
    reachable: bool


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a step looks at. linked: the members this host has links to; drives: whether it announces the phases.

    ready(): whether all that the announced phase waits for hold its secret (`stragglers`); asked by who drives alone.
    """

    keyring: Keyring
    announced: Announced | None
    linked: Sequence[Member]
    drives: bool
    ready: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Announce:
    """Announce this phase of the rotation in force."""

    phase: Phase


@dataclass(frozen=True, slots=True)
class Switch:
    """Use the next secret, and accept the one before it."""


@dataclass(frozen=True, slots=True)
class Drop:
    """Accept the previous secret no longer."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the announced secret to a linked member that lacks it."""

    to: bytes


Act = Announce | Switch | Drop | Send


class Rotation:
    """Remembers since when the rotation is in its phase, and to whom its secret was sent when; no more."""

    def __init__(self) -> None:
        self._of: tuple[int, bytes, Phase] | None = None
        self._since = 0.0
        self._sent: dict[bytes, float] = {}

    def step(self, view: Outlook, now: float) -> list[Act]:
        """What is to be done at `now` (seconds, monotonic). After a Switch or a Drop the next step looks again."""
        announced = view.announced
        if announced is None:
            return []
        key = (announced.generation, announced.commitment, announced.phase)
        if key != self._of:
            self._of, self._since = key, now
        target = held(view.keyring, announced)
        if target is None or target.generation < view.keyring.current.generation:
            return []  # it has not come yet; or its successor's announcement counts no longer
        ours = _follow(view.keyring, target, announced.phase)
        if ours is not None:
            return [ours]
        acts: list[Act] = [Send(member) for member in self._to_send(view.linked, announced.tag, now)]
        if view.drives:
            acts += self._drive(announced.phase, view.ready, now)
        return acts

    def _to_send(self, members: Sequence[Member], tag: bytes, now: float) -> list[bytes]:
        lacking = [member.identity for member in members if tag not in member.tags]
        due = [one for one in lacking if now - self._sent.get(one, now - RESEND_S) >= RESEND_S]
        sent = self._sent
        self._sent = {one: now if one in due else sent[one] for one in lacking}
        return due

    def _drive(self, phase: Phase, ready: Callable[[], bool], now: float) -> list[Act]:
        waited = now - self._since
        if phase is Phase.INSTALL and waited >= INSTALL_S and ready():
            return [Announce(Phase.SWITCH)]
        if phase is Phase.SWITCH and waited >= PREVIOUS_S and ready():
            return [Announce(Phase.DROP)]
        return []


def held(keyring: Keyring, announced: Announced) -> MeshSecret | None:
    """The announced secret, if this host holds it."""
    return next((secret for secret in keyring.secrets() if announced.means(secret)), None)


def _follow(keyring: Keyring, target: MeshSecret, phase: Phase) -> Switch | Drop | None:
    """What the phase asks of this host's own keyring and is not done yet."""
    if phase >= Phase.SWITCH and target == keyring.next:
        return Switch()
    if phase is Phase.DROP and target == keyring.current and keyring.previous is not None:
        return Drop()
    return None


def under_way(keyring: Keyring, announced: Announced) -> bool:
    """Whether the announced rotation is not over and can be gone on with: its secret is in use here, or yet to be.

    It cannot where the secret in use here is a later one, or another one of that generation: two admins replaced the
    secret on the two sides of a split mesh, and of theirs the announced one won.
    """
    newer = announced.generation > keyring.current.generation
    return announced.phase is not Phase.DROP and (newer or announced.means(keyring.current))


def lost(keyring: Keyring, announced: Announced) -> bool:
    """Whether this host uses another secret of the announced one's generation, which therefore never comes here."""
    return announced.generation == keyring.current.generation and not announced.means(keyring.current)


def lacking(members: Sequence[Member], announced: Announced) -> list[bytes]:
    """Who does not hold the announced secret yet, as far as they said."""
    return [member.identity for member in members if announced.tag not in member.tags]


def fresh_generation(keyring: Keyring, announced: Announced | None) -> int:
    """The generation of a new secret: above all that is known, with an epoch that no held secret has.

    Raises ValueError when there is none left.
    """
    epochs = [secret.epoch for secret in keyring.secrets()]
    known = [secret.generation for secret in keyring.secrets()] + ([announced.generation] if announced else [])
    generation = max(known) + 1
    while generation % 256 in epochs:
        generation += 1
    if generation > GENERATION_MAX:
        raise ValueError("no generation of the mesh secret is left")
    return generation
