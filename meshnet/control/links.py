"""The TCP links between peers: Noise-secured streams that carry the gossip node's messages.

Purpose: connect the node's ``Dial``, ``CloseLink`` and messages with sockets, in both directions.
Rule: a link exists for the node only after both ends are proven: IKpsk2 under the mesh secret, a static key that
a credential binds to a member, and the initiator's CONFIRM. One node message is one record. A far end
that does not read loses its link at MAX_SEND_QUEUE; one that sends faster than its steps become durable is not
read. Whatever a far end does costs its own connection alone, and is counted.
Flow: accept or dial -> handshake -> ``link_up`` -> records -> ``receive`` … -> ``link_down``.
Reference: design §3, §5; docs/wire.md.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from crypto.errors import CryptoError, RemoteError
from crypto.keys import Entropy
from crypto.prologue import Channel
from crypto.stream import CLOSE, SecureStream, StreamInitiator, StreamResponder
from gossip.events import CloseLink, Dial, Event, Output
from gossip.node import Node
from meshnet.control import join_wire
from meshnet.control.credential import Credential
from meshnet.control.join import Issuer
from meshnet.control.listener import HANDSHAKE_S, Listener
from meshnet.control.membership import Membership
from meshnet.control.pipe import CONNECT_S, Pipe, connect
from meshnet.control.runner import NodeRunner
from meshnet.control.store import StoreError

MESSAGE, CONFIRM = 1, 2  # kinds of records; others are counted and skipped
MAX_SEND_QUEUE = 1 << 20  # bytes that wait for a far end to read
MAX_DIALS = 32  # at once

_log = logging.getLogger(__name__)
_Records = list[tuple[int, bytes]]


@dataclass(slots=True)
class _Link:
    number: int
    peer: bytes
    pipe: Pipe
    stream: SecureStream


class Links:
    """All links of this peer. sockets: bound TCP sockets, which this takes over.

    lookup(static): the identity of the known peer with that X25519 key, or None. barred(identity): whether a
    peer may not link although its certificates hold (it left). issuer: answers joins, None where none are.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        membership: Membership,
        runner: NodeRunner[Node],
        lookup: Callable[[bytes], bytes | None],
        issuer: Issuer | None = None,
        barred: Callable[[bytes], bool] = lambda identity: False,
        entropy: Entropy = os.urandom,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._membership = membership
        self._runner = runner
        self._lookup = lookup
        self._barred = barred
        self._entropy = entropy
        self._credential = Credential.make(membership).encode()
        self._psk = membership.secret.psk(Channel.LINK)
        self._serves_joins = issuer is not None
        self._listener = Listener(sockets, self._responder, self, issuer, self.counters)
        self._links: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._dialing: set[bytes] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    def __len__(self) -> int:
        return len(self._links)

    @property
    def unsent(self) -> int:
        """Bytes that wait for links to take them."""
        return sum(link.pipe.queued for link in self._links.values())

    @property
    def half_open(self) -> int:
        """Accepted connections that have proven nothing yet."""
        return len(self._listener.half_open)

    async def start(self) -> None:
        """Begin to accept connections."""
        await self._listener.start()

    async def close(self) -> None:
        """End every link and stop accepting; the node is told of no link any more."""
        self._closed = True
        self.drop_all()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._listener.close()

    def drop_all(self) -> None:
        """End every link without telling the node: it is another one now, or none."""
        for link in list(self._links.values()):
            self._finish(link)

    def tell(self, event: Event) -> bool:
        """Take one of the node's events; whether it was one for links."""
        if isinstance(event, Dial):
            self._dial_soon(event)
        elif isinstance(event, CloseLink):
            link = self._links.get(event.link)
            if link is not None:
                self.counters["closed by the node"] += 1
                _log.info("link to %s closed: %s", link.peer.hex()[:16], event.reason)
                self._finish(link)
        else:
            return False
        return True

    def send(self, number: int, message: bytes) -> None:
        """Send one of the node's messages; a link that ended meanwhile swallows it."""
        link = self._links.get(number)
        if link is None:
            return
        if link.pipe.queued + len(message) > MAX_SEND_QUEUE:
            self.counters["cut: does not read"] += 1
            link.pipe.abort()  # its reader then ends and tells the node
            return
        link.pipe.put(link.stream.seal(MESSAGE, message))

    async def welcome(self, pipe: Pipe, responder: StreamResponder, proven: Callable[[], None]) -> None:
        """The listener's LINK connections: finish the handshake, then serve the link until it ends."""
        request = responder.request
        if request is None:
            raise RemoteError("a link without a request")
        peer = self._admit(request.remote_static, request.payload)
        responder.accept(self._psk, self._credential)
        await pipe.write(responder.data_to_send())
        stream = responder.secure()
        records: _Records = stream.feed(b"")
        while not records:
            records = stream.feed(await pipe.read())
        if records[0] != (CONFIRM, b""):
            raise RemoteError("a link that is not confirmed")
        proven()
        await self._serve(pipe, stream, peer, False, records[1:])

    def _responder(self) -> StreamResponder:
        epochs = {Channel.LINK: self._membership.secret.epoch}
        if self._serves_joins:
            epochs[Channel.JOIN] = join_wire.EPOCH
        return StreamResponder(
            epochs=epochs,
            mesh=self._membership.mesh,
            suite=self._membership.suite,
            static=self._membership.static,
            entropy=self._entropy,
        )

    def _admit(self, static: bytes, payload: bytes) -> bytes:
        """The member that owns `static`, as its credential shows; RemoteError otherwise.

        Gossip's word alone is not enough, as a member could claim another's key there; where both agree, gossip
        has checked the signatures before.
        """
        credential = Credential.decode(payload)
        peer = credential.identity
        if self._lookup(static) != peer:
            credential.check(self._membership.mesh, static)
        if peer == self._membership.identity.public:
            raise RemoteError("a link with our own identity")
        if self._barred(peer):
            raise RemoteError("a link of a peer that left")
        return peer

    def _dial_soon(self, dial: Dial) -> None:
        if self._closed or dial.peer in self._dialing or len(self._dialing) >= MAX_DIALS:
            return
        self._dialing.add(dial.peer)
        task = asyncio.get_running_loop().create_task(self._dial(dial))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _dial(self, dial: Dial) -> None:
        try:
            opened = None
            for address in dial.addresses:
                opened = await self._try(dial, address)
                if opened is not None:
                    break
        finally:
            self._dialing.discard(dial.peer)
        if opened is None:
            self.counters["dials that reached nobody"] += 1
            return
        pipe, stream = opened
        try:
            await self._serve(pipe, stream, dial.peer, True, [])
        except RemoteError as error:
            self.counters[f"cut: {error.reason}"] += 1
        except ConnectionError:
            self.counters["cut off"] += 1
        except Exception:
            self.counters["faults"] += 1
            _log.exception("a link failed")
        finally:
            pipe.abort()

    async def _try(self, dial: Dial, address: str) -> tuple[Pipe, SecureStream] | None:
        """An opened stream to the peer at one address; None, counted, when there is none."""
        pipe, stream = None, None
        try:
            async with asyncio.timeout(CONNECT_S + HANDSHAKE_S):
                pipe = await connect(address)
                stream = await self._open(pipe, dial)
                return pipe, stream
        except CryptoError as error:
            self.counters[f"dial refused: {error}"] += 1
        except (OSError, ValueError):  # TimeoutError is an OSError
            self.counters["dial failed"] += 1
        finally:
            if pipe is not None and stream is None:
                pipe.abort()
        return None

    async def _open(self, pipe: Pipe, dial: Dial) -> SecureStream:
        own = self._membership
        initiator = StreamInitiator(
            channel=Channel.LINK,
            mesh=own.mesh,
            suite=own.suite,
            epoch=own.secret.epoch,
            static=own.static,
            remote_static=dial.static,
            psk=self._psk,
            payload=self._credential,
            entropy=self._entropy,
        )
        await pipe.write(initiator.data_to_send())
        while not initiator.complete:
            initiator.feed(await pipe.read())
            await pipe.write(initiator.data_to_send())
        if self._admit(dial.static, initiator.payload or b"") != dial.peer:
            raise RemoteError("another peer than the one that was dialled")
        stream = initiator.secure()
        await pipe.write(stream.seal(CONFIRM, b""))
        return stream

    async def _serve(self, pipe: Pipe, stream: SecureStream, peer: bytes, opened_by_us: bool, early: _Records) -> None:
        """One link from `link_up` to its end; raises what ended it."""
        link = _Link(next(self._numbers), peer, pipe, stream)
        number = link.number
        self._links[number] = link
        try:
            await self._runner.step(lambda now: self._runner.node.link_up(number, peer, opened_by_us, now))
            self.counters["links opened"] += 1
            records = early + stream.feed(b"")
            while not stream.closed:
                await self._receive(number, records)
                records = stream.feed(await pipe.read())
            await self._receive(number, records)
            self.counters["closed by the other end"] += 1
        except StoreError:
            self.counters["cut: the state is not durable"] += 1
        finally:
            if self._links.pop(number, None) is not None:
                self._runner.post(lambda now: self._runner.node.link_down(number, now))
            pipe.finish()

    async def _receive(self, number: int, records: _Records) -> None:
        """Hand what one read brought to the node, and wait until its consequences are durable."""
        messages = [plaintext for kind, plaintext in records if kind == MESSAGE]
        self.counters["records of unknown kinds"] += sum(kind not in (MESSAGE, CLOSE) for kind, _ in records)
        for message in messages[:-1]:
            self._runner.post(self._act(number, message))
        if messages:
            await self._runner.step(self._act(number, messages[-1]))

    def _act(self, number: int, message: bytes) -> Callable[[float], Output]:
        # The node of the moment: after a failed commit it is another one, which does not know this link.
        return lambda now: self._runner.node.receive(number, message, now)

    def _finish(self, link: _Link) -> None:
        """End a link in order that the node knows nothing of any more."""
        self._links.pop(link.number, None)
        link.pipe.finish(link.stream.close())
