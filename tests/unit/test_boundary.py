"""The boundary's codec: every message survives it, any bytes give a message or BoundaryError, nothing is oversize."""

from __future__ import annotations

import string

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshnet import boundary
from meshnet.boundary import BoundaryError, Fact, Verb, decode_fact, decode_verb, encode

PEER, MAC = b"\x01" * 32, b"\x02\0\0\0\0\1"
ADDRESS = ("192.0.2.1", 6799)
VERBS: list[Verb] = [
    boundary.Configure(mesh=b"m" * 16, peer=PEER, suite="AESGCM"),
    boundary.SetHandshakeKeys(keys=[boundary.HandshakeKeyRow(epoch=255, mac1_key=b"k" * 32, cookie_key=b"c" * 32)]),
    boundary.SetCookieSecrets(current=b"1" * 32, previous=b"2" * 32),
    boundary.AddSocket(family=2, port=6799, gso=True, gro=False),
    boundary.AddNetwork(number=1, device="mt00000001", mtu=1500, features=31),
    boundary.DropNetwork(number=1),
    boundary.SetEndpoints(number=1, endpoints=[boundary.EndpointRow(MAC, PEER)], gone=[MAC], replace=True),
    boundary.InstallSession(
        peer=PEER,
        index=1,
        remote_index=0xFFFFFFFF,
        send_key=b"s" * 32,
        receive_key=b"r" * 32,
        initiator=True,
        address=("fe80::1%eth0", 1),
        mtu=1500,
        features=31,
        largest_record=64_000,
    ),
    boundary.SetPath(peer=PEER, address=ADDRESS, mtu=1280),
    boundary.DropSession(index=1),
    boundary.DropPeer(peer=PEER),
    boundary.SendDatagram(address=ADDRESS, data=bytes(184)),
    boundary.ReadCounters(request=3),
    boundary.Stop(),
]
FACTS: list[Fact] = [
    boundary.Hello(
        version=boundary.VERSION,
        mesh=b"m" * 16,
        peer=PEER,
        boot=b"b" * 8,
        pid=4,
        sockets=[boundary.SocketRow(2, 6799, True, True)],
        networks=[boundary.NetworkRow(1, "mt00000001", 1500, 31)],
        sessions=[boundary.SessionRow(1, PEER, 2.5, True, True, ADDRESS, 9)],
    ),
    boundary.Handshake(address=ADDRESS, data=bytes(184)),
    boundary.Wanted(peer=PEER),
    boundary.Progress(sessions=[boundary.ProgressRow(1, 2, 3, 4, 5, 0.5, -1.0)]),
    boundary.Moved(peer=PEER, address=ADDRESS),
    boundary.SessionEnded(index=1, reason="key expired"),
    boundary.Counters(request=3, drops={"runt": 1}, peers=[boundary.PeerCounters(PEER, 1, 2, 3, 4, 1500, ADDRESS)]),
    boundary.Trouble(what="one line"),
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: type(verb).__name__)
def test_every_verb_survives_the_codec(verb: Verb) -> None:
    assert decode_verb(encode(verb)) == verb
    with pytest.raises(BoundaryError):
        decode_fact(encode(verb))


@pytest.mark.parametrize("fact", FACTS, ids=lambda fact: type(fact).__name__)
def test_every_fact_survives_the_codec(fact: Fact) -> None:
    assert decode_fact(encode(fact)) == fact
    with pytest.raises(BoundaryError):
        decode_verb(encode(fact))


def test_the_tables_above_are_the_whole_contract() -> None:
    assert {type(verb) for verb in VERBS} == set(Verb.__args__)
    assert {type(fact) for fact in FACTS} == set(Fact.__args__)
    assert set(boundary.FACTS_QUEUED) == {kind.__name__ for kind in Fact.__args__} - {"Hello", "Wanted"}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_message_or_a_boundary_error(data: bytes) -> None:
    for decode in (decode_verb, decode_fact):
        try:
            decode(data)
        except BoundaryError as error:
            assert len(str(error)) < 200


MESSAGES = {type(message).__name__: msgspec.to_builtins(message, builtin_types=[bytes]) for message in [*VERBS, *FACTS]}
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**64 - 1), st.floats(), st.binary(), st.text()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(string.ascii_letters), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(MESSAGES)), st.data(), VALUES)
def test_any_value_in_any_field_is_a_message_or_a_boundary_error(name: str, data: st.DataObject, value: object) -> None:
    fields = dict(MESSAGES[name])
    fields[data.draw(st.sampled_from(sorted(fields)))] = value
    raw = msgspec.msgpack.encode(fields)
    for decode in (decode_verb, decode_fact):
        try:
            decode(raw)
        except BoundaryError:
            pass


@given(st.sampled_from([*VERBS, *FACTS]), st.data())
def test_a_flipped_byte_is_a_message_or_a_boundary_error(message: Verb | Fact, data: st.DataObject) -> None:
    raw = bytearray(encode(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    for decode in (decode_verb, decode_fact):
        try:
            decode(bytes(raw))
        except BoundaryError:
            pass


@pytest.mark.parametrize("message", [*VERBS, *FACTS], ids=lambda message: type(message).__name__)
def test_what_is_cut_short_is_refused(message: Verb | Fact) -> None:
    raw = encode(message)
    for end in range(len(raw)):
        for decode in (decode_verb, decode_fact):
            with pytest.raises(BoundaryError):
                decode(raw[:end])


def test_a_deeply_nested_message_is_refused() -> None:
    for decode in (decode_verb, decode_fact):
        with pytest.raises(BoundaryError):
            decode(b"\x81\xa1t" + b"\x91" * 60_000)


def test_a_verb_with_a_field_of_a_later_version_is_refused() -> None:
    with pytest.raises(BoundaryError):
        decode_verb(msgspec.msgpack.encode({"t": "DropSession", "index": 1, "why": "later"}))


def test_a_hello_of_a_later_version_can_still_be_read() -> None:
    # Whoever replaces a newer forwarder must be able to tell its version and to take its descriptors over.
    hello = {**MESSAGES["Hello"], "version": boundary.VERSION + 1, "later": 1}
    fact = decode_fact(msgspec.msgpack.encode(hello))
    assert isinstance(fact, boundary.Hello) and fact.version == boundary.VERSION + 1


def test_an_oversize_message_is_not_encoded() -> None:
    room = boundary.MESSAGE_BYTES - len(encode(boundary.SendDatagram(address=ADDRESS, data=bytes(60_000))))
    assert len(encode(boundary.SendDatagram(address=ADDRESS, data=bytes(60_000 + room)))) == boundary.MESSAGE_BYTES
    with pytest.raises(BoundaryError, match="SendDatagram"):
        encode(boundary.SendDatagram(address=ADDRESS, data=bytes(60_001 + room)))


def test_a_refusal_shows_no_key() -> None:
    raw = msgspec.msgpack.encode({**MESSAGES["InstallSession"], "send_key": "not bytes but a secret"})
    with pytest.raises(BoundaryError) as caught:
        decode_verb(raw)
    assert "secret" not in str(caught.value)


def test_no_key_is_in_the_text_of_a_verb() -> None:
    key = b"\xab" * 32
    row = boundary.HandshakeKeyRow(1, key, key)
    verbs = [
        boundary.SetHandshakeKeys(keys=[row]),
        boundary.SetCookieSecrets(current=key, previous=key),
        boundary.InstallSession(
            peer=b"p" * 32,
            index=1,
            remote_index=2,
            send_key=key,
            receive_key=key,
            initiator=True,
            address=("192.0.2.1", 6799),
            mtu=1500,
            features=0,
            largest_record=64_000,
        ),
    ]
    for verb in (row, *verbs):
        assert "\\xab" not in repr(verb)
        assert type(verb).__name__ in repr(verb)
