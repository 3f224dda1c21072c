"""The mesh secrets a peer holds while the mesh replaces one by another.

Purpose: a replacement needs a time in which both secrets are valid. The next one is installed everywhere, then
all switch to it, then the previous one is dropped; the epoch byte in a header says which is meant, so nobody
tries one after the other.
Flow: ``installed`` → ``switched`` → ``dropped``, each a new keyring: what was handed out stays as it was.
Rule: no two held secrets share an epoch, and ``repr`` shows no key.
Reference: docs/wire.md (epochs); design §3; memberlist's keyring for the order of the steps.
"""

from __future__ import annotations

from dataclasses import dataclass

from crypto.errors import LocalError
from crypto.secret import MeshSecret


@dataclass(frozen=True)
class Keyring:
    """The secret in use, one that will be, and one that still is accepted.

    Raises ``LocalError`` when two of them share an epoch or ``next`` is not newer than ``current``.
    """

    current: MeshSecret
    next: MeshSecret | None = None
    previous: MeshSecret | None = None

    def __post_init__(self) -> None:
        epochs = [secret.epoch for secret in self.secrets()]
        if len(set(epochs)) != len(epochs):
            raise LocalError("keyring: two mesh secrets have the same epoch")
        if self.next is not None and self.next.generation <= self.current.generation:
            raise LocalError("keyring: the next mesh secret is not newer than the current one")

    def secrets(self) -> tuple[MeshSecret, ...]:
        """Those that are held: the current one first, then the next, then the previous."""
        return tuple(secret for secret in (self.current, self.next, self.previous) if secret is not None)

    def get(self, epoch: int) -> MeshSecret | None:
        """The secret of ``epoch`` (0 to 255)."""
        return next((secret for secret in self.secrets() if secret.epoch == epoch), None)

    def tags(self) -> tuple[bytes, ...]:
        """The tags of all that are held, the current one's first."""
        return tuple(secret.tag() for secret in self.secrets())

    def installed(self, secret: MeshSecret) -> Keyring:
        """The keyring with ``secret`` as its next one; another next one is given up.

        Raises ``LocalError`` unless it is newer than the current one and of an epoch of its own.
        """
        return Keyring(self.current, secret, self.previous)

    def switched(self) -> Keyring:
        """The keyring in which the next secret is in use and the one before it still accepted.

        Raises ``LocalError`` when there is no next one.
        """
        if self.next is None:
            raise LocalError("keyring: there is no next mesh secret to switch to")
        return Keyring(self.next, None, self.current)

    def dropped(self) -> Keyring:
        """The keyring without the previous secret."""
        return Keyring(self.current, self.next)

    def __repr__(self) -> str:
        held = ", ".join(
            f"{name}={secret.generation}"
            for name, secret in (("current", self.current), ("next", self.next), ("previous", self.previous))
            if secret is not None
        )
        return f"Keyring({held})"
