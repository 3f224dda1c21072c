"""What an admin decides about other hosts: who is out for good, and who may come in at all.

Rule: gossip judges whether the role is there and what counts; here an operator's words become identities, and the
answer says whom a decision touched, so that nobody is cut off unnamed.
Flow: `revoke`, `allow` -> the node's statement, durable -> events (`mesh`) end sessions and links.
Reference: docs/membership.md; docs/adr/0007-authority-counts.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gossip.errors import LocalError, Refusal
from gossip.events import Output
from gossip.node import Node
from meshnet.control.api.requests import RevokeRequest
from meshnet.control.names import find_peer
from meshnet.control.pending import refused
from meshnet.control.runner import NodeRunner
from meshnet.errors import ExitCode, MeshnetError

__all__ = ["Authority"]


class Authority:
    """An admin's acts on the node of `runner`."""

    def __init__(self, runner: NodeRunner[Node]) -> None:
        self._runner = runner

    async def revoke(self, peer: str, request: RevokeRequest) -> dict[str, object]:
        """meshnet.revoked/v1, durable: `peer` is out, and `voids` names whose certificates went with it.

        Raises MeshnetError: an unknown or ambiguous peer, this host itself, a missing role.
        """
        node = self._runner.node
        view = find_peer(node.peers(), peer)
        identity = view.identity
        if identity == node.identity:
            raise MeshnetError(
                "this host does not revoke itself", "it is the host you are on", "use `meshnet leave`", ExitCode.USAGE
            )
        if request.issued_all and request.issued_from is not None:
            why = "--issued-all and --issued-from exclude each other"
            raise MeshnetError("nothing was revoked", why, "give one of them", ExitCode.USAGE)
        from_serial = 0 if request.issued_all else request.issued_from
        if from_serial is None:
            from_serial = node.highest_serial(identity) + 1
        before = self._members()
        await self._act(lambda now: node.revoke(identity, from_serial, request.reason, now))
        after = self._members()
        return {
            "schema": "meshnet.revoked/v1",
            "name": view.body.name,
            "id": identity.hex(),
            "issued_from": from_serial,
            "reason": request.reason,
            "voids": sorted(name for one, name in before.items() if one not in after and one != identity),
        }

    async def allow(self, key: bytes | None, on: bool) -> dict[str, object]:
        """meshnet.allowed/v1, durable: a key is on the list or off it; None: there is a list, or none.

        Who is in when the list begins is put on it first. Raises MeshnetError for a missing role.
        """
        node = self._runner.node
        if key is None and on and not node.allowed()[0]:
            listed = node.allowed()[1]
            for identity in sorted(self._members()):
                if identity not in listed:
                    await self._act(lambda now, identity=identity: node.allow(identity, True, now))  # type: ignore[misc]
        await self._act(lambda now: node.allow(key, on, now))
        return self.allowed()

    def allowed(self) -> dict[str, object]:
        """meshnet.allowed/v1: whether there is an allow-list, and who is on it."""
        node = self._runner.node
        enabled, keys = node.allowed()
        names = {view.identity: view.body.name for view in node.peers()}
        rows = [{"key": key.hex(), "name": names.get(key)} for key in keys]
        return {"schema": "meshnet.allowed/v1", "enabled": enabled, "keys": rows}

    def may_join(self, identity: bytes) -> bool:
        """Whether a certificate issued to `identity` now would count.  Raises MeshnetError where none of ours would."""
        node = self._runner.node
        if node.barred(node.identity):
            raise MeshnetError(
                "this host can admit nobody",
                "it does not count as a member itself any more",
                "run `meshnet token create` on another host of the mesh",
                ExitCode.PERMISSION,
            )
        enabled, keys = node.allowed()
        return not self.is_revoked(identity) and (not enabled or identity in keys)

    def admits(self, identity: bytes, roles: Sequence[str], path: Sequence[tuple[bytes, int]]) -> bool:
        """Whether a peer gossip has not heard of yet counts by its certificates, as `crypto.certificate` verified them.

        path: (issuer, serial) of each but the founder's. What is said here of issuers agrees with gossip's levels,
        because nobody has a role that its issuer lacks, and chains grow with each issuer.
        """
        node = self._runner.node
        from_serials: dict[bytes, int] = {}
        for row in node.revocations():
            from_serials[row.identity] = min(row.from_serial, from_serials.get(row.identity, row.from_serial))
        void = any(issuer in from_serials and from_serials[issuer] <= serial for issuer, serial in path)
        enabled, keys = node.allowed()
        listed = not enabled or not path or "admin" in roles or identity in keys
        return listed and not void and not self.is_revoked(identity)

    def is_revoked(self, identity: bytes) -> bool:
        """Whether an admin's revocation of this very identity counts."""
        return any(row.identity == identity for row in self._runner.node.revocations())

    def is_barred(self, identity: bytes) -> bool:
        """Whether a peer must not link, although its certificates hold: it left, or does not count as a member."""
        node = self._runner.node
        view = node.peer(identity)
        return node.barred(identity) or (view is not None and view.left)

    def notices(self) -> list[dict[str, object]]:
        """What an operator should know about this host's own standing."""
        node = self._runner.node
        own = node.identity
        row = next((row for row in node.revocations() if row.identity == own), None)
        if row is not None:
            why = f"{self._name(row.by)} revoked it" + (f": {row.reason}" if row.reason else "")
            return [_out("this host was revoked", why)]
        if node.barred(own):
            if node.allowed()[0] and own not in node.allowed()[1]:
                fix = f"on an admin's host run `meshnet peer allow {own.hex()}`; then start this host again"
                return [{"what": "this host is not on the allow-list", "why": "the others refuse it", "fix": fix}]
            return [_out("this host was revoked", "the certificate it came in by is void")]
        return []

    async def _act(self, act: Callable[[float], Output]) -> None:
        try:
            await self._runner.step(act)
        except Refusal as refusal:
            raise refused(refusal) from None
        except LocalError as error:
            raise MeshnetError(
                "nothing was done", str(error), "use the `meshnet` command of this version", ExitCode.USAGE
            ) from None

    def _members(self) -> dict[bytes, str]:
        """Identity and name of every peer that counts and has not left, this one included."""
        views = self._runner.node.peers()
        return {view.identity: view.body.name for view in views if not view.left and not view.revoked}

    def _name(self, identity: bytes) -> str:
        view = self._runner.node.peer(identity)
        return identity.hex()[:16] if view is None else view.body.name


def _out(what: str, why: str) -> dict[str, object]:
    return {"what": what, "why": why, "fix": "run `meshnet leave --wipe` here and join anew with a token"}
