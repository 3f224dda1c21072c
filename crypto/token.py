"""Join tokens: what one operator hands to another so that a host may join a mesh.

Purpose: a token names the mesh, where its issuer is reached and which keys it has, and carries a one-time
secret. It is one shell word, so that it survives being pasted.
Flow: ``mesh1-`` + url-safe base64 without padding of (msgpack array + 4-byte checksum). The checksum finds a
typing mistake before any connection is tried; it protects against nothing else.
Rule: whoever reads the text can join, so ``repr`` shows neither the text nor the secret.
Reference: design §3 (joining).
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from typing import Final

import msgspec

from crypto.errors import LocalError
from crypto.primitives import KEY_SIZE, Suite, blake2s, equal, hkdf
from crypto.prologue import MESH_SIZE

TOKEN_MAX: Final = 4096
ADDRESSES_MAX: Final = 16
USES_MAX: Final = 1_000_000
EXPIRES_MAX: Final = 1 << 40
TOKEN_ID_SIZE: Final = 8

_PREFIX: Final = "mesh1-"
_CHECKSUM_SIZE: Final = 4
_ADDRESS: Final = re.compile(r"(?:[0-9A-Za-z._-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})")
_OTHER_VERSION: Final = re.compile(r"mesh[0-9]+-")
_BASE64: Final = re.compile(r"[0-9A-Za-z_-]+")
_PSK_LABEL: Final = b"meshnet/1 psk join"
_ID_LABEL: Final = b"meshnet/1 token id"
_SEED: Final = b"meshnet/1 token sum"


class _Body(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    mesh: bytes
    suite: int
    addresses: tuple[str, ...]
    issuer_identity: bytes
    issuer_static: bytes
    secret: bytes
    expires: int
    uses: int


_DECODER: Final = msgspec.msgpack.Decoder(_Body)
_ENCODER: Final = msgspec.msgpack.Encoder()
_DAMAGE: Final = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass(frozen=True)
class Token:
    """One join token. ``addresses`` are ``host:port`` or ``[v6]:port``, ``expires`` is wall clock seconds.

    Raises ``LocalError`` when a field has no place in a token.
    """

    mesh: bytes
    suite: Suite
    addresses: tuple[str, ...]
    issuer_identity: bytes
    issuer_static: bytes
    secret: bytes = field(repr=False)
    expires: int
    uses: int

    def __post_init__(self) -> None:
        # Callers hold lists; the field is a tuple so that a token can be compared and hashed.
        object.__setattr__(self, "addresses", tuple(self.addresses))
        if len(self.mesh) != MESH_SIZE or any(
            len(part) != KEY_SIZE for part in (self.issuer_identity, self.issuer_static, self.secret)
        ):
            raise LocalError("the token has a key of a wrong length")
        if not 1 <= len(self.addresses) <= ADDRESSES_MAX:
            raise LocalError(f"a token carries 1 to {ADDRESSES_MAX} addresses")
        for address in self.addresses:
            match = _ADDRESS.fullmatch(address)
            if match is None or not 0 < int(match[1]) < 1 << 16:
                raise LocalError("the token has an address that is not HOST:PORT")
        if not 0 <= self.expires < EXPIRES_MAX or not 1 <= self.uses <= USES_MAX:
            raise LocalError("the token's expiry or number of uses is out of range")

    @property
    def token_id(self) -> bytes:
        """The 8 bytes by which the issuer finds the token; they tell nothing about the secret."""
        return hkdf(self.secret, _ID_LABEL, TOKEN_ID_SIZE)

    def psk(self) -> bytes:
        """The 32-byte psk of the joining handshake."""
        return hkdf(self.secret, _PSK_LABEL)

    def encode(self) -> str:
        """The token as one shell word."""
        body = _ENCODER.encode(
            _Body(
                self.mesh,
                self.suite.number,
                self.addresses,
                self.issuer_identity,
                self.issuer_static,
                self.secret,
                self.expires,
                self.uses,
            )
        )
        return _PREFIX + base64.urlsafe_b64encode(body + _checksum(body)).rstrip(b"=").decode()

    @classmethod
    def decode(cls, text: str) -> Token:
        """The token of a pasted word; white space around it is ignored.

        Raises ``LocalError`` saying whether it is no token, one of another version, cut short or mistyped.
        """
        try:
            body = _DECODER.decode(_body_of(text.strip()))
        except _DAMAGE:
            raise LocalError("the token is damaged: its content has another form") from None
        suites = {suite.number: suite for suite in Suite}
        if body.suite not in suites:
            raise LocalError("the token names a cipher this version does not know")
        return cls(
            body.mesh,
            suites[body.suite],
            body.addresses,
            body.issuer_identity,
            body.issuer_static,
            body.secret,
            body.expires,
            body.uses,
        )


def _checksum(body: bytes) -> bytes:
    return blake2s(body, key=_SEED, size=_CHECKSUM_SIZE)


def _body_of(text: str) -> bytes:
    """The msgpack part of a token's text, checked."""
    if not text.startswith(_PREFIX):
        if _OTHER_VERSION.match(text):
            raise LocalError("the token is of a version this program does not know")
        raise LocalError(f"this is no join token: one begins with {_PREFIX}")
    if len(text) > TOKEN_MAX:
        raise LocalError("the token is too long: something else was pasted with it")
    encoded = text.removeprefix(_PREFIX)
    if not _BASE64.fullmatch(encoded):
        raise LocalError("the token has a character no token has, or was cut off right at its start")
    if len(encoded) % 4 == 1:
        raise LocalError("the token was cut short or has a character too many")
    raw = base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4))
    body, checksum = raw[:-_CHECKSUM_SIZE], raw[-_CHECKSUM_SIZE:]
    canonical = base64.urlsafe_b64encode(raw).rstrip(b"=").decode() == encoded
    if canonical and len(checksum) == _CHECKSUM_SIZE and equal(checksum, _checksum(body)):
        return body
    raise LocalError(_what_is_wrong(raw))


def _what_is_wrong(raw: bytes) -> str:
    """Tells a token that was cut short from a mistyped one, by where its array ends."""
    for spare in range(_CHECKSUM_SIZE):
        try:
            _DECODER.decode(raw[: len(raw) - spare])
        except _DAMAGE as error:
            if spare == 0 and "truncated" in str(error):
                return "the token was cut short"
        else:
            return "the token was cut short"
    return "the token is mistyped: its checksum does not fit"
