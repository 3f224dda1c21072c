"""The TCP links between peers: Noise-secured streams that carry the gossip node's messages.

Purpose: connect the node's ``Dial``, ``CloseLink`` and messages with sockets, in both directions.
Rule: a link exists for the node only after both ends are proven: IKpsk2 under a mesh secret that both hold, a static
key that a credential binds to a member, and the initiator's CONFIRM. One node message is one record. A far end
that does not read loses its link at MAX_SEND_QUEUE; one that sends faster than its steps become durable is not
read. Whatever a far end does costs its own connection alone, and is counted.
A credential never ends, a static key does: so a link lasts only while gossip says the same of its key, and it is made
anew after a day. A new mesh secret travels here and nowhere else, to who is vouched for by gossip alone.
Flow: accept or dial -> handshake -> ``link_up`` -> records -> ``receive`` … -> ``link_down``; ``tick`` once a second.
Reference: design §3, §5; docs/adr/0008-secret-on-links.md; docs/wire.md.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import socket
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any

from crypto.errors import RemoteError
from crypto.keys import Entropy
from crypto.primitives import KEY_SIZE
from crypto.prologue import Channel
from crypto.secret import MeshSecret
from crypto.stream import CLOSE, SecureStream, StreamResponder
from gossip.events import CloseLink, Dial, Event, Output
from gossip.node import Node
from meshnet.control.joining import join_wire
from meshnet.control.joining.issuer import Issuer
from meshnet.control.keys.hostkeys import HostKeys
from meshnet.control.links.credential import Credential
from meshnet.control.links.dialling import CONFIRM, Dialling, Tried
from meshnet.control.links.listener import Listener
from meshnet.control.runner import NodeRunner
from meshnet.control.store.store import StoreError
from meshnet.control.streams.pipe import Pipe

MESSAGE, SECRET = 1, 3  # kinds of records, as is CONFIRM; others are counted and skipped
SECRET_SIZE = 4 + KEY_SIZE  # u32 generation, the key
MAX_SEND_QUEUE = 1 << 20  # bytes that wait for a far end to read
MAX_DIALS = 32  # at once
LIFE_S = 24 * 3600.0  # then who opened a link makes it anew, for fresh keys
LIFE_SPREAD_S = 3600.0  # so that the links of a mesh do not end together
VOUCH_S = 15.0  # how soon gossip must name the static key a link was opened with

_log = logging.getLogger(__name__)
_Records = list[tuple[int, bytes]]
Admits = Callable[[bytes, Sequence[str], Sequence[tuple[bytes, int]]], bool]
"""(identity, its roles, path of its certificates): whether they count, for a peer that gossip does not vouch for."""


@dataclass(slots=True)
class _Link:
    number: int
    peer: bytes
    static: bytes
    pipe: Pipe
    stream: SecureStream
    doubted_since: float
    """Since when gossip has not vouched for its key; at first, since it was opened."""
    ends_at: float


class Links:
    """All links of this peer. sockets: bound TCP sockets, which this takes over.

    lookup(static): the identity of the known peer with that X25519 key, or None. barred(identity): whether a
    peer may not link although its certificates hold (it left, or was revoked). tags(identity): of the mesh secrets
    it says it holds. issuer: answers joins, None where none are. on_secret(peer, secret): a mesh secret came from a
    linked peer; nothing of it is checked. ways(identity, addresses): where to try a peer of which gossip tells these
    addresses. on_reached(peer, address): a link that was opened from here came up over this address.
    why_not(peer, host): why it is not to be dialled at an address, or None.
    """

    def __init__(
        self,
        sockets: Sequence[socket.socket],
        keys: HostKeys,
        runner: NodeRunner[Node],
        lookup: Callable[[bytes], bytes | None],
        issuer: Issuer | None = None,
        barred: Callable[[bytes], bool] = lambda identity: False,
        tags: Callable[[bytes], Sequence[bytes]] = lambda identity: (),
        on_secret: Callable[[bytes, MeshSecret], None] = lambda peer, secret: None,
        admits: Admits = lambda identity, roles, path: True,
        entropy: Entropy = os.urandom,
        ways: Callable[[bytes, Sequence[str]], Sequence[str]] = lambda identity, said: said,
        on_reached: Callable[[bytes, str], None] = lambda peer, address: None,
        why_not: Callable[[bytes, str], str | None] = lambda peer, host: None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._keys = keys
        self._runner = runner
        self._lookup = lookup
        self._barred = barred
        self._on_secret = on_secret
        self._admits = admits
        self._entropy = entropy
        self._ways = ways
        self._on_reached = on_reached
        self._dialling = Dialling(keys, self._admit, tags, self.counters, entropy, why_not)
        self._serves_joins = issuer is not None
        self._listener = Listener(sockets, self._responder, self, issuer, self.counters)
        self._links: dict[int, _Link] = {}
        self._numbers = itertools.count(1)
        self._dialing: dict[bytes, Tried] = {}
        self._awaited: dict[bytes, list[asyncio.Future[None]]] = {}
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

    def drop_peer(self, peer: bytes) -> None:
        """End every link with `peer` at once; the node is told."""
        for link in list(self._links.values()):
            if link.peer == peer:
                self.counters["cut: the peer is barred"] += 1
                self._cut(link)

    def tick(self, now: float) -> None:
        """Look after the links at `now` (seconds, the loop's clock); to be called once a second or so."""
        for link in list(self._links.values()):
            if self._lookup(link.static) == link.peer:
                link.doubted_since = now
            elif now - link.doubted_since >= VOUCH_S:
                self.counters["cut: gossip names another static key"] += 1
                self._cut(link)
            if now >= link.ends_at:
                self.counters["made anew"] += 1
                link.pipe.finish(link.stream.close())  # its reader then ends and tells the node, which dials again

    def linked(self, peer: bytes) -> bool:
        """Whether there is a link to the peer."""
        return any(link.peer == peer for link in self._links.values())

    async def reach(self, dial: Dial, within_s: float) -> Tried | None:
        """Dial at once, whatever else is under way; None when a link to the peer, whoever opened it, came up in time.

        Else what became of each address; one that did not answer yet goes on being tried.
        """
        tried, up = Tried(), asyncio.get_running_loop().create_future()
        self._awaited.setdefault(dial.peer, []).append(up)
        task = self._start(self._dial(dial, tried))
        try:
            await asyncio.wait([task, up], timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._awaited[dial.peer].remove(up)
            if not self._awaited[dial.peer]:
                del self._awaited[dial.peer]
        return None if up.done() else tried

    def send_secret(self, peer: bytes, secret: MeshSecret) -> bool:
        """Send a mesh secret on a link to `peer`; whether there was one whose key gossip vouches for."""
        for link in self._links.values():
            if link.peer == peer and self._lookup(link.static) == peer and not self._barred(peer):
                link.pipe.put(link.stream.seal(SECRET, secret.generation.to_bytes(4, "big") + secret.key))
                return True
        return False

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
        own = self._keys.membership
        secret = own.keyring.get(request.epoch)
        if secret is None:  # it was dropped since the hello was answered
            raise RemoteError("hello with another epoch of the mesh secret")
        mine = next((static for static in own.statics if static.public == request.static_public), own.static)
        responder.accept(secret.psk(Channel.LINK), Credential.make(replace(own, static=mine)).encode())
        await pipe.write(responder.data_to_send())
        stream = responder.secure()
        records: _Records = stream.feed(b"")
        while not records:
            records = stream.feed(await pipe.read())
        if records[0] != (CONFIRM, b""):
            raise RemoteError("a link that is not confirmed")
        proven()
        await self._serve(pipe, stream, peer, request.remote_static, None, records[1:])

    def _responder(self) -> StreamResponder:
        own = self._keys.membership
        epochs = {Channel.LINK: [secret.epoch for secret in own.keyring.secrets()]}
        if self._serves_joins:
            epochs[Channel.JOIN] = [join_wire.EPOCH]
        return StreamResponder(
            epochs=epochs,
            mesh=own.mesh,
            suite=own.suite,
            statics=own.statics,
            entropy=self._entropy,
            password_psk=own.password_key if self._serves_joins else None,
        )

    def _admit(self, static: bytes, payload: bytes) -> bytes:
        """The member that owns `static`, as its credential shows; RemoteError otherwise.

        Gossip's word alone is not enough, as a member could claim another's key there; where both agree, gossip
        has checked the signatures before.
        """
        credential, own = Credential.decode(payload), self._keys.membership
        peer = credential.identity
        if self._lookup(static) != peer:
            shown = credential.check(own.mesh, static)
            if not self._admits(peer, shown.certificate.roles, shown.path):
                raise RemoteError("a link by certificates that do not count")
        if peer == own.identity.public:
            raise RemoteError("a link with our own identity")
        self._refuse_barred(peer)
        return peer

    def _refuse_barred(self, peer: bytes) -> None:
        if self._barred(peer) or self._barred(self._keys.membership.identity.public):
            raise RemoteError("a link of a peer that left or was revoked")

    def _dial_soon(self, dial: Dial) -> None:
        if self._closed or dial.peer in self._dialing or len(self._dialing) >= MAX_DIALS:
            return
        tried = self._dialing[dial.peer] = Tried()
        self._start(self._dial(dial, tried))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _dial(self, dial: Dial, tried: Tried) -> None:
        try:
            opened = await self._dialling.race(dial, self._ways(dial.peer, dial.addresses), tried)
        finally:
            if self._dialing.get(dial.peer) is tried:
                del self._dialing[dial.peer]
        if opened is None:
            self.counters["dials that reached nobody"] += 1
            return
        tried[opened.address] = "the other end took no link"
        try:
            await self._serve(opened.pipe, opened.stream, dial.peer, dial.static, opened.address, [])
        except RemoteError as error:
            tried[opened.address] = error.reason
            self.counters[f"cut: {error.reason}"] += 1
        except ConnectionError:
            self.counters["cut off"] += 1
        except Exception:
            self.counters["faults"] += 1
            _log.exception("a link failed")
        finally:
            opened.pipe.abort()

    async def _serve(
        self, pipe: Pipe, stream: SecureStream, peer: bytes, static: bytes, over: str | None, early: _Records
    ) -> None:
        """One link from `link_up` to its end; raises what ended it. `over`: which address we opened it at."""
        self._refuse_barred(peer)  # anew: the handshake took its time
        now, opened_by_us = asyncio.get_running_loop().time(), over is not None
        ends_at = now + self._life() if opened_by_us else float("inf")
        link = _Link(next(self._numbers), peer, static, pipe, stream, now, ends_at)
        number = link.number
        self._links[number] = link
        try:
            await self._runner.step(lambda now: self._runner.node.link_up(number, peer, opened_by_us, now))
            self.counters["links opened"] += 1
            self._up(peer, over)
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

    def _up(self, peer: bytes, over: str | None) -> None:
        if over is not None:
            self._on_reached(peer, over)
        for waiting in self._awaited.get(peer, ()):
            if not waiting.done():
                waiting.set_result(None)

    async def _receive(self, number: int, records: _Records) -> None:
        """Hand what one read brought to the node, and wait until its consequences are durable."""
        messages = [plaintext for kind, plaintext in records if kind == MESSAGE]
        for plaintext in (plaintext for kind, plaintext in records if kind == SECRET):
            self._take_secret(number, plaintext)
        known = (MESSAGE, SECRET, CLOSE)
        self.counters["records of unknown kinds"] += sum(kind not in known for kind, _ in records)
        for message in messages[:-1]:
            self._runner.post(self._act(number, message))
        if messages:
            await self._runner.step(self._act(number, messages[-1]))

    def _take_secret(self, number: int, plaintext: bytes) -> None:
        link = self._links.get(number)
        if len(plaintext) != SECRET_SIZE:
            raise RemoteError("a mesh secret of another length")
        if link is not None:
            self._on_secret(link.peer, MeshSecret(int.from_bytes(plaintext[:4], "big"), plaintext[4:]))

    def _act(self, number: int, message: bytes) -> Callable[[float], Output]:
        # The node of the moment: after a failed commit it is another one, which does not know this link.
        return lambda now: self._runner.node.receive(number, message, now)

    def _life(self) -> float:
        """How long a link that we opened lasts."""
        spread = int.from_bytes(self._entropy(4), "big") / 0xFFFFFFFF
        return LIFE_S + (2 * spread - 1) * LIFE_SPREAD_S

    def _cut(self, link: _Link) -> None:
        """End a link and tell the node: nothing more is read; what was said before (why, perhaps) still leaves."""
        number = link.number
        if number in self._links:
            self._runner.post(lambda now: self._runner.node.link_down(number, now))
        self._finish(link)

    def _finish(self, link: _Link) -> None:
        """End a link in order that the node knows nothing of any more."""
        self._links.pop(link.number, None)
        link.pipe.finish(link.stream.close())
