"""The handshake patterns of the Noise Protocol Framework, as data.

Purpose: the state machine in ``noise`` walks these tables; a pattern is a row here and no code.
Flow: ``"KX": "s| |e|e ee se s es"`` reads: the initiator's pre-message, the responder's pre-message, then the
messages by turns, the initiator's first. A modifier ``pskN`` puts the token ``psk`` before the first
message's tokens (N = 0) or after those of message N.
Reference: the Noise specification revision 34, §7.4 (one-way), §7.5 (interactive), §9.4 (psk), §18
(deferred).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from crypto.errors import LocalError
from crypto.primitives import Suite

_TABLE: Final = {
    "N": " |s|e es",
    "K": "s|s|e es ss",
    "X": " |s|e es s ss",
    "NN": " | |e|e ee",
    "NK": " |s|e es|e ee",
    "NK1": " |s|e|e ee es",
    "NX": " | |e|e ee s es",
    "NX1": " | |e|e ee s|es",
    "XN": " | |e|e ee|s se",
    "X1N": " | |e|e ee|s|se",
    "XK": " |s|e es|e ee|s se",
    "X1K": " |s|e es|e ee|s|se",
    "XK1": " |s|e|e ee es|s se",
    "X1K1": " |s|e|e ee es|s|se",
    "XX": " | |e|e ee s es|s se",
    "X1X": " | |e|e ee s es|s|se",
    "XX1": " | |e|e ee s|es s se",
    "X1X1": " | |e|e ee s|es s|se",
    "KN": "s| |e|e ee se",
    "K1N": "s| |e|e ee|se",
    "KK": "s|s|e es ss|e ee se",
    "K1K": "s|s|e es|e ee|se",
    "KK1": "s|s|e|e ee se es",
    "K1K1": "s|s|e|e ee es|se",
    "KX": "s| |e|e ee se s es",
    "K1X": "s| |e|e ee s es|se",
    "KX1": "s| |e|e ee se s|es",
    "K1X1": "s| |e|e ee s|se es",
    "IN": " | |e s|e ee se",
    "I1N": " | |e s|e ee|se",
    "IK": " |s|e es s ss|e ee se",
    "I1K": " |s|e es s|e ee|se",
    "IK1": " |s|e s|e ee se es",
    "I1K1": " |s|e s|e ee es|se",
    "IX": " | |e s|e ee se s es",
    "I1X": " | |e s|e ee s es|se",
    "IX1": " | |e s|e ee se s|es",
    "I1X1": " | |e s|e ee s|se es",
}
_NAME: Final = re.compile(
    r"Noise_([A-Z0-9]+?)((?:psk[0-9])(?:\+psk[0-9])*)?_25519_(AESGCM|ChaChaPoly)_(BLAKE2s|SHA256)"
)
_HASHES: Final = {"BLAKE2s": "blake2s", "SHA256": "sha256"}


@dataclass(frozen=True)
class Protocol:
    """A parsed protocol name: what the state machine walks and which functions it uses.

    ``messages`` holds each message's tokens, ``initiator_known`` and ``responder_known`` tell whose static
    key the other side has beforehand, ``hash_name`` is the name the standard library uses.
    """

    name: bytes
    suite: Suite
    hash_name: str
    initiator_known: bool
    responder_known: bool
    messages: tuple[tuple[str, ...], ...]
    psks: int


def protocol(name: str) -> Protocol:
    """The protocol of a name such as ``Noise_IKpsk2_25519_ChaChaPoly_BLAKE2s``.

    Raises ``LocalError`` when a part of the name is not supported or the modifiers do not fit the pattern.
    """
    match = _NAME.fullmatch(name)
    if match is None or match[1] not in _TABLE:
        raise LocalError("this Noise protocol is not supported")
    initiator_known, responder_known, *turns = _TABLE[match[1]].split("|")
    messages = [turn.split() for turn in turns]
    places = [int(modifier.removeprefix("psk")) for modifier in (match[2] or "").split("+") if modifier]
    if places != sorted(set(places)) or any(place > len(messages) for place in places):
        raise LocalError("the psk modifiers of this Noise protocol do not fit its pattern")
    for place in places:
        if place == 0:
            messages[0].insert(0, "psk")
        else:
            messages[place - 1].append("psk")
    return Protocol(
        name=name.encode(),
        suite=Suite(match[3]),
        hash_name=_HASHES[match[4]],
        initiator_known=initiator_known == "s",
        responder_known=responder_known == "s",
        messages=tuple(tuple(tokens) for tokens in messages),
        psks=len(places),
    )
