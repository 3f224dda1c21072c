"""Opening a link to a peer that may be at any of several addresses: the best ones first, the first that answers wins.

Purpose: an address that is dead, or that swallows everything, delays a dial by STAGGER_S and not by its deadline.
Rule: the next address is tried when the one before failed, or STAGGER_S later beside it. Only the winner is confirmed,
so the far end takes no second link. An opened stream belongs to the peer that was dialled, whatever address it was.
Flow: `links` -> `race` -> connect, IKpsk2 -> CONFIRM on the winner -> Opened; each failure is told with its reason.
Reference: RFC 8305 §5 (connection attempts); docs/adr/0008-secret-on-links.md.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from crypto.errors import CryptoError, RemoteError
from crypto.keyring import Keyring
from crypto.keys import Entropy
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import SecureStream, StreamInitiator
from gossip.events import Dial
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.links.credential import Credential
from meshnet.control.links.listener import HANDSHAKE_S
from meshnet.control.streams.pipe import CONNECT_S, Pipe, connect, split_address

__all__ = ["CONFIRM", "STAGGER_S", "Dialling", "Opened", "Tried", "common_secret"]

CONFIRM: Final = 2  # the kind of a record
STAGGER_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Opened:
    """A proven connection that the far end has been told to take as a link."""

    pipe: Pipe
    stream: SecureStream
    address: str


class Tried(dict[str, str]):
    """Why each address that was tried brought no link, by address; empty text while it is under way."""

    def said(self) -> str:
        """All of it in one line."""
        return "; ".join(f"{address}: {why or 'no answer'}" for address, why in self.items()) or "no address is known"


class Dialling:
    """admit(static, payload): the identity of the member with that key and credential, or RemoteError.

    why_not(peer, host): why it is not to be reached at an address, or None.
    """

    def __init__(
        self,
        keys: HostKeys,
        admit: Callable[[bytes, bytes], bytes],
        tags: Callable[[bytes], Sequence[bytes]],
        counters: Counter[str],
        entropy: Entropy,
        why_not: Callable[[bytes, str], str | None] = lambda peer, host: None,
    ) -> None:
        self._keys = keys
        self._admit = admit
        self._tags = tags
        self._counters = counters
        self._entropy = entropy
        self._why_not = why_not

    async def race(self, dial: Dial, addresses: Sequence[str], tried: Tried) -> Opened | None:
        """Open a connection to the peer at one of the addresses; `tried` tells meanwhile what became of each."""
        running: dict[asyncio.Task[Opened | None], None] = {}
        waiting = [address for address in addresses if self._usable(dial.peer, address, tried)]
        loop = asyncio.get_running_loop()
        try:
            while waiting or running:
                if waiting:
                    running[loop.create_task(self._try(dial, waiting.pop(0), tried))] = None
                done, _ = await asyncio.wait(
                    running, timeout=STAGGER_S if waiting else None, return_when=asyncio.FIRST_COMPLETED
                )
                for task in [task for task in running if task in done]:
                    opened = task.result()
                    if opened is not None and await self._confirm(opened, tried):
                        del running[task]
                        return opened
                    del running[task]
            return None
        finally:
            for task in running:
                task.cancel()
            for left in await asyncio.gather(*running, return_exceptions=True):
                if isinstance(left, Opened):
                    left.pipe.abort()

    def _usable(self, peer: bytes, address: str, tried: Tried) -> bool:
        try:
            why = self._why_not(peer, split_address(address)[0])
        except ValueError as error:
            why = str(error)
        if why is None:
            return True
        self._counters["addresses that are not to be used"] += 1
        tried[address] = why
        return False

    async def _confirm(self, opened: Opened, tried: Tried) -> bool:
        try:
            await opened.pipe.write(opened.stream.seal(CONFIRM, b""))
        except ConnectionError as error:
            opened.pipe.abort()
            self._counters["dial failed"] += 1
            tried[opened.address] = _reason(error)
            return False
        return True

    async def _try(self, dial: Dial, address: str, tried: Tried) -> Opened | None:
        """A proven connection to the peer at one address; None, counted, when there is none."""
        pipe, stream = None, None
        tried[address] = ""
        try:
            async with asyncio.timeout(CONNECT_S + HANDSHAKE_S):
                pipe = await connect(address)
                stream = await self._open(pipe, dial)
                return Opened(pipe, stream, address)
        except CryptoError as error:
            self._counters[f"dial refused: {error}"] += 1
            tried[address] = str(error)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            self._counters["dial failed"] += 1
            tried[address] = _reason(error)
        finally:
            if pipe is not None and stream is None:
                pipe.abort()
        return None

    async def _open(self, pipe: Pipe, dial: Dial) -> SecureStream:
        own = self._keys.membership
        secret = common_secret(own.keyring, self._tags(dial.peer))
        initiator = StreamInitiator(
            channel=Channel.LINK,
            mesh=own.mesh,
            suite=own.suite,
            epoch=secret.epoch,
            static=own.static,
            remote_static=dial.static,
            psk=secret.psk(Channel.LINK),
            payload=Credential.make(own).encode(),
            entropy=self._entropy,
        )
        await pipe.write(initiator.data_to_send())
        while not initiator.complete:
            initiator.feed(await pipe.read())
            await pipe.write(initiator.data_to_send())
        if self._admit(dial.static, initiator.payload or b"") != dial.peer:
            raise RemoteError("another peer than the one that was dialled")
        return initiator.secure()


def common_secret(keyring: Keyring, tags: Sequence[bytes]) -> MeshSecret:
    """The mesh secret to use with a peer that says by tags (8 bytes each) which ones it holds.

    Without a common one, or while nothing is known of the peer's, it is the current one.
    """
    held = keyring.secrets()
    return next((secret for secret in held if secret.tag() in tags), held[0])


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, TimeoutError):
        return "no answer"
    errno = getattr(error, "errno", None)
    return os.strerror(errno).lower() if errno else str(error) or type(error).__name__
