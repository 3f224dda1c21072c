"""What the ends of every handshake share: bounds, and that a failure is final."""

from __future__ import annotations

import pytest

from crypto.errors import KeyFormatError, LocalError, RemoteError
from crypto.stream import PasswordInitiator
from crypto.stream_opening import EARLY_MAX, PAYLOAD_MAX, StreamOpening
from tests.unit.crypto.test_stream import PSK, RNG, A, listener, opener, shake


def test_bounds_of_the_handshake() -> None:
    with pytest.raises(LocalError):
        opener(payload=bytes(PAYLOAD_MAX + 1))
    with pytest.raises(KeyFormatError):
        opener(mesh=b"")
    initiator, responder = opener(payload=bytes(PAYLOAD_MAX)), listener()
    with pytest.raises(LocalError):
        responder.accept(PSK, b"")
    shake(initiator, responder)
    assert responder.request is not None and len(responder.request.payload) == PAYLOAD_MAX
    with pytest.raises(LocalError):
        responder.accept(PSK, b"")
    for end, data in ((listener(), bytes(EARLY_MAX + 1)), (opener(), b"MESHNET" + bytes(EARLY_MAX))):
        with pytest.raises(RemoteError):
            end.feed(data)


@pytest.mark.parametrize("length", [0, 47, 65_535])
def test_a_handshake_frame_of_an_impossible_length(length: int) -> None:
    initiator, responder = opener(), listener()
    responder.feed(initiator.data_to_send())
    with pytest.raises(RemoteError, match="length"):
        responder.feed(length.to_bytes(2))


def ends() -> list[StreamOpening]:
    return [listener(), opener(), PasswordInitiator(static=A, entropy=RNG.randbytes)]


def test_a_failure_is_final_and_what_was_to_be_sent_still_is() -> None:
    for end in ends():
        with pytest.raises(RemoteError, match="not the hello"):
            end.feed(b"GET /")
        with pytest.raises(RemoteError, match="failed before"):
            end.feed(b"")
        assert not end.complete and not end._buffer
        with pytest.raises(LocalError, match="not complete"):
            end.secure()
        end.data_to_send()
        assert end.data_to_send() == b""


def test_what_is_buffered_is_bounded() -> None:
    for end in ends():
        end.feed(b"MESHNET")
        with pytest.raises(RemoteError):
            end.feed(bytes(EARLY_MAX))
