"""Any bytes from a link give a value or a RemoteError, and never more."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gossip.errors import RemoteError
from gossip.node import Node
from gossip.spreading import codec
from gossip.spreading.codec import Delta
from gossip.state import bodies, statements
from gossip.state.bodies import KINDS, PEER, encode_body
from gossip.state.statements import author
from tests.sim.people import MESH, admit, identity_of, peer_body, sign_as, verify

DEEP = b"\x91" * 50_000

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=70) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)
hostile = st.binary(max_size=200) | st.just(DEEP) | values.map(msgspec.msgpack.encode)


def gives_value_or_remote_error(decode: Callable[[bytes], object], data: bytes) -> None:
    try:
        decode(data)
    except RemoteError:
        pass


@given(hostile)
def test_any_bytes_as_a_message(data: bytes) -> None:
    gives_value_or_remote_error(codec.decode, data)


@given(hostile)
def test_any_bytes_as_a_statement(data: bytes) -> None:
    gives_value_or_remote_error(statements.parse, data)


@pytest.mark.parametrize("kind", KINDS)
@given(hostile)
def test_any_bytes_as_a_body(kind: str, data: bytes) -> None:
    gives_value_or_remote_error(lambda body: bodies.decode_body(kind, body), data)


@given(st.data())
def test_any_flipped_byte_of_a_statement_is_no_statement_of_its_owner(data: st.DataObject) -> None:
    owner = identity_of("h0")
    wire = author(sign_as(owner), MESH, owner, (PEER, b""), (1, 1), encode_body(PEER, peer_body("h0"))).wire()
    at = data.draw(st.integers(0, len(wire) - 1))
    flipped = wire[:at] + bytes([wire[at] ^ data.draw(st.integers(1, 255))]) + wire[at + 1 :]
    node = _node("h1")
    node.absorb([flipped], 0.0)
    assert node.summary() == []


@given(st.lists(hostile, max_size=5))
def test_a_node_takes_any_messages(messages: list[bytes]) -> None:
    node = _node("h1")
    node.start(peer_body("h1"), 0.0)
    node.link_up(1, identity_of("h0"), False, 0.0)
    before = node.summary()
    for message in messages:
        node.receive(1, message, 1.0)
        node.receive(1, codec.encode(Delta([message[:4000]])), 1.0)
    assert [row for row in node.summary() if row[1] != "links"] == [row for row in before if row[1] != "links"]


def _node(name: str) -> Node:
    identity = identity_of(name)
    return Node(mesh=MESH, identity=identity, sign=sign_as(identity), verify=verify, admit=admit, rng=Random(1))
