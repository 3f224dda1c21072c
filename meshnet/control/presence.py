"""What this host says of itself in the mesh: its peer statement, said anew whenever a part of it changes.

Rule: the statement follows what is in use and stored, never what is planned; its tags tell the others which mesh
secrets this host holds, which is how it acknowledges a new one.
Flow: ``body`` at the start -> ``rebooted`` (another forwarder), ``rekeyed`` (other keys) -> the node says it.
Reference: docs/wire.md (statements); docs/adr/0008-secret-on-links.md.
"""

from collections.abc import Sequence

from msgspec.structs import replace

from gossip.node import Node
from gossip.state.bodies import PeerBody
from meshnet import __version__
from meshnet.control.keys.membership import Membership
from meshnet.control.runner import NodeRunner

__all__ = ["Presence", "body_of"]


def body_of(membership: Membership, addresses: Sequence[str], boot: bytes) -> PeerBody:
    """The statement of a peer that is reached at `addresses` ("host:port") and whose forwarder is `boot` (8 bytes)."""
    return PeerBody(
        name=membership.name,
        addresses=list(addresses),
        static=membership.static.public,
        chain=list(membership.chain),
        boot=boot,
        version=__version__,
        secrets=list(membership.keyring.tags()),
    )


class Presence:
    """The own peer statement of one run."""

    def __init__(self, runner: NodeRunner[Node]) -> None:
        self._runner = runner
        self._body: PeerBody | None = None

    async def begin(self, body: PeerBody) -> None:
        """Start the node with it."""
        self._body = body
        await self._runner.step(lambda now: self._runner.node.start(body, now))

    def rebooted(self, boot: bytes) -> None:
        """Another forwarder runs: peers make their sessions anew."""
        if self._body is not None:
            self._say(replace(self._body, boot=boot))

    def rekeyed(self, membership: Membership) -> None:
        """Other keys are stored and in use."""
        if self._body is not None:
            tags = list(membership.keyring.tags())
            self._say(replace(self._body, static=membership.static.public, secrets=tags))

    def _say(self, body: PeerBody) -> None:
        if body != self._body:
            self._body = body
            self._runner.post(lambda now: self._runner.node.update_peer(body, now))
