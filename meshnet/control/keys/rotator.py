"""Carries out the mesh secret's rotation: what `rotation` decides, and what an admin asks for.

Rule: a new secret is in the key file before anybody hears of it, and is taken from a link only if it fits what an
admin that counts announced; nothing here shows a key. Which rotation this host drives is stored, so that it goes on
with it after a restart; another admin's host may take it over.
Flow: `rotate` -> keys -> announcement; `step` once a second, after news and after an offer; `offered` by the links.
Reference: docs/adr/0008-secret-on-links.md; docs/membership.md.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

from crypto.errors import LocalError
from crypto.keys import Entropy
from crypto.secret import MeshSecret
from crypto.token import Token
from gossip.errors import Refusal
from gossip.events import PeerView
from gossip.node import Node
from meshnet.control.joining.join import caught_up, rejoin
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.keys.membership import SECRET_SIZE, Membership
from meshnet.control.keys.rotation import (
    Act,
    Announce,
    Announced,
    Drop,
    Member,
    Outlook,
    Phase,
    Rotation,
    Send,
    Switch,
    fresh_generation,
    held,
    lacking,
    lost,
    under_way,
)
from meshnet.control.keys.stragglers import Stragglers
from meshnet.control.pending import refused
from meshnet.control.runner import Commits, NodeRunner
from meshnet.control.store.row import Row
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["DRIVEN", "SPACE", "Rotator", "SecretLinks"]

log = logging.getLogger(__name__)

SPACE: Final = "rotation"
DRIVEN: Final = b"driven"
STEPS_AT_ONCE: Final = 4
"""A host that comes back late has at most a switch and a drop to do before it looks at the others."""


class SecretLinks(Protocol):
    """What this needs of the links."""

    def send_secret(self, peer: bytes, secret: MeshSecret) -> bool:
        """Send a mesh secret to a linked peer; whether it was sent."""
        ...


class Rotator:
    """The rotation at this host. clock: seconds, monotonic. driven: what is stored of SPACE under DRIVEN."""

    def __init__(
        self,
        keys: HostKeys,
        runner: NodeRunner[Node],
        store: Commits,
        links: SecretLinks,
        clock: Callable[[], float],
        entropy: Entropy,
        driven: bytes | None = None,
    ) -> None:
        self._keys = keys
        self._runner = runner
        self._store = store
        self._links = links
        self._clock = clock
        self._entropy = entropy
        self._driven = driven
        self._rotation = Rotation()
        self._stragglers = Stragglers()
        self._offer: MeshSecret | None = None

    # --- what the mesh brings --------------------------------------------------------------------------------------

    def offered(self, peer: bytes, secret: MeshSecret) -> bool:
        """A linked peer sent a mesh secret; whether it is the announced one, which `step` then takes."""
        announced = self._announced()
        if announced is None or not self._runner.node.member(peer) or not announced.means(secret):
            log.info("peer=%s sent a mesh secret that nobody announced", peer.hex()[:16])
            return False
        ring = self._keys.membership.keyring
        if held(ring, announced) is None and secret.generation > ring.current.generation:
            self._offer = secret
        return self._offer is not None

    async def step(self) -> None:
        """Do what is to be done now.  Raises MeshnetError when it cannot be stored or said."""
        await self._take_offer()
        for _ in range(STEPS_AT_ONCE):
            acts = self._rotation.step(self._outlook(), self._clock())
            for act in acts:
                await self._do(act)
            if not any(isinstance(act, Switch | Drop) for act in acts):
                return

    async def _take_offer(self) -> None:
        offer, self._offer = self._offer, None
        announced = self._announced()
        if offer is None or announced is None or not announced.means(offer):
            return
        try:
            await self._keys.change(lambda own: _installed(own, offer))
        except LocalError as error:
            log.warning("the announced mesh secret cannot be taken: %s", error)
            return
        log.info("the mesh secret of generation %d has come", offer.generation)

    async def _do(self, act: Act) -> None:
        match act:
            case Announce(phase):
                announced = self._announced()
                if announced is not None:
                    await self._announce(announced.generation, announced.commitment, phase)
            case Switch():
                await self._keys.change(lambda own: replace(own, keyring=own.keyring.switched()))
            case Drop():
                await self._keys.change(lambda own: replace(own, keyring=own.keyring.dropped()))
            case Send(to):
                announced = self._announced()
                secret = None if announced is None else held(self._keys.membership.keyring, announced)
                if secret is not None:
                    self._links.send_secret(to, secret)

    # --- what an admin asks for --------------------------------------------------------------------------------------

    async def rotate(self) -> dict[str, object]:
        """Begin a rotation, or go on with the one under way.  meshnet.secret/v1; raises MeshnetError."""
        self._check_role()
        ring, announced = self._keys.membership.keyring, self._announced()
        if announced is not None and under_way(ring, announced):
            if held(ring, announced) is not None:
                await self._drive(announced)
                await self._announce(announced.generation, announced.commitment, announced.phase)
                return self.describe()
            having = sorted(set(self._reachable()) - set(lacking(self._members(), announced)))
            if having:
                raise MeshnetError(
                    "a rotation is under way, and its secret has not come here yet",
                    f"{self._names(having)} can be reached and has it",
                    "try again in a few seconds",
                )
        try:
            generation = fresh_generation(ring, announced)
        except ValueError as error:
            raise MeshnetError("the mesh secret cannot be replaced", str(error), "found a new mesh") from None
        secret = MeshSecret(generation, self._entropy(SECRET_SIZE))
        await self._keys.change(lambda own: _installed(own, secret))
        begun = Announced(generation, secret.commitment(), Phase.INSTALL, self._runner.node.identity)
        await self._drive(begun)
        await self._announce(generation, begun.commitment, Phase.INSTALL)
        return self.describe()

    async def finish(self, force: bool) -> dict[str, object]:
        """Have the old secret dropped now.  meshnet.secret/v1, naming who is cut off; raises MeshnetError."""
        self._check_role()
        announced = self._announced()
        if announced is None or announced.phase is Phase.DROP:
            raise MeshnetError(
                "there is nothing to finish", "no rotation is under way", "`meshnet secret rotate` begins one"
            )
        if held(self._keys.membership.keyring, announced) is None:
            raise MeshnetError(
                "this host cannot finish the rotation",
                "it does not hold the new secret itself",
                "finish it on another admin's host, or wait until the secret has come",
            )
        without = lacking(self._members(), announced)
        if without and not force:
            raise MeshnetError(
                "the old secret is still needed",
                f"{self._names(without)} would be cut off",
                "start them, or finish with --force; each of them then needs `meshnet secret accept TOKEN`",
            )
        await self._drive(announced)
        await self._announce(announced.generation, announced.commitment, Phase.DROP)
        await self.step()
        return {**self.describe(), "cut_off": self._named(without)}

    async def accept(self, text: str) -> dict[str, object]:
        """Get the mesh's secret by a token of it, for a host that missed a rotation.  meshnet.secret/v1."""
        try:
            token = Token.decode(text.strip())
        except LocalError as error:
            raise MeshnetError(
                "this is no token",
                getattr(error, "reason", str(error)),
                "paste the whole line `meshnet token create` printed",
                ExitCode.USAGE,
            ) from None
        reply = await rejoin(token, self._keys.membership)
        secret = reply.membership.keyring.current
        await self._keys.change(lambda own: replace(own, keyring=caught_up(own.keyring, secret)))
        await self._runner.step(lambda now: self._runner.node.absorb(reply.statements, now))
        return self.describe()

    # --- what status shows -------------------------------------------------------------------------------------------

    def describe(self) -> dict[str, object]:
        """meshnet.secret/v1: which secrets this host holds, and how far a rotation is."""
        ring, announced = self._keys.membership.keyring, self._announced()
        rotation = None
        if announced is not None:
            rotation = {
                "generation": announced.generation,
                "phase": announced.phase.name.lower(),
                "by": self._named([announced.by])[0],
                "holds": held(ring, announced) is not None,
                "lacking": self._named(lacking(self._members(), announced)),
            }
        return {
            "schema": "meshnet.secret/v1",
            "generation": ring.current.generation,
            "held": [secret.generation for secret in ring.secrets()],
            "rotation": rotation,
            "cut_off": [],
        }

    def notices(self) -> list[dict[str, object]]:
        """What an operator of this host should do about the secret."""
        announced, ring = self._announced(), self._keys.membership.keyring
        if announced is None or held(ring, announced) is not None:
            return []
        fix = "run `meshnet token create` on a host that has it, and here `meshnet secret accept TOKEN`"
        if lost(ring, announced):
            what = "this host's mesh secret lost against another of its number"
            why = f"the mesh was split while it was replaced on both sides; that of {self._names([announced.by])} won"
            fix += "; or, once for all, `meshnet secret rotate` on an admin's host that says the same"
        elif announced.phase is Phase.DROP and announced.generation > ring.current.generation:
            what, why = "this host lacks the mesh secret in use", "it was replaced while this host was off"
        else:
            return []
        return [{"what": what, "why": why, "fix": fix}]

    # --- inside ------------------------------------------------------------------------------------------------------

    def _announced(self) -> Announced | None:
        view = self._runner.node.rotation()
        return None if view is None else Announced(view.generation, view.commitment, Phase(view.phase), view.by)

    def _outlook(self) -> Outlook:
        announced, ring = self._announced(), self._keys.membership.keyring
        if announced is None:
            return Outlook(ring, None, [], False, lambda: False)
        return Outlook(
            ring,
            announced,
            self._linked(),
            self._drives(announced),
            lambda: self._stragglers.none(announced, self._member, self._members),
        )

    def _drives(self, announced: Announced) -> bool:
        node = self._runner.node
        mine = announced.by == node.identity or self._driven == _mark(announced)
        return mine and "admin" in node.roles(node.identity)

    def _members(self) -> list[Member]:
        """All of them but this host; work in a large mesh."""
        node = self._runner.node
        return [member for view in node.peers() if view.identity != node.identity and (member := _counted(view))]

    def _member(self, peer: bytes) -> Member | None:
        return _counted(self._runner.node.peer(peer))

    def _linked(self) -> list[Member]:
        """The members that this host has a link to."""
        peers = sorted({peer for _, peer in self._runner.node.links()})
        return [member for peer in peers if (member := self._member(peer))]

    def _reachable(self) -> list[bytes]:
        return [member.identity for member in self._members() if member.reachable]

    async def _drive(self, announced: Announced) -> None:
        mark = _mark(announced)
        await self._store.commit([Row(SPACE, DRIVEN, mark)])
        self._driven = mark

    async def _announce(self, generation: int, commitment: bytes, phase: Phase) -> None:
        node = self._runner.node
        try:
            await self._runner.step(lambda now: node.announce_secret(generation, commitment, int(phase), now))
        except Refusal as refusal:
            raise refused(refusal) from None
        log.info("the rotation to generation %d: %s", generation, phase.name.lower())

    def _check_role(self) -> None:
        node = self._runner.node
        if "admin" not in node.roles(node.identity):
            raise MeshnetError(
                "this host may not rotate the mesh secret",
                "its certificate lacks the role `admin`",
                "do it on the host that launched the mesh, or on one that joined by `token create --role admin`",
                ExitCode.PERMISSION,
            )

    def _named(self, identities: list[bytes]) -> list[str]:
        names = {view.identity: view.body.name for view in self._runner.node.peers()}
        return sorted(names.get(identity, identity.hex()[:16]) for identity in identities)

    def _names(self, identities: list[bytes]) -> str:
        names = self._named(identities)
        return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _counted(view: PeerView | None) -> Member | None:
    """What a rotation looks at of a peer; None of one that left or was revoked."""
    if view is None or view.left or view.revoked:
        return None
    return Member(view.identity, view.body.secrets, view.reachable)


def _installed(own: Membership, secret: MeshSecret) -> Membership:
    return replace(own, keyring=own.keyring.installed(secret))


def _mark(announced: Announced) -> bytes:
    return announced.generation.to_bytes(4, "big") + announced.commitment
