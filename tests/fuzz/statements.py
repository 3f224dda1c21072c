"""gossip's decoders: messages on a link, statements, bodies, and a node that is told them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

import msgspec

from gossip import limits
from gossip.errors import RemoteError
from gossip.node import Node
from gossip.people.authority import Admitted
from gossip.spreading import codec
from gossip.spreading.codec import Beat, Delta
from gossip.state.bodies import KINDS, PEER, PeerBody, decode_body, encode_body
from gossip.state.statements import author, parse

MESH = bytes(range(limits.MESH_B))
OWN, OTHER = b"\1" * limits.IDENTITY_B, b"\2" * limits.IDENTITY_B
INPUTS_PER_NODE = 2_000
LINK = 1
BODY = PeerBody("other", ["192.0.2.1:6799"], b"s" * 32, [b"chain"], b"bootbyte", "1")


def sign(message: bytes) -> bytes:
    return bytes(limits.SIGNATURE_B)


def verify(identity: bytes, message: bytes, signature: bytes) -> bool:
    return True


def admit(identity: bytes, chain: Sequence[bytes]) -> Admitted:
    return Admitted(("admin", "invite"), ())


class Listener:
    """A node that believes every signature, made anew from time to time."""

    def __init__(self) -> None:
        self._left = 0
        self._node: Node

    def node(self) -> Node:
        if self._left <= 0:
            self._left = INPUTS_PER_NODE
            self._node = Node(mesh=MESH, identity=OWN, sign=sign, verify=verify, admit=admit, rng=Random(1))
            self._node.start(msgspec.structs.replace(BODY, name="own"), 0.0)
            self._node.link_up(LINK, OTHER, False, 0.0)
        self._left -= 1
        return self._node


_LISTENER = Listener()


def message(data: bytes) -> None:
    try:
        codec.decode(data)
    except RemoteError:
        pass


def statement(data: bytes) -> None:
    try:
        parse(data)
    except RemoteError:
        pass


def body(data: bytes) -> None:
    if data:
        kind = KINDS[data[0] % len(KINDS)]
        try:
            encode_body(kind, decode_body(kind, data[1:]))
        except RemoteError:
            pass


def node_message(data: bytes) -> None:
    """Whatever a linked member sends; the link may be ended by it, and nothing else."""
    node = _LISTENER.node()
    node.receive(LINK, data, 1.0)
    node.receive(LINK, codec.encode(Beat()), 1.0)


def node_statement(data: bytes) -> None:
    """A statement that is well signed by a member with every role: kind, incarnation and seq, then key and body."""
    if len(data) < 4:
        return
    kind, cut = KINDS[data[0] % len(KINDS)], 4 + data[3] % 33
    version = (1 + data[1] % 4, data[2])
    made = author(sign, MESH, OTHER, (kind, data[4:cut]), version, data[cut : cut + 2000] or None)
    _LISTENER.node().receive(LINK, codec.encode(Delta([made.wire()])), 1.0)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "message": message,
    "statement": statement,
    "body": body,
    "node-message": node_message,
    "node-statement": node_statement,
}


def seeds() -> dict[str, list[bytes]]:
    encoded = encode_body(PEER, BODY)
    wire = author(sign, MESH, OTHER, (PEER, b""), (1, 1), encoded).wire()
    messages = [codec.encode(Delta([wire])), codec.encode(Beat())]
    return {
        "message": messages,
        "statement": [wire],
        "body": [bytes([KINDS.index(PEER)]) + encoded],
        "node-message": messages,
        "node-statement": [bytes([KINDS.index(PEER), 1, 1, 0]) + encoded],
    }
