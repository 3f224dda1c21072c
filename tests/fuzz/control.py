"""meshnet.control's decoders of what another host says: joining, credentials, addresses; and the boundary's facts."""

from __future__ import annotations

from collections.abc import Callable

from crypto.errors import RemoteError
from meshnet.boundary import BoundaryError, decode_fact, decode_verb
from meshnet.control.handshakes.sessions import parse_address
from meshnet.control.joining.join_wire import Ask, Denied, End, Welcome, decode, decode_statements, encode
from meshnet.control.keys.membership import JoinRequest
from meshnet.control.links.credential import Credential
from tests.fuzz.handshakes import CHAIN, FOUNDER, MESH, OURS

SHAPES = (Ask, Welcome, Denied, End)


def join(data: bytes) -> None:
    for shape in SHAPES:
        try:
            found = decode(data, shape)
        except RemoteError:
            continue
        repr(found)
        if isinstance(found, Ask):
            found.request.holds(MESH)
    try:
        decode_statements(data)
    except RemoteError:
        pass


def credential(data: bytes) -> None:
    try:
        Credential.decode(data).check(MESH, OURS.public)
    except RemoteError:
        pass


def address(data: bytes) -> None:
    """An address in another peer's statement."""
    try:
        parse_address(data.decode("utf-8", "replace"))
    except ValueError:
        pass


def facts(data: bytes) -> None:
    """The forwarder reads strangers' datagrams, so meshnetd trusts nothing it says; nor does it meshnetd's verbs."""
    for decode_one in (decode_fact, decode_verb):
        try:
            decode_one(data)
        except BoundaryError:
            pass


TARGETS: dict[str, Callable[[bytes], None]] = {
    "join": join,
    "credential": credential,
    "address": address,
    "facts": facts,
}


def seeds() -> dict[str, list[bytes]]:
    request = JoinRequest.make(MESH, FOUNDER, OURS.public, "host")
    shown = Credential(FOUNDER.public, bytes(64), CHAIN)
    return {
        "join": [encode(Ask(bytes(8), request)), encode(Denied("expired", "text")), encode(End(3)), encode([b"one"])],
        "credential": [shown.encode()],
        "address": [b"192.0.2.1:6799", b"[2001:db8::1]:6799"],
        "facts": [b"\x81\xa1t\xa4Stop"],
    }
