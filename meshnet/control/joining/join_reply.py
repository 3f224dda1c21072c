"""What an issuer answers to a joiner that has confirmed, read and checked at the joiner's.

Rule: the reply counts only whole. Nothing in it is believed that the chain up to the mesh's founder does not
prove; a refusal becomes the error that the operator of the joining host reads.
Reference: ``join_wire`` for the messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from crypto.certificate import Certificate, read, verify_chain
from crypto.errors import RemoteError
from meshnet.control.joining import join_wire as wire
from meshnet.control.joining.tokens import Reason
from meshnet.control.keys.membership import JoinRequest, Membership
from meshnet.control.streams.records import Records
from meshnet.errors import ExitCode, MeshnetError

_NEW_TOKEN: Final = "run `meshnet token create` on a host of the mesh and join with what it prints"
_SHARED: Final = {
    Reason.NAME_IN_USE: ("the name is taken", "another peer of the mesh bears it", "choose another one with --name"),
    Reason.NOT_ALLOWED: (
        "the mesh does not admit this host",
        "its key is not on the mesh's allow-list, or was revoked",
        "run `meshnet key show` here, then `meshnet peer allow KEY` with what it prints on an admin's host;"
        " a revoked key stays out",
    ),
}
TOKEN_REFUSALS: Final = _SHARED | {
    reason: ("the token was refused", why, _NEW_TOKEN)
    for reason, why in (
        (Reason.UNKNOWN, "its issuer does not know it, or revoked it"),
        (Reason.EXPIRED, "it has expired"),
        (Reason.USED_UP, "it was used as often as it allows"),
        (Reason.BAD_REQUEST, "the issuer did not accept the request"),
    )
}
PASSWORD_REFUSALS: Final = _SHARED | {
    reason: ("the request was refused", why, "join with a token: " + _NEW_TOKEN)
    for reason, why in (
        (Reason.UNKNOWN, "that host admits nobody by password any more"),
        (Reason.BAD_REQUEST, "the host did not accept it"),
    )
}
Refusals = Mapping[Reason, tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class JoinReply:
    """What a join gave. statements: in wire form, for the node to absorb; issuer: its identity."""

    membership: Membership
    issuer: bytes
    statements: list[bytes] = field(repr=False)


async def collect(records: Records, refusals: Refusals) -> tuple[wire.Welcome, list[bytes]]:
    """A whole reply: its welcome, unchecked, and its statements.

    Raises MeshnetError for a refusal, RemoteError for a false reply, ConnectionError for one that was cut short.
    """
    kind, data = await records.next()
    if kind == wire.DENIED:
        raise refused(wire.decode(data, wire.Denied), refusals)
    if kind != wire.WELCOME:
        raise RemoteError("a join's reply that does not begin with a welcome")
    welcome = wire.decode(data, wire.Welcome)
    statements: list[bytes] = []
    size = 0
    while True:
        kind, data = await records.next()
        if kind == wire.END:
            break
        if kind != wire.STATEMENTS:
            raise RemoteError("a join's reply with an unknown part")
        size += len(data)
        statements += wire.decode_statements(data)
        if size > wire.MAX_REPLY_SIZE or len(statements) > wire.MAX_STATEMENTS:
            raise RemoteError("a join's reply that is too long")
    if wire.decode(data, wire.End).count != len(statements):
        raise RemoteError("a join's reply that is not whole")
    return welcome, statements


def refused(denied: wire.Denied, refusals: Refusals) -> MeshnetError:
    """The operator's error for a refusal of one of `refusals`, or for trouble the issuer told in its own words."""
    try:
        return MeshnetError(*refusals[Reason(denied.reason)], ExitCode.FAILED)
    except (ValueError, KeyError):
        told = "".join(mark for mark in denied.text if mark.isprintable())
        return MeshnetError(
            "the host that was asked could not admit this one",
            told or "it did not say why",
            "put that right and try again, or run `meshnet token create` on another host of the mesh",
            ExitCode.FAILED,
        )


def check_issued(welcome: wire.Welcome, mesh: bytes, request: JoinRequest) -> None:
    """Raise RemoteError unless a member of `mesh` who may issued the first certificate, and for this request."""
    own = _issued_by_welcomer(welcome, request)
    if verify_chain(mesh, request.identity, welcome.chain) != own:
        raise RemoteError("a certificate that says two things")


def check_issuer(welcome: wire.Welcome, mesh: bytes, request: JoinRequest) -> None:
    """As `check_issued` for a host that already is a member, maybe one of those its issuer's chain leads over.

    Such a chain proves nothing about the host itself, whose own chain goes on to hold; but who answered is a
    member of `mesh`.
    """
    _issued_by_welcomer(welcome, request)
    verify_chain(mesh, welcome.issuer, welcome.chain[1:])


def _issued_by_welcomer(welcome: wire.Welcome, request: JoinRequest) -> Certificate:
    certificate = read(welcome.chain[0])
    if certificate.identity != request.identity or certificate.name != request.name:
        raise RemoteError("a certificate of another peer or for another name")
    if certificate.issuer != welcome.issuer:
        raise RemoteError("a certificate of another issuer than who answered")
    return certificate
