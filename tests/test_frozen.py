"""The frozen transcript: what this code sends is what was sent, and what was sent is still understood."""

from __future__ import annotations

import json
import sys
from typing import Any, get_args

import pytest

from crypto.certificate import verified
from crypto.errors import RemoteError
from crypto.handshake import read_initiation, receiver_index
from crypto.primitives import Suite, verify
from crypto.prologue import Channel
from crypto.session import TAG_BYTES, Opener
from crypto.stream import PasswordInitiator, StreamInitiator
from crypto.token import Token
from gossip.spreading import codec
from gossip.state import bodies
from gossip.state.statements import parse, signed_bytes
from meshnet.control.joining import join_wire as wire
from meshnet.control.keys.membership import JoinRequest
from meshnet.control.links.credential import Credential
from tests.frozen import cast, datagrams, statements, streams
from tests.frozen.streams import Conversation
from tests.frozen.transcript import STORED, rendered, transcript

FROZEN: dict[str, Any] = json.loads(STORED.read_text())
SUITES = pytest.mark.parametrize("suite", list(Suite), ids=lambda suite: suite.value)


def unhexed(texts: list[str]) -> list[bytes]:
    return [bytes.fromhex(text) for text in texts]


def test_what_is_sent_is_what_was_sent() -> None:
    # If this is meant, it is a new wire version: see tests/frozen/__init__.py.
    assert transcript() == FROZEN
    assert rendered(FROZEN) == STORED.read_text()


@SUITES
def test_the_recorded_handshake(suite: Suite) -> None:
    stored = FROZEN["udp"][suite.value]
    keys = ("first initiation", "cookie reply", "second initiation", "response")
    refused, reply, initiation, response = unhexed([stored[key] for key in keys])
    received = read_initiation(datagrams.ends(suite)[1], refused)
    assert (received.remote_static, received.offer) == (cast.A_STATIC.public, datagrams.OFFER)
    assert datagrams.first(suite).open_cookie(reply) == datagrams.COOKIE
    again = read_initiation(datagrams.ends(suite)[1], initiation)
    assert again.offer.challenge == datagrams.COOKIE[:8]
    session = datagrams.second(suite).finish(response)
    assert receiver_index(response) == session.local_index == datagrams.A_INDEX
    assert session.choice == datagrams.CHOICE
    assert [session.send_key, session.receive_key] == unhexed(list(stored["keys"].values()))


@SUITES
def test_the_recorded_records(suite: Suite) -> None:
    stored = FROZEN["udp"][suite.value]
    opener = Opener(suite, bytes.fromhex(stored["keys"]["initiator sends"]))
    for counter, train in enumerate(map(unhexed, stored["records"]), 1):
        slices = [datagram[2] for datagram in train]
        assert slices == list(range(train[0][3])) and all(datagram[0] == 4 for datagram in train)
        assert len(train[-1]) - 16 == int.from_bytes(train[0][8:10])
        sealed = b"".join(datagram[16:] for datagram in train)
        opened = memoryview(bytearray(len(sealed) - TAG_BYTES))
        assert opener.open(train[0][:16], sealed, opened) == counter
        assert bytes(opened) == datagrams.plaintext() * (1 if counter == 1 else 3)
        with pytest.raises(RemoteError):
            opener.open(train[0][:16], sealed, opened)


def replayed(name: str) -> tuple[Conversation, list[tuple[str, int, bytes]]]:
    """Fresh ends fed with the recorded bytes, and the records they read: (who sent it, kind, content)."""
    conversation, stored = streams.CONVERSATIONS[name](), FROZEN["streams"][name]
    ends = {streams.INITIATOR: conversation.near, streams.RESPONDER: conversation.far}
    for who, data in stored["handshake"]:
        other = next(end for name, end in ends.items() if name != who)
        if not ends[who].data_to_send():
            conversation.go_on()
            assert ends[who].data_to_send()
        other.feed(bytes.fromhex(data))
    heard = {who: next(end for name, end in ends.items() if name != who).secure() for who in ends}
    return conversation, [
        (who, *record) for who, data in stored["records"] for record in heard[who].feed(bytes.fromhex(data))
    ]


@pytest.mark.parametrize("name", list(streams.CONVERSATIONS))
def test_the_recorded_streams(name: str) -> None:
    conversation, heard = replayed(name)
    assert heard == [(who, kind, content) for who, (kind, content) in conversation.said]


def test_the_recorded_link() -> None:
    conversation, _ = replayed("link")
    near, far = conversation.near, conversation.far
    assert isinstance(near, StreamInitiator) and near.payload is not None and far.request is not None
    assert (far.request.channel, far.request.epoch) == (Channel.LINK, cast.SECRET.epoch)
    Credential.decode(near.payload).check(cast.MESH, near.remote_static)
    Credential.decode(far.request.payload).check(cast.MESH, far.request.remote_static)


def test_the_recorded_joins() -> None:
    conversation, heard = replayed("join")
    assert conversation.far.request is not None
    ask = wire.decode(conversation.far.request.payload, wire.Ask)
    assert ask.token_id == cast.token().token_id and ask.request.holds(cast.MESH)
    welcome = wire.decode(heard[1][2], wire.Welcome)
    assert (welcome.secret, welcome.generation) == (cast.SECRET.key, cast.SECRET.generation)
    assert verified(cast.MESH, ask.request.identity, welcome.chain).certificate.name == ask.request.name
    told = wire.decode_statements(heard[2][2])
    assert len(told) == wire.decode(heard[3][2], wire.End).count == 2
    conversation, heard = replayed("password")
    near, far = conversation.near, conversation.far
    assert far.request is not None and wire.decode(far.request.payload, JoinRequest).holds(cast.MESH)
    assert isinstance(near, PasswordInitiator) and near.mesh == cast.MESH
    assert wire.decode(heard[-1][2], wire.Denied).reason == "name-taken"


def test_the_recorded_state() -> None:
    stored = FROZEN["state"]
    proved = verified(cast.MESH, cast.JOINER.public, unhexed(stored["chain"]))
    assert proved.path == ((cast.MEMBER.public, 7), (cast.FOUNDER.public, 1))
    assert Token.decode(stored["token"]) == cast.token()
    Credential.decode(bytes.fromhex(stored["credential"])).check(cast.MESH, cast.A_STATIC.public)
    parsed = [parse(bytes.fromhex(data)) for _, data in stored["statements"]]
    for (kind, _), statement, expected in zip(stored["statements"], parsed, statements.every_statement(), strict=True):
        assert verify(statement.owner, signed_bytes(statement.blob), statement.signature)
        assert kind == statement.kind and statement == expected
    bodies_read = [bodies.decode_body(one.kind, one.body) for one in parsed if one.body is not None]
    assert bodies_read == [body for _, body in statements.every_body()]
    messages = [codec.decode(bytes.fromhex(data)) for _, data in stored["link messages"]]
    assert messages == statements.every_message()


def test_nothing_is_missing() -> None:
    kinds = {value for value in vars(bodies).values() if isinstance(value, str) and bodies.known(value)}
    assert {kind for kind, _ in FROZEN["state"]["statements"]} == kinds
    assert {name for name, _ in FROZEN["state"]["link messages"]} == {
        message.__name__ for message in get_args(codec.Message)
    }
    assert parse(bytes.fromhex(FROZEN["state"]["statements"][-1][1])).body is None


@pytest.mark.parametrize(
    "fault", ["crypto.prologue._PROTOCOL", "crypto.secret._MAC1_LABEL", "crypto.handshake._NO_MAC2"]
)
def test_a_change_of_the_wire_is_noticed(monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    module, name = fault.rsplit(".", 1)
    monkeypatch.setattr(sys.modules[module], name, b"changed".ljust(16, b"."))
    assert transcript() != FROZEN
